//! Operations as owned state machines: futures, polled by the FUSE worker that took the request, parked when they must
//! wait, finished by whichever thread completes what they wait for.
//!
//! A thread hand-over costs more than a short operation, so [`Executor::run`] polls on the caller's thread first. A parked
//! operation whose calling task has a fatal signal pending is dropped and answered EINTR within a second.

pub(crate) mod signals;
pub(crate) mod kill_watch;
mod queue;
mod task;
#[cfg(test)]
mod tests;
mod timer;

mod run;
#[cfg(any(test, feature = "testing"))]
mod stepped;

pub use run::Executor;
