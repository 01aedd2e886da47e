//! One operation: a future, the sink of its answer, and the state that lets exactly one thread at a time touch them.

use super::kill_watch::{KillWatch, Killable, WatchedTask};
use super::queue::{RunQueue, Runnable};
use crate::errno::Error;
use crate::sync::{AtomicBool, AtomicU8, Exclusive, Ordering};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

/// Parked, nobody woke it.
const IDLE: u8 = 0;
/// Woken, in some queue.
const QUEUED: u8 = 1;
/// A thread polls it.
const RUNNING: u8 = 2;
/// A thread polls it and it was woken meanwhile: queue it again.
const RERUN: u8 = 3;
/// Answered.
const DONE: u8 = 4;

/// An operation. `F` gives a `Result<T, Error>`, `R` takes it.
pub(super) struct Task<F, R> {
    state: AtomicU8,
    /// Taken by the thread that made `state` RUNNING.
    body: Exclusive<Option<(Pin<Box<F>>, R)>>,
    queue: Arc<RunQueue>,
    watch: Arc<KillWatch>,
    caller: WatchedTask,
    watched: AtomicBool,
}

impl<F, R, T> Task<F, R>
where
    F: Future<Output = Result<T, Error>> + Send + 'static,
    R: FnOnce(Result<T, Error>) + Send + 'static,
{
    /// A new operation, to be stepped at once by its maker.
    pub(super) fn new(
        queue: Arc<RunQueue>,
        watch: Arc<KillWatch>,
        caller: WatchedTask,
        operation: F,
        reply: R,
    ) -> Arc<Self> {
        Arc::new(Self {
            state: AtomicU8::new(QUEUED),
            body: Exclusive::new(Some((Box::pin(operation), reply))),
            queue,
            watch,
            caller,
            watched: AtomicBool::new(false),
        })
    }

    /// Polls once; then it is parked, queued again or done. The state is RUNNING.
    fn poll(self: &Arc<Self>) {
        let waker = Waker::from(self.clone());
        let mut context = Context::from_waker(&waker);
        let polled = {
            let mut body = self.body.lock();
            let Some((future, _)) = body.as_mut() else { return };
            catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut context)))
        };
        match polled {
            Ok(Poll::Ready(result)) => return self.finish(result),
            Err(_) => return self.finish(Err(Error::Internal("an operation panicked"))),
            Ok(Poll::Pending) => {}
        }
        if self.caller.tid != 0 && !self.watched.swap(true, Ordering::Relaxed) {
            self.watch.add(self.caller, self.clone());
        }
        if !self.change(RUNNING, IDLE) {
            // Only a runner steps, so it comes back to this one after the others that are ready. Swapped, not stored: the next poll
            // must find what was done before every wake so far.
            self.state.swap(QUEUED, Ordering::AcqRel);
            self.queue.push(self.clone());
        }
    }

    /// Drops the future, then answers. The state is RUNNING.
    fn finish(self: &Arc<Self>, result: Result<T, Error>) {
        self.state.store(DONE, Ordering::Release);
        let body = self.body.lock().take();
        if self.watched.load(Ordering::Relaxed) {
            self.watch.remove(Arc::as_ptr(self).addr());
        }
        let Some((future, reply)) = body else { return };
        let answered = catch_unwind(AssertUnwindSafe(move || {
            drop(future);
            reply(result);
        }));
        if answered.is_err() {
            tracing::error!("answering an operation panicked");
        }
    }

    fn change(&self, from: u8, to: u8) -> bool {
        self.exchange(from, to).is_ok()
    }

    /// The state that it was in, as an error if that is not `from`.
    fn exchange(&self, from: u8, to: u8) -> Result<u8, u8> {
        self.state
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
    }
}

impl<F, R, T> Runnable for Task<F, R>
where
    F: Future<Output = Result<T, Error>> + Send + 'static,
    R: FnOnce(Result<T, Error>) + Send + 'static,
{
    fn step(self: Arc<Self>) {
        if self.change(QUEUED, RUNNING) {
            self.poll();
        }
    }
}

impl<F, R, T> Wake for Task<F, R>
where
    F: Future<Output = Result<T, Error>> + Send + 'static,
    R: FnOnce(Result<T, Error>) + Send + 'static,
{
    fn wake(self: Arc<Self>) {
        let mut state = IDLE;
        loop {
            // Also where it is woken already, the state is written: the coming poll reads that, and so finds what was done before this
            // wake. A mere look would let the poll go ahead with old values, and nobody would wake it any more.
            let next = match state {
                IDLE => QUEUED,
                RUNNING => RERUN,
                DONE => return,
                woken => woken,
            };
            match self.exchange(state, next) {
                Ok(IDLE) => return self.queue.clone().push(self),
                Ok(_) => return,
                Err(present) => state = present,
            }
        }
    }
}

impl<F, R, T> Killable for Task<F, R>
where
    F: Future<Output = Result<T, Error>> + Send + 'static,
    R: FnOnce(Result<T, Error>) + Send + 'static,
{
    fn interrupt(self: Arc<Self>) {
        if self.change(IDLE, RUNNING) {
            self.finish(Err(Error::Interrupted));
        }
    }
}
