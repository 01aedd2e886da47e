//! What the session tells the floors above it, taken to the files, mounts and locks of its pool.

use super::locks::PoolLocks;
use super::registry::Registry;
use super::state::Mount;
use crate::errno::Error;
use crate::handler::client::{ClientSession, Reset, SessionEvents, Task};
use crate::handler::file::{Files, KeptOpens, commit_inodes};
use crate::handler::values::Connection;
use rdmafs_meta::id::{InodeId, LockTicket};
use std::sync::{Arc, Weak};

/// Hears what happens to the session. The files hold the client that holds this, so they are not held in turn.
pub(in crate::handler) struct PoolEvents {
    /// The inodes.
    pub(in crate::handler) files: Weak<Files>,
    /// What the service counts as open.
    pub(in crate::handler) opens: Arc<KeptOpens>,
    /// The mounts.
    pub(in crate::handler) mounts: Arc<Registry<Mount>>,
    /// Who waits for locks.
    pub(in crate::handler) locks: Arc<PoolLocks>,
}

impl SessionEvents for PoolEvents {
    fn recalled(&self, ino: InodeId, from: u64, truncate_seq: u64) -> Option<Task<()>> {
        let inode = self.files.upgrade()?.find_recalled(ino)?;
        Some(Box::pin(inode.recall(from, truncate_seq)))
    }

    fn layout_changed(&self, ino: InodeId) {
        if let Some(inode) = self.files.upgrade().and_then(|files| files.find_recalled(ino)) {
            inode.changed();
        }
    }

    fn forgotten(&self, ino: InodeId) {
        self.opens.let_go(ino);
    }

    fn capabilities_given(&self, ino: InodeId) {
        if let Some(files) = self.files.upgrade() {
            files.may_have_capabilities(ino);
        }
    }

    fn lock_granted(&self, ticket: LockTicket, origin: Connection) {
        self.locks.waits.granted(ticket, origin);
    }

    fn drain(&self) -> Task<Result<(), Error>> {
        match self.files.upgrade() {
            Some(files) => Box::pin(commit_inodes(files)),
            None => Box::pin(async { Ok(()) }),
        }
    }

    fn begins_anew(&self, session: Arc<ClientSession>) -> Task<Result<(), Error>> {
        let (files, mounts) = (self.files.upgrade(), self.mounts.clone());
        Box::pin(async move {
            let Some(files) = files else { return Ok(()) };
            let inodes = files.inodes();
            files.reopen(&session, &inodes).await?;
            mounts.all().iter().for_each(|mount| mount.locks_are_lost());
            files.begin_anew(&inodes);
            Ok(())
        })
    }

    fn reset(&self, what: Reset) {
        match what {
            Reset::Connected => {
                if let Some(files) = self.files.upgrade() {
                    files.reconnected();
                }
                self.opens.let_go_of_all();
                for mount in self.mounts.all() {
                    mount.kernel_cache.lock().forget();
                }
            }
            Reset::Up => self.locks.waits.recheck(),
            Reset::Replaced => {
                self.locks.waits.recheck();
                for mount in self.mounts.all() {
                    mount.kernel_forgets_all();
                }
            }
        }
    }
}
