//! Locks that end with their owner: its process, its open file, its session, its mount.

use super::notes::Owed;
use super::pool_locks::PoolLocks;
use crate::errno::Error;
use crate::handler::mount::to_the_end::ToTheEnd;
use crate::handler::mount::{HandleId, Mount};
use crate::handler::values::MountId;
use rdmafs_meta::id::InodeId;
use rdmafs_meta::lock::{LockKind, Span};
use rdmafs_meta::wire::Request;
use std::sync::Arc;

impl Mount {
    /// A process closes one of its descriptors of a file: its POSIX locks on it go, as on a local file system.
    pub(in crate::handler) async fn process_closes(&self, handle: HandleId, process: u64) {
        let file = self.handles.read().get(&handle).cloned();
        let Some(file) = file else { return };
        let ino = file.inode().ino;
        let owed = self.locks.lock().process_closes((ino, process));
        if self.locks.lock().has_locks(ino, handle) {
            self.pool_locks
                .closing_files
                .may_be_closing(ino, (self.id, handle));
        }
        if let Some(owed) = owed {
            self.give_back(ino, vec![owed]).await;
        }
    }

    /// An open file is gone, and the locks that were taken through it. The answer is ready when they are given back.
    pub(in crate::handler) fn file_closes(
        &self,
        ino: InodeId,
        handle: HandleId,
    ) -> impl Future<Output = ()> + Send + use<> {
        let owed = self.locks.lock().file_closes(ino, handle);
        let leaves = Leaves(self.pool_locks.clone(), ino, (self.id, handle));
        let unlocks = (!owed.is_empty()).then(|| self.give_back(ino, owed));
        async move {
            if let Some(unlocks) = unlocks {
                unlocks.await;
            }
            drop(leaves);
        }
    }

    /// The session is over. Whoever had locks must not read or write under them any more, and the kernel must not show what it has.
    pub(in crate::handler) fn locks_are_lost(&self) {
        let inodes = self.locks.lock().are_lost();
        for ino in inodes {
            tracing::error!(pool = %self.client.name, %ino, "locks are lost: their session is over");
            self.drop_pages(ino);
        }
    }

    /// The mount is gone. Another one of this host may keep the session, and the files open.
    pub(in crate::handler) fn give_all_locks_back(&self) {
        let owed = self.locks.lock().forget_all();
        for (ino, owed) in owed {
            drop(self.give_back(ino, vec![owed]));
        }
        self.pool_locks.waits.recheck();
        self.pool_locks.closing_files.mount_is_gone(self.id);
    }

    /// Gives back all that these owners have of the file. Goes on when nobody waits for it; the wait ends after the mount's timeout.
    pub(super) fn give_back(&self, ino: InodeId, owed: Vec<Owed>) -> impl Future<Output = ()> + Send + use<> {
        let client = self.client.clone();
        let unlocks = ToTheEnd::new(&self.client.executor, async move {
            for Owed { owner, origin } in owed {
                let request = Request::Unlock {
                    ino,
                    owner,
                    kind: LockKind::Unknown,
                    span: Span::WHOLE,
                };
                // A session that is over has given everything back.
                let _over = client.ask_in(origin, request).await;
            }
            Ok::<(), Error>(())
        });
        let (executor, timeout) = (self.executor().clone(), self.timeout());
        async move {
            let _late = executor.within(timeout, unlocks).await;
        }
    }
}

/// An open file that ends; dropped when its locks are given back.
struct Leaves(Arc<PoolLocks>, InodeId, (MountId, HandleId));

impl Drop for Leaves {
    fn drop(&mut self) {
        self.0.closing_files.is_settled(self.1, self.2);
    }
}
