//! Names: finding, making, linking, removing, renaming.

use super::mount::Mount;
use super::types::Entry;
use crate::errno::Error;
use rdmafs_meta::attr::Attr;
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::error::MetaError;
use rdmafs_meta::id::InodeId;
use rdmafs_meta::name::Name;
use rdmafs_meta::wire::{NewInode, RenameMode, Reply, Request};
use std::sync::Arc;

impl Mount {
    /// Finds `name` in `parent`; "." and ".." are allowed (NFS export, mount-point crossing) where the mount shows the whole pool:
    /// any inode would be found by them.
    ///
    /// # Errors
    /// The namespace's; ESTALE.
    pub async fn lookup(
        self: Arc<Self>,
        caller: Credentials,
        parent: InodeId,
        name: Vec<u8>,
    ) -> Result<Entry, Error> {
        if self.is_confined() && matches!(name.as_slice(), b"." | b"..") {
            return Err(MetaError::Stale.into());
        }
        let attr = self.find(caller, parent, name).await?;
        Ok(self.entry(attr))
    }

    /// The same for the handler itself: the kernel hears nothing of it.
    pub(super) async fn find(
        &self,
        caller: Credentials,
        parent: InodeId,
        name: Vec<u8>,
    ) -> Result<Attr, Error> {
        let request = match name.as_slice() {
            b"." => Request::GetAttr { ino: parent },
            b".." => Request::Parent { ino: parent },
            _ => Request::Lookup {
                parent,
                name: Name::new(name)?,
            },
        };
        self.pool.call_for_attr(self.asker(caller), request).await
    }

    /// Target of a symbolic link.
    ///
    /// # Errors
    /// The namespace's.
    pub async fn readlink(self: Arc<Self>, caller: Credentials, ino: InodeId) -> Result<Vec<u8>, Error> {
        match self
            .pool
            .call(self.asker(caller), Request::ReadLink { ino })
            .await?
        {
            Reply::Target(target) => Ok(target),
            _ => Err(Error::Protocol),
        }
    }

    /// mkdir, mknod, symlink; `mode` with the umask applied.
    ///
    /// # Errors
    /// The namespace's; EROFS.
    pub async fn make(
        self: Arc<Self>,
        caller: Credentials,
        parent: InodeId,
        name: Vec<u8>,
        what: NewInode,
        mode: u16,
    ) -> Result<Entry, Error> {
        self.writable()?;
        // An open that no handle stands for would never be given back.
        let what = match what {
            NewInode::File { .. } => NewInode::File { open: false },
            what => what,
        };
        let name = Name::new(name)?;
        let request = Request::Make {
            parent,
            name,
            what,
            mode,
        };
        let attr = self.pool.call_for_attr(self.asker(caller), request).await?;
        Ok(self.entry(attr))
    }

    /// Another name.
    ///
    /// # Errors
    /// The namespace's; EROFS.
    pub async fn link(
        self: Arc<Self>,
        caller: Credentials,
        ino: InodeId,
        parent: InodeId,
        name: Vec<u8>,
    ) -> Result<Entry, Error> {
        self.writable()?;
        let name = Name::new(name)?;
        let attr = self
            .pool
            .call_for_attr(self.asker(caller), Request::Link { ino, parent, name })
            .await?;
        Ok(self.settled(attr))
    }

    /// Removes a name of anything but a directory.
    ///
    /// # Errors
    /// The namespace's; EROFS.
    pub async fn unlink(
        self: Arc<Self>,
        caller: Credentials,
        parent: InodeId,
        name: Vec<u8>,
    ) -> Result<(), Error> {
        self.writable()?;
        let name = Name::new(name)?;
        self.pool
            .call_for_done(self.asker(caller), Request::Unlink { parent, name })
            .await
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// The namespace's; EROFS.
    pub async fn rmdir(
        self: Arc<Self>,
        caller: Credentials,
        parent: InodeId,
        name: Vec<u8>,
    ) -> Result<(), Error> {
        self.writable()?;
        let name = Name::new(name)?;
        self.pool
            .call_for_done(self.asker(caller), Request::RemoveDir { parent, name })
            .await
    }

    /// Renames.
    ///
    /// # Errors
    /// The namespace's; EROFS.
    pub async fn rename(
        self: Arc<Self>,
        caller: Credentials,
        parent: InodeId,
        name: Vec<u8>,
        new_parent: InodeId,
        new_name: Vec<u8>,
        mode: RenameMode,
    ) -> Result<(), Error> {
        self.writable()?;
        let request = Request::Rename {
            parent,
            name: Name::new(name)?,
            new_parent,
            new_name: Name::new(new_name)?,
            mode,
        };
        self.pool.call_for_done(self.asker(caller), request).await
    }
}
