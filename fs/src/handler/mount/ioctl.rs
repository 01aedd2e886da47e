//! The ioctls of open files: where their bytes are, and atomic changes of a word.

use super::cleaning::CleaningWait;
use super::state::Mount;
use super::types::{HandleId, WriteMode};
use crate::errno::Error;
use crate::handler::client::OutgoingCall;
use crate::{atomic_ioctl, layout_ioctl};
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::error::MetaError;
use rdmafs_meta::wire::{AtomicOp, Reply, Request};
use std::sync::Arc;

impl Mount {
    /// An ioctl on an open file.
    ///
    /// # Errors
    /// ENOTTY for commands that are not ours, EINVAL for malformed ones, EBADF when the file is not open for them; ENXIO for a word that is
    /// not before the end of the file, ENOSPC; EIO when its bytes are lost or the node does not answer.
    pub async fn ioctl(
        self: Arc<Self>,
        caller: Credentials,
        handle: HandleId,
        command: u32,
        input: Vec<u8>,
    ) -> Result<Vec<u8>, Error> {
        match command {
            layout_ioctl::COMMAND => self.places(handle, &input).await,
            atomic_ioctl::FETCH_ADD | atomic_ioctl::COMPARE_SWAP => {
                let asked = atomic_ioctl::decode_request(command, &input);
                let (offset, op) = asked.ok_or(MetaError::Invalid)?;
                let before = self.change_atomically(&caller, handle, (offset, op)).await?;
                Ok(atomic_ioctl::answer(input, before))
            }
            _ => Err(Error::NoSuchIoctl),
        }
    }

    /// Where the bytes of a file are.
    async fn places(&self, handle: HandleId, input: &[u8]) -> Result<Vec<u8>, Error> {
        let start = layout_ioctl::decode_request(input).ok_or(MetaError::Invalid)?;
        let file = self.file(handle)?;
        let ino = file.inode().ino;
        let attr = self.files.attributes(self.itself(), ino).await?;
        if start >= attr.size {
            return Ok(layout_ioctl::answer(start, attr.size, None));
        }
        let request = Request::Layout {
            ino,
            start,
            end: attr.size,
            allocate: false,
        };
        match self.client.call(self.itself(), request).await? {
            Reply::Layout(slice) => Ok(layout_ioctl::answer(start, attr.size, Some(&slice))),
            _ => Err(Error::Protocol),
        }
    }

    /// Changes the 8 bytes from `offset` on as `op` says, at the node; gives what they were. Done once, also when the connection breaks
    /// meanwhile and comes back in time.
    async fn change_atomically(
        &self,
        caller: &Credentials,
        handle: HandleId,
        (offset, op): (u64, AtomicOp),
    ) -> Result<u64, Error> {
        let file = self.file(handle)?;
        if !file.mode.read || !file.mode.write {
            return Err(Error::BadHandle);
        }
        self.writable()?;
        self.check_appends(&file, WriteMode::default())?;
        let inode = file.inode();
        let clears = self.files.may_clear_set_id(caller, inode);
        let request = Request::Atomic {
            ino: inode.ino,
            offset,
            op,
        };
        let turn = inode
            .pages
            .change(self.id, offset..offset.saturating_add(8))
            .await;
        let mut waits = CleaningWait::new(self);
        loop {
            // The service must know of the file's end, and a later commit must not set the time of this change back.
            self.files.commit(inode, self.by(), false).await?;
            let shared = inode.data.read().await;
            let generation = inode.generation();
            let mut outgoing =
                file.under_locks(OutgoingCall::new(self.context(caller.clone()), request.clone()));
            match self.client.ask(&mut outgoing).await {
                Ok((session, Reply::Atomic { before, layout })) => {
                    inode.learn(&session, generation, &layout, true)?;
                    if inode.generation() != generation {
                        // That may have been passed over, and the word be thought to lie in a hole.
                        inode.changed();
                    }
                    drop(shared);
                    self.drop_old_pages(inode, turn, 8).await?;
                    if clears {
                        self.kernel_forgets(inode.ino).await;
                    }
                    return Ok(before);
                }
                Ok(_) => return Err(Error::Protocol),
                Err(error) => {
                    drop(shared);
                    waits.wait_or(error).await?;
                }
            }
        }
    }
}
