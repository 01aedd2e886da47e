//! Those who share something, each known by an id. They are not kept alive by it, and the last one who leaves closes it.

use crate::handler::lock_order::Mutex;
use crate::handler::values::MountId;
use std::sync::{Arc, Weak};

/// The members.
///
/// Lock order: a leaf. It is held while a member is looked at, which takes no lock then.
#[derive(Debug)]
pub(in crate::handler) struct Registry<T> {
    mounts: Mutex<Mounts<T>>,
}

#[derive(Debug)]
struct Mounts<T> {
    all: Vec<(MountId, Weak<T>)>,
    closed: bool,
}

impl<T> Registry<T> {
    /// Nobody yet.
    pub(in crate::handler) fn new() -> Arc<Self> {
        let mounts = Mounts {
            all: Vec::new(),
            closed: false,
        };
        Arc::new(Self {
            mounts: Mutex::new(mounts),
        })
    }

    /// Adds a member; false when it is closed.
    pub(in crate::handler) fn attach(&self, id: MountId, mount: &Arc<T>) -> bool {
        let mut mounts = self.mounts.lock();
        if !mounts.closed {
            mounts.all.push((id, Arc::downgrade(mount)));
        }
        !mounts.closed
    }

    /// A member is gone. True when it was the last one: then it is closed.
    pub(in crate::handler) fn detach(&self, id: MountId) -> bool {
        let mut mounts = self.mounts.lock();
        mounts
            .all
            .retain(|(other, mount)| *other != id && mount.strong_count() > 0);
        mounts.closed |= mounts.all.is_empty();
        mounts.closed
    }

    /// Those there are.
    pub(in crate::handler) fn all(&self) -> Vec<Arc<T>> {
        self.look(|_| ()).0
    }

    /// Lets `at` look at all, while nobody comes or goes and nobody else looks.
    pub(in crate::handler) fn look<R>(&self, at: impl FnOnce(&[Arc<T>]) -> R) -> (Vec<Arc<T>>, R) {
        let mounts = self.mounts.lock();
        let all: Vec<Arc<T>> = mounts
            .all
            .iter()
            .filter_map(|(_, mount)| mount.upgrade())
            .collect();
        let kernel_cache = at(&all);
        // Whoever is dropped with the list leaves, which takes the lock.
        drop(mounts);
        (all, kernel_cache)
    }
}
