//! Writing bytes.

use super::open_file::OpenFile;
use super::put::{Put, Wanted, end_of};
use super::state::Mount;
use super::types::{HandleId, WriteMode};
use crate::errno::Error;
use crate::handler::file::{Takes, Turn};
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::error::MetaError;
use rdmafs_rdma::buffer::{Buffer, BufferPool};
use std::sync::Arc;

impl Mount {
    /// A buffer to put a write's bytes in, at once when one is free (`None`: use [`Mount::wait_buffer`], or `len` is 0 or
    /// above 1 MiB).
    #[must_use]
    pub fn try_buffer(&self, len: usize) -> Option<Buffer> {
        let fits = (1..=BufferPool::LARGE).contains(&len);
        fits.then(|| self.buffers.try_get(len)).flatten()
    }

    /// A buffer for bytes, parked until the mount may have one. Who waits here holds no turn and no lock: whoever has a buffer may wait for those.
    ///
    /// # Errors
    /// EINVAL when `len` is 0 or above 1 MiB.
    pub async fn wait_buffer(self: Arc<Self>, len: usize) -> Result<Buffer, Error> {
        if !(1..=BufferPool::LARGE).contains(&len) {
            return Err(MetaError::Invalid.into());
        }
        match self.buffers.try_get(len) {
            Some(buffer) => Ok(buffer),
            None => Ok(self.buffers.get(len).await),
        }
    }

    /// Writes at `offset`, or at the end where the file was opened with O_APPEND: [`Mount::write_as`] with the mode of the open.
    ///
    /// # Errors
    /// As there.
    pub async fn write(
        self: Arc<Self>,
        handle: HandleId,
        offset: u64,
        data: Buffer,
        clear_set_id: bool,
    ) -> Result<usize, Error> {
        let mode = WriteMode {
            append: self.file(handle)?.mode.append,
            ..WriteMode::default()
        };
        let writer = clear_set_id.then(Credentials::root);
        self.write_as(handle, offset, data, mode, writer).await
    }

    /// Writes the buffer; `writer` when he has no CAP_FSETID. Gives the number of bytes written: a prefix when a later part failed.
    ///
    /// # Errors
    /// EBADF, EPERM, EFBIG, ENOSPC; EIO when the bytes' place is lost or the node does not answer.
    pub async fn write_as(
        self: Arc<Self>,
        handle: HandleId,
        offset: u64,
        data: Buffer,
        mode: WriteMode,
        writer: Option<Credentials>,
    ) -> Result<usize, Error> {
        let file = self.file(handle)?;
        if !file.mode.write {
            return Err(Error::BadHandle);
        }
        file.check_locks()?;
        self.check_appends(&file, mode)?;
        let len = u64::try_from(data.len()).unwrap_or(u64::MAX);
        let mut wanted = Wanted {
            offset,
            end: end_of(offset, len)?,
            clear_set_id: writer.is_some(),
            reserved: None,
        };
        let took_set_id = match &writer {
            Some(writer) => self.files.take_set_id(file.inode(), self.by(), writer).await?,
            None => false,
        };
        let mut dropped = Ok(());
        let (written, takes) = if mode.write_back {
            self.write_pages(&file, &wanted, data).await?
        } else {
            let (turn, written, takes) = self.write_bytes(&file, &mut wanted, mode, data).await?;
            if let Some(turn) = turn {
                let len = u64::try_from(written).unwrap_or(u64::MAX);
                dropped = self.drop_old_pages(file.inode(), turn, len).await;
            }
            (written, takes)
        };
        if takes != Takes::Nothing {
            // Whose group it is decides about set-group-id.
            let who = writer.unwrap_or_else(Credentials::root);
            self.files.commit_as(file.inode(), self.by(), who).await?;
        }
        if took_set_id || takes == Takes::SetId {
            // It knows that a write changes size and times, and would show the old mode for a second.
            self.kernel_forgets(file.inode().ino).await;
        }
        if wanted.offset != offset && !file.direct {
            // O_APPEND came by fcntl(2): its pages have the bytes where the kernel took the end to be.
            self.drop_pages(file.inode().ino);
        }
        if mode.sync && file.direct {
            file.settle(self.by(), true).await?;
        }
        dropped.map(|()| written)
    }

    /// Writes what a program gives. A reserved place that was cut off is reserved anew. Gives the place among the requests for pages, too, where
    /// the bytes pass the kernel's cache by.
    async fn write_bytes(
        &self,
        file: &OpenFile,
        wanted: &mut Wanted,
        mode: WriteMode,
        mut data: Buffer,
    ) -> Result<(Option<Turn>, usize, Takes), Error> {
        let inode = file.inode();
        loop {
            if mode.append {
                self.reserve(file, wanted).await?;
            }
            // Where the bytes go through the kernel's cache, it holds the locks of their pages meanwhile.
            let turn = match file.direct {
                true => Some(inode.pages.change(self.id, wanted.range()).await),
                false => None,
            };
            match self.put(file, wanted, data).await? {
                Put::Written(written, takes) => return Ok((turn, written, takes)),
                Put::CutOff(back) => data = back,
            }
        }
    }
}
