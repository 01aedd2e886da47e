//! Making what was written part of the file.

use super::caches::Committed;
use super::inode::{Inode, Written};
use super::table::Files;
use crate::errno::Error;
use crate::handler::client::{ClientSession, OutgoingCall, Retry};
use crate::handler::values::{ChangedBy, MountId};
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::error::MetaError;
use rdmafs_meta::wire::{Reply, Request};
use std::sync::Arc;

impl Files {
    /// Commits what is not committed of the inode; with `sync`, waits until the store has it and all before it.
    /// A mount asks: the kernels behind the other mounts are told, its own is not.
    ///
    /// # Errors
    /// As [`Client::call`](crate::handler::client::Client::call). What was written stays uncommitted then.
    pub(in crate::handler) async fn commit(
        &self,
        inode: &Inode,
        by: ChangedBy,
        sync: bool,
    ) -> Result<(), Error> {
        self.commit_all(inode, by, (&Credentials::root(), sync)).await
    }

    /// Commits at once what a program wrote that may not leave set-id bits there.
    ///
    /// # Errors
    /// As [`Files::commit`].
    pub(in crate::handler) async fn commit_as(
        &self,
        inode: &Inode,
        by: ChangedBy,
        who: Credentials,
    ) -> Result<(), Error> {
        self.commit_all(inode, by, (&who, false)).await
    }

    async fn commit_all(
        &self,
        inode: &Inode,
        by: ChangedBy,
        (who, sync): (&Credentials, bool),
    ) -> Result<(), Error> {
        if inode.uncommitted().is_none() {
            return if sync { self.sync(by).await } else { Ok(()) };
        }
        let alone = self.client.within(by.timeout, inode.committing.lock()).await;
        let _alone = alone.ok_or_else(|| Error::Down(self.client.connect.label()))?;
        let anew = Retry::new(&self.client, by.timeout);
        loop {
            if inode.uncommitted().is_none() {
                return if sync { self.sync(by).await } else { Ok(()) };
            }
            let session = self.client.session(by.timeout).await?;
            // What was written in a session before this one, and not committed, is lost.
            let Some(written) = inode.uncommitted() else {
                continue;
            };
            match self.commit_in(&session, inode, (by, who, sync), &written).await {
                Err(error @ Error::Meta(MetaError::SessionEnded)) => {
                    if !anew.after(&session, &error).await {
                        return Err(error);
                    }
                }
                done => return done,
            }
        }
    }

    /// Says in the session in which the bytes were written that they are part of the file: the node of another one may not have them.
    async fn commit_in(
        &self,
        session: &ClientSession,
        inode: &Inode,
        (by, who, sync): (ChangedBy, &Credentials, bool),
        written: &Written,
    ) -> Result<(), Error> {
        let (before, given) = (inode.attr(), (self.given(), inode.given()));
        let request = Request::Commit {
            ino: inode.ino,
            size: written.size,
            truncate_seq: written.truncate_seq,
            mtime: written.mtime,
            clear_set_id: written.clear_set_id,
            sync,
        };
        let mut outgoing = OutgoingCall::new(by.context(who.clone()), request).only_in(session.origin);
        let (_, Reply::Attr(after)) = self.client.ask(&mut outgoing).await? else {
            return Err(Error::Protocol);
        };
        inode.show(after.clone());
        inode.committed(written);
        // A commit takes file capabilities away.
        self.learn_plain(inode, given);
        self.caches.committed(&Committed {
            mount: by.mount,
            writers: &written.mounts,
            before: before.as_ref(),
            after: &after,
        });
        Ok(())
    }

    /// Waits until everything the service answered is in its store.
    ///
    /// # Errors
    /// As [`Client::call`](crate::handler::client::Client::call).
    pub(in crate::handler) async fn sync(&self, by: ChangedBy) -> Result<(), Error> {
        self.client
            .call_for_done(by.context(Credentials::root()), Request::Sync)
            .await
    }
}

/// Commits everything that was written, until the store has it.
pub(in crate::handler) async fn commit_inodes(files: Arc<Files>) -> Result<(), Error> {
    let by = ChangedBy {
        mount: MountId::HANDLER,
        timeout: files.client.timeout(),
    };
    let mut first = Ok(());
    for inode in files.inodes() {
        first = first.and(files.commit(&inode, by, false).await);
    }
    first?;
    files.sync(by).await
}
