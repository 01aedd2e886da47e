//! Making what was written part of the file.

use super::again::{Again, Asker, Question};
use super::inode::{Inode, Written};
use super::pool::Pool;
use super::session::Session;
use crate::errno::Error;
use rdmafs_meta::attr::Attr;
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::error::MetaError;
use rdmafs_meta::time::AccessTime;
use rdmafs_meta::wire::{Reply, Request};
use std::time::Duration;

/// The mount on whose behalf something is committed.
#[derive(Clone, Copy, Debug)]
pub(super) struct By {
    pub(super) mount: u64,
    pub(super) timeout: Duration,
}

impl By {
    fn asker(self, who: Credentials) -> Asker {
        Asker {
            who,
            access_time: AccessTime::default(),
            timeout: self.timeout,
        }
    }
}

impl Pool {
    /// Commits what is not committed of the inode; with `sync`, waits until the store has it and all before it.
    /// A mount asks: the kernels behind the other mounts are told, its own is not.
    ///
    /// # Errors
    /// As [`Pool::call`]. What was written stays uncommitted then.
    pub(super) async fn commit(&self, inode: &Inode, by: By, sync: bool) -> Result<(), Error> {
        self.commit_all(inode, by, (&Credentials::root(), sync)).await
    }

    /// Commits at once what a program wrote that may not leave set-id bits there.
    ///
    /// # Errors
    /// As [`Pool::commit`].
    pub(super) async fn commit_as(&self, inode: &Inode, by: By, who: Credentials) -> Result<(), Error> {
        self.commit_all(inode, by, (&who, false)).await
    }

    async fn commit_all(
        &self,
        inode: &Inode,
        by: By,
        (who, sync): (&Credentials, bool),
    ) -> Result<(), Error> {
        if inode.uncommitted().is_none() {
            return if sync { self.sync(by).await } else { Ok(()) };
        }
        let _alone = inode.committing.lock().await;
        let again = Again::new(self, by.timeout);
        loop {
            if inode.uncommitted().is_none() {
                return if sync { self.sync(by).await } else { Ok(()) };
            }
            let session = self.session(by.timeout).await?;
            // What was written in a session before this one, and not committed, is lost.
            let Some(written) = inode.uncommitted() else {
                continue;
            };
            match self.commit_in(&session, inode, (by, who, sync), &written).await {
                Err(error @ Error::Meta(MetaError::SessionEnded)) => {
                    if !again.after(&session, &error).await {
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
        session: &Session,
        inode: &Inode,
        (by, who, sync): (By, &Credentials, bool),
        written: &Written,
    ) -> Result<(), Error> {
        let (before, given) = (inode.attr(), (self.given(), inode.given()));
        let request = Request::Commit {
            ino: inode.ino,
            size: written.size,
            shrinks: written.shrinks,
            mtime: written.mtime,
            clear_set_id: written.clear_set_id,
            sync,
        };
        let mut question = Question::new(by.asker(who.clone()), request).only_in(session.origin);
        let (_, Reply::Attr(after)) = self.ask(&mut question).await? else {
            return Err(Error::Protocol);
        };
        inode.show(after.clone());
        inode.committed(written);
        // A commit takes file capabilities away.
        self.learn_plain(inode, given);
        self.pass_on(by.mount, written, before, &after);
        Ok(())
    }

    /// Tells the kernels what a commit means for their caches.
    fn pass_on(&self, mount: u64, written: &Written, before: Option<Attr>, after: &Attr) {
        for other in self.mounts() {
            let alone = written.mounts == [other.id];
            match &before {
                // One step further, by this mount's own bytes: its pages are of the new version.
                Some(before) if alone && before.version.0 + 1 == after.version.0 => {
                    other
                        .seen
                        .lock()
                        .advanced(after.ino, before.version, after.version);
                }
                // Nothing else is known to have changed what this mount caches; its next open asks.
                _ if alone || other.id == mount => {}
                _ => other.data_changed(after.ino),
            }
        }
    }

    /// Waits until everything the service answered is in its store.
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub(super) async fn sync(&self, by: By) -> Result<(), Error> {
        self.call_for_done(by.asker(Credentials::root()), Request::Sync)
            .await
    }
}
