//! The executor's public face.

use super::kill_watch::{KillWatch, WatchedTask};
use super::queue::{self, RunQueue};
use super::task::Task;
use super::timer::Timer;
use crate::errno::Error;
use rdmafs_rdma::clock::SystemClock;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// Runs operations; shared by all mounts of a handler. Its threads end when its last clone is dropped.
#[derive(Clone)]
pub struct Executor {
    pub(super) threads: Arc<Threads>,
}

pub(super) struct Threads {
    pub(super) queue: Arc<RunQueue>,
    pub(super) watch: Arc<KillWatch>,
    pub(super) timer: Arc<Timer>,
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.queue.close();
        self.watch.close();
        self.timer.close();
    }
}

impl Default for Executor {
    fn default() -> Self {
        Self::start()
    }
}

impl Executor {
    /// Starts the helper threads (timers, pending-kill watch, spare runner).
    ///
    /// # Panics
    /// When the system gives no thread: nothing can be served without.
    #[must_use]
    pub fn start() -> Self {
        let threads = Threads {
            queue: Arc::new(RunQueue::default()),
            watch: Arc::new(KillWatch::default()),
            timer: Arc::new(Timer::new(Arc::new(SystemClock::new()))),
        };
        let (queue, watch, timer) = (
            threads.queue.clone(),
            threads.watch.clone(),
            threads.timer.clone(),
        );
        spawn("rdmafs-runner", move || queue.serve());
        spawn("rdmafs-kills", move || watch.serve());
        spawn("rdmafs-timer", move || timer.serve());
        Self {
            threads: Arc::new(threads),
        }
    }

    /// Polls `operation` on this thread; when it cannot finish, parks it and returns. `reply` is called exactly once, with the
    /// operation's result, with EINTR when the task `tid` (0: none) is being killed, or with EIO when it panics.
    pub fn run<T: Send + 'static>(
        &self,
        tid: u32,
        operation: impl Future<Output = Result<T, Error>> + Send + 'static,
        reply: impl FnOnce(Result<T, Error>) + Send + 'static,
    ) {
        let any_signal = false;
        self.run_for(WatchedTask { tid, any_signal }, operation, reply);
    }

    /// Polls an operation that may wait without limit on this thread, and parks it when it cannot finish. Any signal that the task
    /// neither blocks nor ignores ends it with EINTR, within a second.
    pub fn run_interruptibly<T: Send + 'static>(
        &self,
        tid: u32,
        operation: impl Future<Output = Result<T, Error>> + Send + 'static,
        reply: impl FnOnce(Result<T, Error>) + Send + 'static,
    ) {
        let any_signal = true;
        self.run_for(WatchedTask { tid, any_signal }, operation, reply);
    }

    fn run_for<T: Send + 'static>(
        &self,
        caller: WatchedTask,
        operation: impl Future<Output = Result<T, Error>> + Send + 'static,
        reply: impl FnOnce(Result<T, Error>) + Send + 'static,
    ) {
        let threads = &self.threads;
        queue::run_here(Task::new(
            threads.queue.clone(),
            threads.watch.clone(),
            caller,
            operation,
            reply,
        ));
    }

    /// Runs everything that became ready through a wake on this thread. For poller threads (`LinkEvents::idle`): from the
    /// first call on, the thread keeps what it wakes, so it must call again after every round of wakes.
    pub fn run_ready(&self) {
        queue::become_runner();
        queue::drain();
    }

    /// Ready after `duration`.
    pub fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send + 'static {
        self.threads.timer.sleep(duration)
    }

    /// The future's result, or `None` when it is not done within `duration`; then it is dropped.
    pub async fn within<T>(&self, duration: Duration, future: impl Future<Output = T>) -> Option<T> {
        let mut sleep = pin!(self.sleep(duration));
        let mut future = pin!(future);
        std::future::poll_fn(|context| {
            if let Poll::Ready(result) = future.as_mut().poll(context) {
                return Poll::Ready(Some(result));
            }
            sleep.as_mut().poll(context).map(|()| None)
        })
        .await
    }

    /// Blocks this thread until the future is done: for the daemons' edges and tests, never for a FUSE worker.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut context = Context::from_waker(&waker);
        let mut future = pin!(future);
        loop {
            match future.as_mut().poll(&mut context) {
                Poll::Ready(result) => return result,
                Poll::Pending => std::thread::park(),
            }
        }
    }
}

struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn spawn(name: &str, lifetime: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(lifetime);
    drop(thread.expect("the system gives a thread"));
}
