//! Reading bytes: always to the end of the range or of the file.

use super::open_file::OpenFile;
use super::state::Mount;
use super::types::{HandleId, ReadData};
use crate::errno::Error;
use crate::handler::client::{ClientSession, Retry};
use crate::handler::file::{ExtentLocation, fetch, resolve};
use rdmafs_meta::error::MetaError;
use rdmafs_rdma::buffer::BufferPool;
use std::sync::Arc;

impl Mount {
    /// Reads; always to the end of the range or of the file.
    ///
    /// # Errors
    /// EBADF; EIO when bytes are lost or the node does not answer; EINVAL above 1 MiB.
    pub async fn read(self: Arc<Self>, handle: HandleId, offset: u64, len: usize) -> Result<ReadData, Error> {
        let file = self.file(handle)?;
        if !file.mode.read && !file.mode.execute {
            return Err(Error::BadHandle);
        }
        if len > BufferPool::LARGE {
            return Err(MetaError::Invalid.into());
        }
        let _shared = file.inode().data.read().await;
        let anew = Retry::new(&self.client, self.timeout());
        loop {
            let session = self.client.session(self.timeout()).await?;
            file.check_locks()?;
            match self.read_over(&session, &file, (offset, len)).await {
                Err(error) if anew.after(&session, &error).await => {}
                done => return done,
            }
        }
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
        if !cached {
            return self.read(handle, offset, len).await;
        }
        let file = self.file(handle)?;
        let end = offset.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
        let _turn = file.inode().pages.fill(self.id, offset..end).await;
        self.clone().read(handle, offset, len).await
    }

    /// Reads over one connection. Where the file ends belongs to it: a node that came back may have lost bytes, and the file its end,
    /// and what lies past that must not seem to be a hole.
    async fn read_over(
        &self,
        session: &ClientSession,
        file: &OpenFile,
        (offset, len): (u64, usize),
    ) -> Result<ReadData, Error> {
        let end = self.read_end(file, offset, len).await?;
        if end <= offset {
            return Ok(ReadData::End);
        }
        self.read_in(session, file, (offset, end)).await
    }

    /// Reads a range that ends within the file.
    async fn read_in(
        &self,
        session: &ClientSession,
        file: &OpenFile,
        (offset, end): (u64, u64),
    ) -> Result<ReadData, Error> {
        let mut buffer = None;
        loop {
            let transfer = resolve(file.inode(), session, (offset, end), false, self.timeout()).await?;
            if transfer
                .segments
                .iter()
                .all(|segment| segment.place == ExtentLocation::Hole)
            {
                return Ok(ReadData::Zeros(transfer.len()));
            }
            match buffer
                .take()
                .or_else(|| self.client.buffers.try_get(transfer.len()))
            {
                Some(buffer) => {
                    let flows = self.flows(session);
                    let fetched = fetch(session, &flows, file.inode().ino.0, transfer, buffer).await;
                    return fetched.map(ReadData::Bytes);
                }
                // The epoch is given up while this waits: a recall must not wait for memory.
                None => {
                    let len = transfer.len();
                    drop(transfer);
                    buffer = Some(self.client.buffers.get(len).await);
                }
            }
        }
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
