//! Reading directories: what was listed here and not changed since is listed without a call.

use super::directories::UNKNOWN_END;
use super::state::Mount;
use super::types::HandleId;
use crate::errno::Error;
use rdmafs_meta::attr::{Attr, FileKind, SetAttr, SetTime};
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::error::MetaError;
use rdmafs_meta::id::InodeId;
use rdmafs_meta::permission::{self, Access};
use rdmafs_meta::wire::{DirEntry, Reply, Request};
use std::sync::Arc;

/// Entries asked for at once: about what fits the 32 KiB that readdir(3) of glibc reads.
pub(crate) const DIRECTORY_PAGE: u32 = 256;

impl Mount {
    /// Opens a directory. The service says whether the caller may read it, unless that is known by what is held.
    ///
    /// # Errors
    /// The namespace's; ENOTDIR; ENFILE where the user has as many open as he may.
    pub async fn opendir(self: Arc<Self>, caller: Credentials, ino: InodeId) -> Result<HandleId, Error> {
        let place = self.open_place(&caller)?;
        let (attr, next) = match self.held_directory(&caller, ino) {
            Some(held) => held,
            None => self.ask_to_open(caller, ino).await?,
        };
        let handle = self.new_handle();
        self.directories.opened(handle, (attr, next), place);
        Ok(handle)
    }

    /// The directory, if its attributes are held and let the caller read it. What is in it may be changed until it is read.
    fn held_directory(&self, caller: &Credentials, ino: InodeId) -> Option<(Attr, u64)> {
        let attr = self.client.leases.attributes(ino)?;
        let is_there = attr.kind == FileKind::Directory && attr.nlink > 0;
        let may = is_there && permission::check(caller, &attr, Access::READ).is_ok();
        may.then_some((attr, UNKNOWN_END))
    }

    /// Has the service check the caller's right to read.
    async fn ask_to_open(&self, caller: Credentials, ino: InodeId) -> Result<(Attr, u64), Error> {
        // Where entries can be held the first page is not asked for a second time; else one entry, ".", will do.
        let limit = match self.client.leases.are_taken() {
            true => DIRECTORY_PAGE,
            false => 1,
        };
        let (entries, next) = self.ask_for_page(caller, ino, (0, limit)).await?;
        let dot = entries.into_iter().next().ok_or(Error::Protocol)?;
        Ok((dot.attr, next))
    }

    /// Entries after a place, at most so many, and the place that the directory's next name gets.
    async fn ask_for_page(
        &self,
        caller: Credentials,
        ino: InodeId,
        (after, limit): (u64, u32),
    ) -> Result<(Vec<DirEntry>, u64), Error> {
        let request = Request::ReadDir { ino, after, limit };
        match self.client.call(self.lister(caller), request).await? {
            Reply::Directory { entries, next, .. } => Ok((entries, next)),
            _ => Err(Error::Protocol),
        }
    }

    /// Whether to list a directory with these attributes renews its access time now.
    fn renews_by_listing(&self) -> impl Fn(&Attr) -> bool + use<> {
        let rule = self.lister(Credentials::root()).access_time;
        let now = self.client.node_clock.wall(self.client.clock.now());
        move |attr| attr.renews_access_time(rule, now)
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
        let page = (after, limit.max(1));
        let held = self.client.leases.page(ino, page, self.renews_by_listing());
        let page = match held {
            Some(held) => Ok(held),
            None => self.ask_for_page(Credentials::root(), ino, page).await,
        };
        let (mut entries, next) = match page {
            Ok(page) => page,
            Err(Error::Meta(MetaError::Stale)) if self.directories.removed(ino).is_some() => {
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        if after == 0 || end == UNKNOWN_END {
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
            next.acls = attr.acls.with_mode(next.mode);
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
