//! Copying bytes at the node, from one open file to another one or to another place in it.

use super::cleaning::CleaningWait;
use super::open_file::OpenFile;
use super::space::Changing;
use super::state::Mount;
use super::types::FilePlace;
use crate::errno::Error;
use crate::handler::client::OutgoingCall;
use crate::handler::file::{Inode, MAX_SIZE};
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::error::MetaError;
use rdmafs_meta::extent::GRANULE;
use rdmafs_meta::wire::{Reply, Request};
use std::sync::Arc;
use tokio::sync::{RwLockReadGuard, RwLockWriteGuard};

/// Most bytes of one `copy_file_range(2)`: programs go on from where it stopped.
const MOST: u64 = 256 << 20;

/// A part of a copy.
#[derive(Clone, Copy)]
struct Part {
    from: u64,
    to: u64,
    len: u64,
}

impl Mount {
    /// Copies up to `len` bytes. Gives how many: fewer at the end of the source, when a later part failed, and when many were asked for.
    ///
    /// # Errors
    /// EBADF, EINVAL when the ranges overlap, EFBIG, ENOSPC; EIO when bytes are lost or the node does not answer.
    pub async fn copy(
        self: Arc<Self>,
        caller: Credentials,
        from: FilePlace,
        to: FilePlace,
        len: u64,
    ) -> Result<usize, Error> {
        let (source, target) = (self.file(from.handle)?, self.file(to.handle)?);
        if !source.mode.read || !target.mode.write || target.mode.append {
            return Err(Error::BadHandle);
        }
        self.writable()?;
        let same = source.inode().ino == target.inode().ino;
        if same && from.offset.abs_diff(to.offset) < len {
            return Err(MetaError::Invalid.into());
        }
        let len = len.min(MOST);
        let end = to.offset.max(from.offset).checked_add(len);
        end.filter(|end| *end <= MAX_SIZE).ok_or(MetaError::TooBig)?;
        if self.copies_part_of_a_mapped_page((&source, &target), (from.offset, to.offset, len)) {
            // The kernel throws away what programs store to the rest of the page meanwhile. Refused, it reads and writes instead.
            return Err(self.refuses_copy(target.inode().ino).await);
        }
        let clears = self.files.may_clear_set_id(&caller, target.inode());
        let turn = target
            .inode()
            .pages
            .change(self.id, to.offset..to.offset + len)
            .await;
        let (mut done, mut failure) = (0, None);
        while done < len && failure.is_none() {
            let part = Part {
                from: from.offset + done,
                to: to.offset + done,
                len: len - done,
            };
            match self.copy_part(&caller, (&source, &target), part).await {
                Ok(0) => break,
                Ok(copied) => done += copied,
                Err(error) => failure = Some(error),
            }
        }
        self.drop_old_pages(target.inode(), turn, done).await?;
        if done > 0 && clears {
            self.kernel_forgets(target.inode().ino).await;
        }
        match failure {
            Some(error) if done == 0 => Err(error),
            _ => usize::try_from(done).map_err(|_| Error::Protocol),
        }
    }

    /// Whether a program may store to a page of which only a part is copied. What lies past the end of the file is nobody's.
    fn copies_part_of_a_mapped_page(
        &self,
        (source, target): (&OpenFile, &OpenFile),
        (from, to, len): (u64, u64, u64),
    ) -> bool {
        let (source, target) = (source.inode(), target.inode());
        if !target.pages.has_pages(self.id) || !self.may_be_mapped(target.ino) {
            return false;
        }
        let most = |size: u64| size.saturating_sub(from).min(len);
        let end = source.size().map(|size| to + most(size));
        let ends_whole = end
            .is_some_and(|end| end.is_multiple_of(GRANULE) || target.size().is_some_and(|size| size <= end));
        !(to.is_multiple_of(GRANULE) && ends_whole)
    }

    /// Copies as much as one call does, once there is space for it.
    async fn copy_part(
        &self,
        caller: &Credentials,
        files: (&Arc<OpenFile>, &Arc<OpenFile>),
        part: Part,
    ) -> Result<u64, Error> {
        let mut waits = CleaningWait::new(self);
        let request = Request::Copy {
            from: files.0.inode().ino,
            from_offset: part.from,
            to: files.1.inode().ino,
            to_offset: part.to,
            len: part.len,
        };
        loop {
            match self.copy_once(caller, files, request.clone()).await {
                Ok(copied) if copied <= part.len => return Ok(copied),
                Ok(_) => return Err(Error::Protocol),
                Err(error) => waits.wait_or(error).await?,
            }
        }
    }

    /// The target is this call's alone, so that nothing that is known of it outlasts the change; the source only must not be cut meanwhile
    /// through this handler. For how long the bytes themselves are safe the node knows.
    async fn copy_once(
        &self,
        caller: &Credentials,
        files: (&Arc<OpenFile>, &Arc<OpenFile>),
        request: Request,
    ) -> Result<u64, Error> {
        let (source, target) = (files.0.inode(), files.1.inode());
        let _locks = both(source, target).await;
        self.files.commit(source, self.by(), false).await?;
        self.files.commit(target, self.by(), false).await?;
        self.files.give_room_back(target, self.by()).await;
        let (from, to) = (files.0.clone(), files.1.clone());
        let mut outgoing = OutgoingCall::new(self.context(caller.clone()), request)
            .if_allowed(move || from.check_locks().and_then(|()| to.check_locks()));
        let changing = Changing::new(self, target);
        let asked = self.client.ask(&mut outgoing).await;
        drop(changing);
        match asked?.1 {
            Reply::Copied { len, attr } => {
                target.show(attr);
                Ok(len)
            }
            _ => Err(Error::Protocol),
        }
    }
}

/// Both files' locks, in the order of their ids: two copies in opposite directions never wait for each other.
async fn both<'a>(
    source: &'a Inode,
    target: &'a Inode,
) -> (Option<RwLockReadGuard<'a, ()>>, RwLockWriteGuard<'a, ()>) {
    if source.ino == target.ino {
        (None, target.data.write().await)
    } else if source.ino < target.ino {
        let shared = source.data.read().await;
        (Some(shared), target.data.write().await)
    } else {
        let alone = target.data.write().await;
        (Some(source.data.read().await), alone)
    }
}
