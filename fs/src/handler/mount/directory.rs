//! Reading directories.

use super::state::Mount;
use super::types::HandleId;
use crate::errno::Error;
use rdmafs_meta::attr::{Attr, FileKind, SetAttr, SetTime};
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::error::MetaError;
use rdmafs_meta::id::InodeId;
use rdmafs_meta::permission;
use rdmafs_meta::wire::{DirEntry, Reply, Request};
use std::sync::Arc;

impl Mount {
    /// Opens a directory. The kernel has checked that the caller may read it.
    ///
    /// # Errors
    /// The namespace's; ENOTDIR.
    pub async fn opendir(self: Arc<Self>, caller: Credentials, ino: InodeId) -> Result<HandleId, Error> {
        // One entry, ".", is read to have the service check the caller's right to read.
        let request = Request::ReadDir {
            ino,
            after: 0,
            limit: 1,
        };
        let Reply::Directory { entries, next, .. } = self.client.call(self.lister(caller), request).await?
        else {
            return Err(Error::Protocol);
        };
        let dot = entries.into_iter().next().ok_or(Error::Protocol)?;
        let handle = self.new_handle();
        self.directories.opened(handle, dot.attr, next);
        Ok(handle)
    }

    /// A page of entries after cookie `after`, at least one unless it is the end. Empty at the end, and of a directory that was removed. What
    /// was made after the first page is not in the later ones. Of which the kernel is given the attributes, [`Mount::gives`] is to be
    /// told.
    ///
    /// # Errors
    /// EBADF, the link's.
    pub async fn readdir(
        self: Arc<Self>,
        handle: HandleId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<DirEntry>, Error> {
        self.check_pool()?;
        let (ino, mut end) = self.directories.get(handle)?;
        if after > 0 && after.saturating_add(1) >= end {
            return Ok(Vec::new());
        }
        let request = Request::ReadDir {
            ino,
            after,
            limit: limit.max(1),
        };
        let answer = self.client.call(self.lister(Credentials::root()), request).await;
        let (mut entries, next) = match answer {
            Ok(Reply::Directory { entries, next, .. }) => (entries, next),
            Ok(_) => return Err(Error::Protocol),
            Err(Error::Meta(MetaError::Stale)) if self.directories.removed(ino).is_some() => {
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        if after == 0 {
            end = next;
            self.directories.begins(handle, end);
        }
        entries.retain(|entry| entry.cookie < end);
        for entry in &mut entries {
            if entry.name == b".." && self.is_confined() && ino == self.root() {
                entry.attr.ino = ino;
            }
            if entry.attr.kind == FileKind::Regular {
                entry.attr = self.files.show(entry.attr.clone());
            }
        }
        Ok(entries)
    }

    /// fsync(2) of a directory.
    ///
    /// # Errors
    /// EBADF, the link's.
    pub async fn fsyncdir(self: Arc<Self>, handle: HandleId) -> Result<(), Error> {
        self.check_pool()?;
        self.directories.get(handle)?;
        self.files.sync(self.by()).await
    }

    /// Closes a directory.
    ///
    /// # Errors
    /// EBADF.
    #[expect(clippy::unused_async, reason = "all operations have this shape")]
    pub async fn releasedir(self: Arc<Self>, handle: HandleId) -> Result<(), Error> {
        self.directories.closed(handle)
    }

    /// `chmod`, `chown` and times of a directory that was removed and is open here: those who have it open see them.
    ///
    /// # Errors
    /// EPERM, EACCES, EISDIR; ESTALE when nobody here has it open.
    pub(in crate::handler) fn change_removed(
        &self,
        who: &Credentials,
        ino: InodeId,
        change: &SetAttr,
    ) -> Result<Attr, Error> {
        let attr = self.directories.removed(ino).ok_or(MetaError::Stale)?;
        if change.size.is_some() {
            return Err(MetaError::IsDirectory.into());
        }
        let now = self.client.node_clock.stamp(attr.ctime, self.client.clock.now());
        let mut next = attr.clone();
        if change.uid.is_some() || change.gid.is_some() {
            next.mode = permission::chown(who, &attr, change.uid, change.gid)?;
            (next.uid, next.gid) = (change.uid.unwrap_or(attr.uid), change.gid.unwrap_or(attr.gid));
        }
        if let Some(mode) = change.mode {
            next.mode = permission::chmod(who, &attr, next.gid, mode)?;
        }
        for (time, field) in [(change.atime, &mut next.atime), (change.mtime, &mut next.mtime)] {
            let Some(time) = time else { continue };
            permission::utimens(who, &attr, time)?;
            *field = match time {
                SetTime::Now => now,
                SetTime::At(time) => time,
            };
        }
        next.ctime = now;
        self.directories.saw(&next);
        Ok(next)
    }
}
