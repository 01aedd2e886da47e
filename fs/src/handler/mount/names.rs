//! Names: finding, making, linking, removing, renaming.

use super::last_found::Place;
use super::state::Mount;
use super::types::Entry;
use crate::errno::Error;
use crate::handler::client::{Found, OutgoingCall};
use crate::handler::file::Closings;
use crate::handler::values::CallContext;
use rdmafs_meta::attr::{Attr, FileKind};
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::error::MetaError;
use rdmafs_meta::id::InodeId;
use rdmafs_meta::name::Name;
use rdmafs_meta::time::AccessTime;
use rdmafs_meta::wire::{NewInode, RenameMode, Reply, Request};
use rdmafs_rdma::shown::shown;
use std::sync::Arc;

/// The directory of a pool that shall be mounted is not there, with what to do. Paths begin at the pool's root.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// A name of the path is missing.
    #[error("the pool has no directory '{}': mount the pool and make it with mkdir -p", shown(.0))]
    Missing(String),
    /// The path cannot be looked up.
    #[error("cannot look up '{}' in the pool: {source}", shown(.path))]
    Lookup {
        /// As far as it was looked up.
        path: String,
        /// The answer to the call.
        source: Error,
    },
    /// Links are not followed.
    #[error("'{0}' in the pool is a symbolic link: name the directory itself")]
    Link(String),
    /// The path leads to something else.
    #[error("'{0}' in the pool is not a directory: name one")]
    NoDirectory(String),
}

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

    /// As [`Mount::lookup`], for a thread that may be about to rename what it looked up just before: ESTALE where another host has renamed that meanwhile
    /// to what is looked up now, once.
    ///
    /// # Errors
    /// The namespace's; ESTALE.
    pub async fn lookup_by(
        self: Arc<Self>,
        thread: u32,
        caller: Credentials,
        parent: InodeId,
        name: Vec<u8>,
    ) -> Result<Entry, Error> {
        if matches!(name.as_slice(), b"." | b"..") {
            return self.lookup(caller, parent, name).await;
        }
        let last = self.last_found.take(thread);
        let found = Arc::clone(&self).lookup(caller.clone(), parent, name.clone());
        let entry = found.await?;
        let place = (parent, name);
        if let Some((before, ino)) = last
            && ino == entry.attr.ino
            && before != place
            && !self.is_a_name(caller, before, &entry.attr).await?
        {
            return Err(MetaError::Stale.into());
        }
        self.last_found.set(thread, place, entry.attr.ino);
        Ok(entry)
    }

    /// Whether the inode, which has another name, has this one too.
    async fn is_a_name(&self, caller: Credentials, place: Place, attr: &Attr) -> Result<bool, Error> {
        if attr.kind == FileKind::Directory || attr.nlink < 2 {
            return Ok(false);
        }
        match self.find(caller, place.0, place.1).await {
            Ok(found) => Ok(found.ino == attr.ino),
            Err(Error::Meta(MetaError::NotFound)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Finds `name` in `parent` for the handler itself: the kernel hears nothing of it.
    pub(in crate::handler) async fn find(
        &self,
        caller: Credentials,
        parent: InodeId,
        name: Vec<u8>,
    ) -> Result<Attr, Error> {
        let request = match name.as_slice() {
            b"." => return self.files.attributes(self.context(caller), parent).await,
            b".." => Request::Parent { ino: parent },
            _ => Request::Lookup {
                parent,
                name: Name::new(name)?,
            },
        };
        if let Request::Lookup { parent, name } = &request
            && let Some(found) = self.known(&caller, *parent, name).await?
        {
            return match found {
                Found::Here(attr) => Ok(self.files.show(attr)),
                Found::Absent => Err(MetaError::NotFound.into()),
            };
        }
        let answer = self.files.call_for_attr(self.context(caller), request).await;
        if let Err(Error::Meta(MetaError::NotFound)) = answer {
            let access_time = AccessTime::Never;
            let itself = CallContext {
                access_time,
                ..self.itself()
            };
            self.client.missed(itself, parent).await;
        }
        answer
    }

    /// What the name leads to, if that is held, or is once a directory is caught up.
    async fn known(&self, who: &Credentials, parent: InodeId, name: &Name) -> Result<Option<Found>, Error> {
        let leases = &self.client.leases;
        if let Some(found) = leases.find(who, parent, name) {
            return Ok(Some(found));
        }
        let Some(behind) = leases.behind_at(who, parent, name) else {
            return Ok(None);
        };
        match self.client.catch_up(self.context(who.clone()), behind).await? {
            Some(_) => Ok(leases.find(who, parent, name)),
            None => Ok(None),
        }
    }

    /// Target of a symbolic link.
    ///
    /// # Errors
    /// The namespace's.
    pub async fn readlink(self: Arc<Self>, caller: Credentials, ino: InodeId) -> Result<Vec<u8>, Error> {
        let context = self.context(caller);
        let now = self.client.node_clock.wall(self.client.clock.now());
        let renews = |attr: &Attr| attr.renews_access_time(context.access_time, now);
        if let Some(target) = self.client.leases.target(ino, renews) {
            return Ok(target);
        }
        match self.client.call(context, Request::ReadLink { ino }).await? {
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
        let attr = self.files.call_for_attr(self.context(caller), request).await?;
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
            .files
            .call_for_attr(self.context(caller), Request::Link { ino, parent, name })
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
        let closings = self.opens.close_removed(&self.client, &[(parent, &name)]).await;
        let request = Request::Unlink { parent, name };
        self.call_for_removal(self.context(caller), request, closings)
            .await
    }

    /// Makes a call that may take the last names of files away, with what it gives back on its way.
    async fn call_for_removal(
        &self,
        context: CallContext,
        request: Request,
        closings: Closings,
    ) -> Result<(), Error> {
        let mut outgoing = closings.with(OutgoingCall::new(context, request));
        let answer = self.client.ask(&mut outgoing).await;
        closings.answered(&outgoing, &answer);
        self.opens.let_go_of_unnamed(&self.client);
        match answer?.1 {
            Reply::Done => Ok(()),
            _ => Err(Error::Protocol),
        }
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
        self.client
            .call_for_done(self.context(caller), Request::RemoveDir { parent, name })
            .await
    }

    /// Renames.
    ///
    /// # Errors
    /// The namespace's; EROFS.
    pub async fn rename(
        self: Arc<Self>,
        caller: Credentials,
        (parent, name): (InodeId, Vec<u8>),
        (new_parent, new_name): (InodeId, Vec<u8>),
        mode: RenameMode,
    ) -> Result<(), Error> {
        self.writable()?;
        let (name, new_name) = (Name::new(name)?, Name::new(new_name)?);
        let replaced = (new_parent, &new_name);
        let replaces = matches!(mode, RenameMode::Replace) && replaced != (parent, &name);
        let replaced: &[_] = if replaces { &[replaced] } else { &[] };
        let closings = self.opens.close_removed(&self.client, replaced).await;
        let request = Request::Rename {
            parent,
            name,
            new_parent,
            new_name,
            mode,
        };
        self.call_for_removal(self.context(caller), request, closings)
            .await
    }

    /// Finds the directory where it begins, by its names from the pool's root. Links are not followed: they might lead out of the pool.
    /// Does nothing where that is known. Blocking callers use an executor.
    ///
    /// # Errors
    /// Which name is missing, or is no directory.
    pub(in crate::handler) async fn begin_at(&self, names: &[String]) -> Result<(), RootError> {
        if self.root.get().is_some() {
            return Ok(());
        }
        let (mut at, mut path) = (InodeId::ROOT, String::new());
        for name in names {
            path = format!("{path}/{name}");
            let found = self
                .find(Credentials::root(), at, name.clone().into_bytes())
                .await;
            let attr = found.map_err(|error| match error {
                Error::Meta(MetaError::NotFound) => RootError::Missing(path.clone()),
                source => RootError::Lookup {
                    path: path.clone(),
                    source,
                },
            })?;
            match attr.kind {
                FileKind::Directory => at = attr.ino,
                FileKind::Symlink => return Err(RootError::Link(path)),
                _ => return Err(RootError::NoDirectory(path)),
            }
        }
        let _first = self.root.set(at);
        Ok(())
    }
}
