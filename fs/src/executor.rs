//! Operations as owned state machines: futures, polled by the FUSE worker that took the request, parked when they must
//! wait, finished by whichever thread completes what they wait for.
//!
//! A thread hand-over costs more than a short operation, so [`Executor::run`] polls on the caller's thread first. A parked
//! operation whose calling task has a fatal signal pending is dropped and answered EINTR within a second.

use crate::errno::Error;
use std::time::Duration;

/// Runs operations; shared by all mounts of a handler.
#[derive(Clone)]
pub struct Executor {
    _private: (),
}

#[allow(
    unused_variables,
    clippy::todo,
    clippy::new_without_default,
    reason = "skeleton"
)]
impl Executor {
    /// Starts the helper threads (timers, pending-kill watch, spare runner).
    pub fn start() -> Self {
        todo!()
    }

    /// Polls `operation` on this thread; when it cannot finish, parks it and returns. `reply` is called exactly once, with the
    /// operation's result, with EINTR when the task `tid` (0: none) is being killed, or with EIO when it panics.
    pub fn run<T: Send + 'static>(
        &self,
        tid: u32,
        operation: impl Future<Output = Result<T, Error>> + Send + 'static,
        reply: impl FnOnce(Result<T, Error>) + Send + 'static,
    ) {
        todo!()
    }

    /// Runs everything that became ready through a wake on this thread. For poller threads (`LinkEvents::idle`).
    pub fn run_ready(&self) {
        todo!()
    }

    /// Ready after `duration`.
    pub fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send + 'static {
        async { todo!() }
    }

    /// Blocks this thread until the future is done: for the daemons' edges and tests, never for a FUSE worker.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        todo!()
    }
}
