//! One operation: a future, the sink of its answer, and the state that lets exactly one thread at a time touch them.

use super::kill_watch::{Caller, KillWatch, Killable};
use super::queue::{Queue, Runnable};
use crate::errno::Error;
use parking_lot::Mutex;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Parked, nobody woke it.
const IDLE: u8 = 0;
/// Woken, in some queue.
const QUEUED: u8 = 1;
/// A thread polls it.
const RUNNING: u8 = 2;
/// A thread polls it and it was woken meanwhile: queue it again.
const AGAIN: u8 = 3;
/// Answered.
const DONE: u8 = 4;

/// An operation. `F` gives a `Result<T, Error>`, `R` takes it.
pub(super) struct Task<F, R> {
    state: AtomicU8,
    /// Taken by the thread that made `state` RUNNING, so never contended.
    body: Mutex<Option<(Pin<Box<F>>, R)>>,
    queue: Arc<Queue>,
    watch: Arc<KillWatch>,
    caller: Caller,
    watched: AtomicBool,
}

impl<F, R, T> Task<F, R>
where
    F: Future<Output = Result<T, Error>> + Send + 'static,
    R: FnOnce(Result<T, Error>) + Send + 'static,
{
    /// A new operation, to be stepped at once by its maker.
    pub(super) fn new(
        queue: Arc<Queue>,
        watch: Arc<KillWatch>,
        caller: Caller,
        operation: F,
        reply: R,
    ) -> Arc<Self> {
        Arc::new(Self {
            state: AtomicU8::new(QUEUED),
            body: Mutex::new(Some((Box::pin(operation), reply))),
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
            // Only a runner steps, so it comes back to this one after the others that are ready.
            self.state.store(QUEUED, Ordering::Release);
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
        self.state
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
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
        loop {
            if self.change(IDLE, QUEUED) {
                return self.queue.clone().push(self);
            }
            if self.change(RUNNING, AGAIN) {
                return;
            }
            if matches!(self.state.load(Ordering::Acquire), QUEUED | AGAIN | DONE) {
                return;
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
