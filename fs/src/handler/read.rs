//! Reading bytes: always to the end of the range or of the file.

use super::again::Again;
use super::inode::Transfer;
use super::layout::resolve;
use super::mount::Mount;
use super::open::OpenFile;
use super::pieces::{Place, Segment};
use super::session::Session;
use super::types::{HandleId, ReadData};
use crate::errno::Error;
use rdmafs_meta::error::MetaError;
use rdmafs_meta::wire::Request;
use rdmafs_rdma::buffer::{Buffer, BufferPool};
use rdmafs_rdma::link::Keep;
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
        let again = Again::new(&self.pool, self.timeout());
        loop {
            let session = self.pool.session(self.timeout()).await?;
            file.check_locks()?;
            match self.read_over(&session, &file, (offset, len)).await {
                Err(error) if again.after(&session, &error).await => {}
                done => return done,
            }
        }
    }

    /// Reads over one connection. Where the file ends belongs to it: a node that came back may have lost bytes, and the file its end,
    /// and what lies past that must not seem to be a hole.
    async fn read_over(
        &self,
        session: &Session,
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
        session: &Session,
        file: &OpenFile,
        (offset, end): (u64, u64),
    ) -> Result<ReadData, Error> {
        let mut buffer = None;
        loop {
            let transfer = resolve(file.inode(), session, (offset, end), false).await?;
            if transfer
                .segments
                .iter()
                .all(|segment| segment.place == Place::Hole)
            {
                return Ok(ReadData::Zeros(transfer.len()));
            }
            match buffer
                .take()
                .or_else(|| self.pool.buffers.try_get(transfer.len()))
            {
                Some(buffer) => return self.fetch(session, file.inode().ino.0, transfer, buffer).await,
                // The epoch is given up while this waits: a recall must not wait for memory.
                None => {
                    let len = transfer.len();
                    drop(transfer);
                    buffer = Some(self.pool.buffers.get(len).await);
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
        let ino = file.inode().ino;
        let attr = self
            .pool
            .call_for_attr(self.itself(), Request::GetAttr { ino })
            .await?;
        Ok(wanted.min(attr.size))
    }

    /// Brings all segments, in flight together, into one buffer.
    async fn fetch(
        &self,
        session: &Session,
        queue_key: u64,
        transfer: Transfer,
        mut buffer: Buffer,
    ) -> Result<ReadData, Error> {
        let flow = self.flow(session);
        let keep: Keep = transfer.epoch.clone();
        let mut started = Vec::with_capacity(transfer.segments.len());
        let mut segments = transfer.segments.iter().peekable();
        while let Some(Segment { len, place }) = segments.next() {
            let rest = segments.peek().map(|_| buffer.split_off(*len));
            let part = match *place {
                Place::Hole => {
                    buffer.fill(0);
                    Part::There(buffer)
                }
                Place::At { remote, .. } => {
                    let read = session
                        .link
                        .read(&flow, queue_key, remote, buffer, Some(keep.clone()));
                    Part::Coming(read)
                }
                // What is under way already ends on its own.
                Place::Lost => return Err(MetaError::Lost.into()),
            };
            started.push(part);
            match rest {
                Some(rest) => buffer = rest,
                None => break,
            }
        }
        drop((keep, transfer));
        join(started).await.map(ReadData::Bytes)
    }
}

/// A part of the buffer that is filled, or being filled.
enum Part<F> {
    There(Buffer),
    Coming(F),
}

/// Waits for all parts, even when one fails, and puts the buffer together again.
async fn join<F, E>(parts: Vec<Part<F>>) -> Result<Buffer, Error>
where
    F: Future<Output = Result<Buffer, E>>,
    Error: From<E>,
{
    let mut whole: Result<Option<Buffer>, Error> = Ok(None);
    for part in parts {
        let next = match part {
            Part::There(buffer) => Ok(buffer),
            Part::Coming(read) => read.await.map_err(Error::from),
        };
        whole = match (whole, next) {
            (Err(error), _) | (Ok(_), Err(error)) => Err(error),
            (Ok(None), Ok(next)) => Ok(Some(next)),
            (Ok(Some(mut whole)), Ok(next)) => match whole.rejoin(next) {
                Ok(()) => Ok(Some(whole)),
                Err(_) => Err(Error::Internal("parts of a read do not fit together")),
            },
        };
    }
    whole?.ok_or(Error::Internal("a read without parts"))
}
