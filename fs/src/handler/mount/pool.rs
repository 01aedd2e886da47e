//! A pool as this host sees it: its client, its files and its mounts, wired together.

use super::events::PoolEvents;
use super::locks::PoolLocks;
use super::registry::Registry;
use super::state::Mount;
use crate::handler::client::{Client, Parts};
use crate::handler::file::{Files, KeptOpens};
use crate::options::MountOptions;
use std::sync::Arc;

/// A pool.
pub(in crate::handler) struct Pool {
    /// The session at the pool's node.
    pub(in crate::handler) client: Arc<Client>,
    /// The inodes of the pool that this handler knows.
    pub(in crate::handler) files: Arc<Files>,
    /// The mounts of this host.
    pub(in crate::handler) mounts: Arc<Registry<Mount>>,
    /// What the locks of the mounts have in common.
    locks: Arc<PoolLocks>,
    /// What the service counts as open.
    opens: Arc<KeptOpens>,
}

impl Pool {
    /// A pool that is not connected yet, without mounts.
    pub(in crate::handler) fn new(parts: Parts) -> Arc<Self> {
        let mounts = Registry::new();
        let (locks, opens) = (Arc::<PoolLocks>::default(), Arc::<KeptOpens>::default());
        let files = Arc::new_cyclic(|files| {
            let events = PoolEvents {
                files: files.clone(),
                opens: opens.clone(),
                mounts: mounts.clone(),
                locks: locks.clone(),
            };
            Files::new(Client::new(parts, Box::new(events)), mounts.clone())
        });
        Arc::new(Self {
            client: files.client.clone(),
            files,
            mounts,
            locks,
            opens,
        })
    }

    /// A new mount; `None` when the pool has been closed.
    pub(in crate::handler) fn attach(&self, options: &MountOptions) -> Option<Arc<Mount>> {
        let (mounts, locks) = (self.mounts.clone(), self.locks.clone());
        let files = (self.files.clone(), self.opens.clone());
        let mount = Mount::new(files, (mounts, locks), options);
        let attached = self.mounts.attach(mount.id, &mount);
        mount.limits_changed();
        attached.then_some(mount)
    }
}
