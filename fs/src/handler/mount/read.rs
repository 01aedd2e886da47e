//! Reading bytes: always to the end of the range or of the file.

use super::open_file::OpenFile;
use super::state::Mount;
use super::types::{HandleId, ReadData};
use crate::errno::Error;
use crate::handler::client::{ClientSession, Retry};
use crate::handler::file::{ExtentLocation, fetch, resolve};
use rdmafs_meta::error::MetaError;
use rdmafs_rdma::buffer::{Buffer, BufferPool, Spare};
use std::sync::Arc;

impl Mount {
    /// Reads; always to the end of the range or of the file.
    ///
    /// # Errors
    /// EBADF; EIO when bytes are lost or the node does not answer; EINVAL above 1 MiB.
    pub async fn read(self: Arc<Self>, handle: HandleId, offset: u64, len: usize) -> Result<ReadData, Error> {
        self.read_as(handle, offset, len, false).await
    }

    /// Reads up to `len` bytes at `offset`, for the kernel's cache when `cached`.
    ///
    /// # Errors
    /// As there.
    pub async fn read_as(
        self: Arc<Self>,
        handle: HandleId,
        offset: u64,
        len: usize,
        cached: bool,
    ) -> Result<ReadData, Error> {
        let file = self.file(handle)?;
        if !file.mode.read && !file.mode.execute {
            return Err(Error::BadHandle);
        }
        if len > BufferPool::LARGE {
            return Err(MetaError::Invalid.into());
        }
        let end = offset.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
        let mut room = likely_len(&file, offset, len);
        loop {
            // Who cuts the file may wait for a transfer of a slow mount: so long nobody keeps a buffer of this one.
            if file.inode().data.try_read().is_err() {
                drop(file.inode().data.read().await);
            }
            // First of all: whoever has a buffer may wait for this read's place among the requests, or for the inode.
            let buffer = match room {
                0 => None,
                room => Some(self.clone().wait_buffer(room).await?),
            };
            let _turn = match cached {
                true => Some(file.inode().pages.fill(self.id, offset..end).await),
                false => None,
            };
            match self.read_into(&file, (offset, len), buffer).await? {
                Some(data) => return Ok(data),
                None => room = len,
            }
        }
    }

    /// Reads with this buffer; `None` when there is more to read than it takes.
    async fn read_into(
        &self,
        file: &OpenFile,
        range: (u64, usize),
        mut buffer: Option<Buffer>,
    ) -> Result<Option<ReadData>, Error> {
        let _shared = file.inode().data.read().await;
        let anew = Retry::new(&self.client, self.timeout());
        loop {
            let session = self.client.session(self.timeout()).await?;
            file.check_locks()?;
            let (had, spare) = (buffer.is_some(), buffer.as_ref().map(Buffer::spare));
            let error = match self.read_over(&session, file, range, buffer).await {
                Err(error) => error,
                done => return done,
            };
            buffer = spare.and_then(Spare::reclaim);
            if had && buffer.is_none() || !anew.after(&session, &error).await {
                return Err(error);
            }
        }
    }

    /// Reads over one connection. Where the file ends belongs to it: a node that came back may have lost bytes, and the file its end,
    /// and what lies past that must not seem to be a hole.
    async fn read_over(
        &self,
        session: &ClientSession,
        file: &OpenFile,
        (offset, len): (u64, usize),
        buffer: Option<Buffer>,
    ) -> Result<Option<ReadData>, Error> {
        let end = self.read_end(file, offset, len).await?;
        if end <= offset {
            return Ok(Some(ReadData::End));
        }
        let transfer = resolve(file.inode(), session, (offset, end), false, self.timeout()).await?;
        let len = transfer.len();
        if transfer
            .segments
            .iter()
            .all(|segment| segment.place == ExtentLocation::Hole)
        {
            return Ok(Some(ReadData::Zeros(len)));
        }
        let Some(mut buffer) = buffer.filter(|buffer| buffer.len() >= len) else {
            return Ok(None);
        };
        if buffer.len() > len {
            drop(buffer.split_off(len));
        }
        let flows = self.flows(session);
        let fetched = fetch(session, &flows, file.inode().ino.0, transfer, buffer).await;
        fetched.map(ReadData::Bytes).map(Some)
    }

    /// Where the read ends: the wanted end or the end of the file. A file that seems too short may have grown elsewhere.
    async fn read_end(&self, file: &OpenFile, offset: u64, len: usize) -> Result<u64, Error> {
        let wanted = offset.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
        if let Some(size) = file.inode().size()
            && (wanted <= size || (offset < size && !file.direct))
        {
            return Ok(wanted.min(size));
        }
        let attr = self.files.attributes(self.itself(), file.inode().ino).await?;
        Ok(wanted.min(attr.size))
    }
}

/// How much of a range is in the file, as far as that is known.
fn likely_len(file: &OpenFile, offset: u64, len: usize) -> usize {
    let left = file.inode().size().map(|size| size.saturating_sub(offset));
    left.map_or(len, |left| len.min(usize::try_from(left).unwrap_or(len)))
}
