//! A store that outlives its node and fails when it is told to.

use parking_lot::Mutex;
use rdmafs_meta::id::Term;
use rdmafs_meta::store::{Batch, MemoryStore, Store, StoreError};
use std::sync::Arc;
use std::time::Duration;

/// What goes wrong at a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreFault {
    /// It is refused, and nothing of it is kept.
    Fail,
    /// It takes so long.
    Delay(Duration),
    /// Nothing after it is kept: the node dies there.
    Die,
}

/// A store in memory. Clones are the same one.
#[derive(Clone, Default)]
pub struct SimStore {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    kept: MemoryStore,
    commits: u64,
    fault: Option<(u64, StoreFault)>,
    dead: bool,
}

impl SimStore {
    /// Something goes wrong at the `n`-th commit from now on, 1 being the next.
    pub fn fault_at(&self, n: u64, fault: StoreFault) {
        let mut shared = self.shared.lock();
        shared.fault = Some((shared.commits + n, fault));
    }

    /// Commits so far.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.shared.lock().commits
    }

    /// What it keeps, for another node.
    #[must_use]
    pub fn kept(&self) -> MemoryStore {
        self.shared.lock().kept.clone()
    }

    /// How long the next commit takes; said once.
    pub(super) fn delay(&self) -> Option<Duration> {
        let mut shared = self.shared.lock();
        match shared.fault {
            Some((at, StoreFault::Delay(by))) if at == shared.commits + 1 => {
                shared.fault = None;
                Some(by)
            }
            _ => None,
        }
    }

    /// The node that used it is to die.
    pub(super) fn is_dead(&self) -> bool {
        self.shared.lock().dead
    }

    /// Another node takes it.
    pub(super) fn revive(&self) {
        let mut shared = self.shared.lock();
        (shared.dead, shared.fault) = (false, None);
    }
}

impl Store for SimStore {
    fn scan(
        &self,
        prefix: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.shared.lock().kept.scan(prefix, each)
    }

    fn commit(&mut self, batches: &[Batch], term: Term) -> Result<(), StoreError> {
        let mut shared = self.shared.lock();
        if shared.dead {
            return Err(StoreError::Io("its node is dead".into()));
        }
        shared.commits += 1;
        let due = shared.fault.filter(|(at, _)| *at <= shared.commits);
        if due.is_some() {
            shared.fault = None;
        }
        match due {
            Some((_, StoreFault::Fail)) => return Err(StoreError::Io("simulated".into())),
            Some((_, StoreFault::Die)) => shared.dead = true,
            Some((_, StoreFault::Delay(_))) | None => {}
        }
        shared.kept.commit(batches, term)
    }

    fn take_over(&mut self, term: Term) -> Result<(), StoreError> {
        self.shared.lock().kept.take_over(term)
    }

    fn term(&self) -> Result<Term, StoreError> {
        self.shared.lock().kept.term()
    }
}
