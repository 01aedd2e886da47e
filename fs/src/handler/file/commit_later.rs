//! Commits, after a while, what programs wrote to files that they keep open.
//!
//! Nothing else would: close, fsync and recalls may never come, and FUSE is not told of sync(2). Until then other hosts do not see the
//! bytes, and they end with the handler. One sleeping task for each pool that has something to commit, none for a pool that has not;
//! so many commits at a time that a thousand files do not hold up others, nor pile up while the node does not answer.

use super::due::Next;
use super::inode::Inode;
use super::table::Files;
use crate::errno::Error;
use crate::handler::client::SessionState;
use crate::handler::values::{ChangedBy, MountId};
use rdmafs_meta::id::InodeId;
use std::sync::{Arc, Weak};
use tokio::sync::OwnedSemaphorePermit;

impl Files {
    /// The inode has something to commit, some of it new.
    pub(in crate::handler) fn commit_later(self: &Arc<Self>, inode: &Inode) {
        if !inode.is_first_to_commit() {
            return;
        }
        let after = self.later.after();
        // Without a mount nobody writes.
        let Some(after) = after else { return };
        let start = self
            .later
            .state
            .lock()
            .push(self.client.clock.now() + after, inode.ino);
        if start {
            self.client.executor.run(0, serve(Arc::downgrade(self)), |_| ());
        } else {
            self.later.sooner.notify(usize::MAX);
        }
    }

    /// Commits a file whose time has come; what is written meanwhile, or could not be committed, has a time of its own.
    async fn commit_now(self: Arc<Self>, ino: InodeId, place: OwnedSemaphorePermit) -> Result<(), Error> {
        let Some(inode) = self.find(ino) else {
            return Ok(());
        };
        inode.begins_to_commit();
        let by = ChangedBy {
            mount: MountId::HANDLER,
            timeout: self.client.timeout(),
        };
        let committed = self.commit(&inode, by, false).await;
        drop(place);
        // What the service refuses it refuses again: the next fsync or close says so.
        if !matches!(committed, Err(Error::Meta(_))) && inode.uncommitted().is_some() {
            self.commit_later(&inode);
        }
        committed
    }
}

async fn serve(files: Weak<Files>) -> Result<(), Error> {
    while let Some(files) = files.upgrade() {
        let sooner = files.later.sooner.listen();
        let next = files.later.state.lock().next(files.client.clock.now());
        if matches!(*files.client.state.read(), SessionState::Closed) {
            return Ok(());
        }
        match next {
            Next::End => return Ok(()),
            Next::Sleep(time) => {
                let executor = files.client.executor.clone();
                drop(files);
                executor.within(time, sooner).await;
            }
            Next::Commit(ino) => {
                let place = files.later.places.clone().acquire_owned().await;
                let place = place.map_err(|_| Error::Internal("nobody closes it"))?;
                let executor = files.client.executor.clone();
                executor.run(0, files.commit_now(ino, place), |committed| {
                    if let Err(error) = committed {
                        tracing::debug!("what was written is not committed yet: {error}");
                    }
                });
            }
        }
    }
    Ok(())
}
