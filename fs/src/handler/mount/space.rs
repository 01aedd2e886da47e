//! `fallocate(2)` and the two seeks that know of holes.

use super::cleaning::CleaningWait;
use super::open_file::OpenFile;
use super::state::Mount;
use super::types::{HandleId, SpaceChange};
use crate::errno::Error;
use crate::handler::client::OutgoingCall;
use crate::handler::file::{Inode, MAX_SIZE};
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::error::MetaError;
use rdmafs_meta::id::InodeId;
use rdmafs_meta::wire::{Reply, Request, Sought};
use std::sync::Arc;

impl Mount {
    /// Changes the space of `[offset, offset + len)`. What was done before an error stays.
    ///
    /// # Errors
    /// EBADF, EINVAL when `len` is 0, EFBIG, ENOSPC; EIO when bytes are lost or the node does not answer.
    pub async fn fallocate(
        self: Arc<Self>,
        caller: Credentials,
        handle: HandleId,
        (offset, len): (u64, u64),
        change: SpaceChange,
    ) -> Result<(), Error> {
        let file = self.file(handle)?;
        if !file.mode.write {
            return Err(Error::BadHandle);
        }
        self.writable()?;
        let end = offset.checked_add(len).filter(|end| *end <= MAX_SIZE);
        let end = end.ok_or(MetaError::TooBig)?;
        if len == 0 {
            return Err(MetaError::Invalid.into());
        }
        let inode = file.inode();
        let clears = self.files.may_clear_set_id(&caller, inode);
        let changes_bytes = !matches!(change, SpaceChange::Allocate { .. });
        let turn = match changes_bytes {
            true => Some(inode.pages.change(self.id, offset..end).await),
            false => None,
        };
        let (at, failure) = self.change_all(&caller, &file, (offset, end), change).await;
        if let Some(turn) = turn {
            self.drop_old_pages(inode, turn, at - offset).await?;
        }
        match failure {
            Some(error) => return Err(error),
            None if clears => drop(self.kernel_forgets(inode.ino).await),
            None => {}
        }
        Ok(())
    }

    /// All steps of it: how far they went, and why no further.
    async fn change_all(
        &self,
        caller: &Credentials,
        file: &Arc<OpenFile>,
        (mut at, end): (u64, u64),
        change: SpaceChange,
    ) -> (u64, Option<Error>) {
        let mut waits = CleaningWait::new(self);
        while at < end {
            let request = request(file.inode().ino, (at, end), change);
            let failure = match self.change_space(caller, file, request).await {
                Ok(done) if done > at => {
                    at = done;
                    continue;
                }
                Ok(_) => Some(Error::Protocol),
                Err(error) => waits.wait_or(error).await.err(),
            };
            if failure.is_some() {
                return (at, failure);
            }
        }
        (at.min(end), None)
    }

    /// One step of it; says how far it went.
    async fn change_space(
        &self,
        caller: &Credentials,
        file: &Arc<OpenFile>,
        request: Request,
    ) -> Result<u64, Error> {
        let inode = file.inode();
        let _alone = inode.data.write().await;
        // What was written before must not undo this change when it is committed later.
        self.files.commit(inode, self.by(), false).await?;
        self.files.give_room_back(inode, self.by()).await;
        let mut outgoing = file.under_locks(OutgoingCall::new(self.context(caller.clone()), request));
        let changing = Changing::new(self, inode);
        let asked = self.client.ask(&mut outgoing).await;
        drop(changing);
        match asked?.1 {
            Reply::Spaced { end, attr } => {
                inode.show(attr);
                Ok(end)
            }
            _ => Err(Error::Protocol),
        }
    }

    /// The next hole from `offset` on, or the next byte that is in none.
    ///
    /// # Errors
    /// EBADF; ENXIO when there is none before the end of the file; EIO when the node does not answer.
    pub async fn seek(self: Arc<Self>, handle: HandleId, offset: u64, hole: bool) -> Result<u64, Error> {
        let file = self.file(handle)?;
        let inode = file.inode();
        let found = self.seek_at_node(inode, offset, hole).await?;
        let within_data = found == Some(offset) && !hole;
        if within_data || !self.may_be_mapped(inode.ino) {
            return found.ok_or(Error::NoSuchPlace);
        }
        // A program may have stored something into a hole through a mapping, of which only the kernel knows so far.
        self.kernel_writes_back(inode.ino).await;
        let found = self.seek_at_node(inode, offset, hole).await?;
        found.ok_or(Error::NoSuchPlace)
    }

    async fn seek_at_node(&self, inode: &Inode, offset: u64, hole: bool) -> Result<Option<u64>, Error> {
        let mut offset = offset;
        loop {
            self.files.commit(inode, self.by(), false).await?;
            let ino = inode.ino;
            let request = Request::Seek { ino, offset, hole };
            match self.client.call(self.itself(), request).await? {
                Reply::Sought(Sought::At(found)) => return Ok(Some(found)),
                Reply::Sought(Sought::Nowhere) => return Ok(None),
                Reply::Sought(Sought::From(next)) if next > offset => offset = next,
                _ => return Err(Error::Protocol),
            }
        }
    }

    /// A mapping that can be stored to keeps its file open for reading and writing.
    pub(in crate::handler) fn may_be_mapped(&self, ino: InodeId) -> bool {
        let files = self.handles.read();
        files
            .values()
            .any(|file| file.inode().ino == ino && file.mode.read && file.mode.write)
    }
}

fn request(ino: InodeId, (start, end): (u64, u64), change: SpaceChange) -> Request {
    let allocate = |keep_size, zero| Request::Allocate {
        ino,
        start,
        end,
        keep_size,
        zero,
    };
    match change {
        SpaceChange::Allocate { keep_size } => allocate(keep_size, false),
        SpaceChange::Zero { keep_size } => allocate(keep_size, true),
        SpaceChange::Punch => Request::Punch { ino, start, end },
    }
}

/// The node changes bytes of a file, or where they lie, on behalf of a mount. Nothing that is asked of the layout while this exists is
/// believed later, also when the caller gives up on the way: the session that causes a change is not told of it.
pub(in crate::handler) struct Changing<'a> {
    mount: &'a Mount,
    inode: &'a Inode,
}

impl<'a> Changing<'a> {
    pub(in crate::handler) fn new(mount: &'a Mount, inode: &'a Inode) -> Self {
        Self { mount, inode }
    }
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        self.inode.changed();
        // The kernel of the mount that asked does what is to be done about its own pages.
        self.mount.files.tell_others(self.inode.ino, &[self.mount.id]);
    }
}
