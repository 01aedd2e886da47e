//! An executor without threads, for simulations: nothing happens but when it is told to.

use super::kill_watch::KillWatch;
use super::queue::RunQueue;
use super::run::{Executor, Threads};
use super::timer::Timer;
use rdmafs_rdma::clock::Clock;
use std::sync::Arc;
use std::time::Duration;

impl Executor {
    /// An executor without threads, for simulations: nothing happens but in [`Executor::turn`], by the time of `clock`. A kill of
    /// a caller goes unnoticed.
    #[must_use]
    pub fn stepped(clock: Arc<dyn Clock>) -> Self {
        let threads = Threads {
            queue: Arc::new(RunQueue::stepped()),
            watch: Arc::new(KillWatch::default()),
            timer: Arc::new(Timer::new(clock)),
        };
        Self {
            threads: Arc::new(threads),
        }
    }

    /// Of a stepped executor: wakes who is due, then runs everything that is ready. False when there was nothing.
    pub fn turn(&self) -> bool {
        let mut any = self.threads.timer.fire();
        while self.threads.queue.step() {
            any = true;
        }
        any
    }

    /// The first deadline of a sleeping operation.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Duration> {
        self.threads.timer.next()
    }
}
