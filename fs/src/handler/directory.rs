//! Reading directories.

use super::mount::Mount;
use super::types::HandleId;
use crate::errno::Error;
use rdmafs_meta::attr::FileKind;
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::id::InodeId;
use rdmafs_meta::wire::{DirEntry, Reply, Request};
use std::sync::Arc;

impl Mount {
    /// Opens a directory. The kernel has checked that the caller may read it.
    ///
    /// # Errors
    /// The namespace's; ENOTDIR.
    pub async fn opendir(self: Arc<Self>, caller: Credentials, ino: InodeId) -> Result<HandleId, Error> {
        // One entry is read to have the service check the caller's right to read.
        let request = Request::ReadDir {
            ino,
            after: 0,
            limit: 1,
        };
        let Reply::Directory { .. } = self.pool.call(self.lister(caller), request).await? else {
            return Err(Error::Protocol);
        };
        let handle = self.new_handle();
        self.directories.write().insert(handle, ino);
        Ok(handle)
    }

    /// A page of entries after cookie `after`, at least one unless it is the end. Empty at the end. Of which the kernel is given the
    /// attributes, [`Mount::gives`] is to be told.
    ///
    /// # Errors
    /// EBADF, the link's.
    pub async fn readdir(
        self: Arc<Self>,
        handle: HandleId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<DirEntry>, Error> {
        let ino = self.directory(handle)?;
        let request = Request::ReadDir {
            ino,
            after,
            limit: limit.max(1),
        };
        let Reply::Directory { mut entries, .. } =
            self.pool.call(self.lister(Credentials::root()), request).await?
        else {
            return Err(Error::Protocol);
        };
        for entry in &mut entries {
            if entry.attr.kind == FileKind::Regular {
                entry.attr = self.pool.show(entry.attr.clone());
            }
        }
        Ok(entries)
    }

    /// fsync(2) of a directory.
    ///
    /// # Errors
    /// EBADF, the link's.
    pub async fn fsyncdir(self: Arc<Self>, handle: HandleId) -> Result<(), Error> {
        self.directory(handle)?;
        self.pool.sync(self.by()).await
    }

    /// Closes a directory.
    ///
    /// # Errors
    /// EBADF.
    #[expect(clippy::unused_async, reason = "all operations have this shape")]
    pub async fn releasedir(self: Arc<Self>, handle: HandleId) -> Result<(), Error> {
        let known = self.directories.write().remove(&handle);
        known.map(|_| ()).ok_or(Error::BadHandle)
    }

    fn directory(&self, handle: HandleId) -> Result<InodeId, Error> {
        self.check_pool()?;
        self.directories
            .read()
            .get(&handle)
            .copied()
            .ok_or(Error::BadHandle)
    }
}
