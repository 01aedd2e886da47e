//! A file that programs have open through one mount.

use super::kernel_cache::Fresh;
use super::locks::Losses;
use super::types::OpenMode;
use crate::errno::Error;
use crate::handler::client::OutgoingCall;
use crate::handler::fair::FairPart;
use crate::handler::file::{Files, Inode, KeptOpens, ServiceOpen, TextUse};
use crate::handler::values::ChangedBy;
use rdmafs_meta::error::MetaError;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// An open file of one mount.
pub(in crate::handler) struct OpenFile {
    pub(super) open: Arc<ServiceOpen>,
    pub(super) opens: Arc<KeptOpens>,
    pub(in crate::handler) mode: OpenMode,
    /// Its inode was append-only when it was opened.
    pub(in crate::handler) only_appends: bool,
    /// The page cache is passed by.
    pub(in crate::handler) direct: bool,
    /// Losses of the inode that this file's users know of.
    pub(super) losses: AtomicU64,
    /// Locks that were taken through it and are lost.
    pub(in crate::handler) lock_losses: Losses,
    /// What its first use says of the kernel's pages.
    pub(super) fresh: Option<Fresh>,
    pub(super) used: AtomicBool,
    /// Of those of its user.
    pub(super) _place: FairPart,
    /// That it is run or may be written.
    pub(super) _text: TextUse,
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        self.opens.closed(&self.open);
    }
}

impl OpenFile {
    /// # Errors
    /// [`Error::LocksLost`]: somebody may have the locks now under which its user reads and writes.
    pub(in crate::handler) fn check_locks(&self) -> Result<(), Error> {
        match self.lock_losses.any() {
            true => Err(Error::LocksLost),
            false => Ok(()),
        }
    }

    /// The call, to be made in no session in which these locks are lost.
    pub(in crate::handler) fn under_locks(self: &Arc<Self>, outgoing: OutgoingCall) -> OutgoingCall {
        let file = self.clone();
        outgoing.if_allowed(move || file.check_locks())
    }

    /// What the first use of the file says.
    pub(in crate::handler) fn first_use(&self) -> Option<Fresh> {
        let first = !self.used.load(Ordering::Relaxed) && !self.used.swap(true, Ordering::Relaxed);
        self.fresh.filter(|_| first)
    }

    pub(in crate::handler) fn inode(&self) -> &Inode {
        &self.open.held
    }

    pub(in crate::handler) fn files(&self) -> &Arc<Files> {
        &self.open.held.files
    }

    /// Commits what is not committed.
    ///
    /// # Errors
    /// EIO when that fails, and once when something was lost that was written since the file was opened.
    pub(in crate::handler) async fn settle(&self, by: ChangedBy, sync: bool) -> Result<(), Error> {
        let committed = self.files().commit(self.inode(), by, sync).await;
        let losses = self.inode().losses();
        if self.losses.swap(losses, Ordering::Relaxed) < losses {
            return Err(MetaError::Lost.into());
        }
        // It may have died with a node whose return this waited for.
        self.inode().check()?;
        committed
    }

    /// Commits what is not committed; the open is given back when the last user of the file drops it.
    pub(in crate::handler) async fn finish(self: Arc<Self>, by: ChangedBy) -> Result<(), Error> {
        self.files().commit(self.inode(), by, false).await
    }
}
