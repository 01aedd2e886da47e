//! Attributes of inodes and of the pool.

use super::state::Mount;
use super::types::{Entry, HandleId};
use crate::errno::Error;
use crate::handler::client::OutgoingCall;
use crate::handler::values::CallContext;
use rdmafs_meta::attr::{Attr, SetAttr};
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::error::MetaError;
use rdmafs_meta::extent::GRANULE;
use rdmafs_meta::id::InodeId;
use rdmafs_meta::wire::{Reply, Request, Room, WireVersion};
use std::sync::Arc;

impl Mount {
    /// Attributes.
    ///
    /// # Errors
    /// The namespace's.
    pub async fn getattr(self: Arc<Self>, caller: Credentials, ino: InodeId) -> Result<Entry, Error> {
        let asked = self.files.attributes(self.context(caller), ino).await;
        let attr = match asked {
            Err(Error::Meta(MetaError::Stale)) => self.directories.removed(ino).ok_or(MetaError::Stale)?,
            asked => asked?,
        };
        self.directories.saw(&attr);
        Ok(self.entry(attr))
    }

    /// Attributes; `open` says that the kernel asks about an open file, as it does before it reads what it has cached.
    ///
    /// # Errors
    /// EIO when the file's pool was replaced; the namespace's.
    pub async fn getattr_as(
        self: Arc<Self>,
        caller: Credentials,
        ino: InodeId,
        open: bool,
    ) -> Result<Entry, Error> {
        if open {
            self.check_pool()?;
        }
        self.getattr(caller, ino).await
    }

    /// Changes attributes; `handle` when through an open file.
    ///
    /// # Errors
    /// The namespace's; EROFS.
    pub async fn setattr(
        self: Arc<Self>,
        caller: Credentials,
        ino: InodeId,
        change: SetAttr,
        handle: Option<HandleId>,
    ) -> Result<Entry, Error> {
        self.writable()?;
        let by_handle = match handle {
            Some(handle) => self.file(handle)?.mode.write,
            None => false,
        };
        let (resizes, wanted) = (change.size.is_some(), change.clone());
        let request = Request::SetAttr {
            ino,
            change,
            by_handle,
        };
        let held = self.files.hold(ino);
        // What was written before must not undo this change when it is committed later: its size, its
        // time, its clearing of set-id bits.
        self.files.commit(&held, self.by(), false).await?;
        if !resizes {
            let context = self.context(caller.clone());
            let attr = match self.change(context, ino, request).await {
                Err(Error::Meta(MetaError::Stale)) => self.change_removed(&caller, ino, &wanted)?,
                changed => changed?,
            };
            self.directories.saw(&attr);
            return Ok(self.settled(attr));
        }
        let mut text = held.text.begin(true, false);
        self.check_cut(&mut text, &held).await?;
        let alone = held.data.write().await;
        self.files.commit(&held, self.by(), false).await?;
        match wanted.size {
            // It goes with the bytes.
            Some(0) => held.has_room(0),
            _ => self.files.give_room_back(&held, self.by()).await,
        }
        // Should this be given up on the way, nobody knows the size.
        held.mark_stale();
        let attr = self.files.call_for_attr(self.context(caller), request).await?;
        drop(alone);
        self.files.tell_others(ino, &[self.id]);
        Ok(self.settled(attr))
    }

    /// Changes attributes but the size. Who changes nothing prepares a write, and needs no right to that where the service counts the file as
    /// open for writing: so what is only kept goes first.
    async fn change(&self, context: CallContext, ino: InodeId, request: Request) -> Result<Attr, Error> {
        let prepares = matches!(&request, Request::SetAttr { change, .. } if *change == SetAttr::default());
        let kept = prepares.then_some(ino);
        let closings = self.opens.close_unused(&self.client, kept.into_iter()).await;
        let mut outgoing = closings.with(OutgoingCall::new(context, request));
        let answer = self.client.ask(&mut outgoing).await;
        closings.answered(&outgoing, &answer);
        match answer?.1 {
            Reply::Attr(attr) => Ok(self.files.show(attr)),
            _ => Err(Error::Protocol),
        }
    }

    /// Space for who writes or makes files in this directory. Of a node that does not count names every free block is a name.
    ///
    /// # Errors
    /// The link's.
    pub async fn statfs(self: Arc<Self>, ino: InodeId) -> Result<Room, Error> {
        let session = self.client.session_now();
        let counts = session.is_some_and(|session| session.spoken().covers(WireVersion::SIXTH));
        let request = match counts {
            true => Request::StatFsAt { ino },
            false => Request::StatFs,
        };
        match self.client.call(self.itself(), request).await? {
            Reply::Room(room) => Ok(room),
            Reply::Space(space) => {
                let names_free = space.free / GRANULE;
                let names = space.inodes.saturating_add(names_free);
                Ok(Room {
                    space,
                    names,
                    names_free,
                })
            }
            _ => Err(Error::Protocol),
        }
    }
}
