//! A host of a simulation: the processes of a handler.

use crate::executor::Executor;
use crate::handler::mount::Mount;
use crate::handler::mount::Pool;
use parking_lot::Mutex;
use rdmafs_rdma::link::Poller;
use std::sync::Arc;
use std::time::Duration;

/// A host: a handler with one mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostId(pub usize);

/// A host's processes.
pub(super) struct Host {
    pub(super) executor: Executor,
    pub(super) pool: Arc<Pool>,
    pub(super) mount: Arc<Mount>,
    /// Pollers of links that were just made.
    pub(super) new: Arc<Mutex<Vec<Poller>>>,
    pub(super) pollers: Vec<Poller>,
    /// When its pollers want to look again.
    pub(super) until: Duration,
    pub(super) stopped: bool,
}

impl Host {
    /// Lets its processes do what they can. False when that is nothing.
    pub(super) fn turn(&mut self, now: Duration) -> bool {
        let mut busy = self.executor.turn();
        self.pollers.append(&mut self.new.lock());
        self.until = Duration::MAX;
        let mut at = 0;
        while at < self.pollers.len() {
            let poller = &mut self.pollers[at];
            let until = poller.rest();
            self.until = self.until.min(until);
            if poller.hear() {
                at += 1;
            } else {
                self.pollers.remove(at);
                busy = true;
            }
        }
        busy | (self.until <= now) | self.executor.turn()
    }
}

/// An operation that was started.
pub struct Started<T>(pub(super) Arc<Mutex<Option<T>>>);

impl<T> Started<T> {
    /// Its answer, once.
    #[must_use]
    pub fn take(&self) -> Option<T> {
        self.0.lock().take()
    }
}
