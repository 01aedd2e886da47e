//! Writing bytes.

use super::again::{Again, Question};
use super::inode::{Inode, Takes, Transfer, Written};
use super::layout::resolve;
use super::mount::Mount;
use super::open::OpenFile;
use super::page_order::Turn;
use super::pieces::{MAX_SIZE, Place};
use super::session::{Connection, Session};
use super::types::{HandleId, WriteMode};
use crate::errno::Error;
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::error::MetaError;
use rdmafs_meta::time::Timestamp;
use rdmafs_meta::wire::{Reply, Request};
use rdmafs_rdma::buffer::{Buffer, BufferPool};
use rdmafs_rdma::link::Keep;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// How long a write waits for freed space to be cleaned.
const CLEANING: Duration = Duration::from_secs(30);
/// Waits between attempts: from, to.
const CLEANING_STEPS: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));

/// A write as the mount was asked for it.
pub(super) struct Wanted {
    pub(super) offset: u64,
    end: u64,
    clear_set_id: bool,
    /// The place is one that was reserved.
    reserved: Option<Reserved>,
}

/// Until when a place is this write's alone.
#[derive(Clone, Copy)]
struct Reserved {
    /// As long as the session lasts that began over this connection.
    origin: Connection,
    /// As long as the file is not cut.
    shrinks: u64,
}

/// What came of a write at an offset.
pub(super) enum Put {
    /// So many bytes were written; this must go now.
    Written(usize, Takes),
    /// The reserved place was cut off before these bytes were written.
    CutOff(Buffer),
}

impl Wanted {
    pub(super) fn range(&self) -> Range<u64> {
        self.offset..self.end
    }

    /// A part of it.
    pub(super) fn part(&self, range: Range<u64>) -> Self {
        Self {
            offset: range.start,
            end: range.end,
            ..*self
        }
    }
}

/// # Errors
/// EFBIG.
fn end_of(offset: u64, len: u64) -> Result<u64, MetaError> {
    let end = offset.checked_add(len).filter(|end| *end <= MAX_SIZE);
    end.ok_or(MetaError::TooBig)
}

impl Mount {
    /// A buffer to put a write's bytes in, at once when one is free (`None`: use [`Mount::wait_buffer`], or `len` is 0 or
    /// above 1 MiB).
    #[must_use]
    pub fn try_buffer(&self, len: usize) -> Option<Buffer> {
        let fits = (1..=BufferPool::LARGE).contains(&len);
        fits.then(|| self.pool.buffers.try_get(len)).flatten()
    }

    /// The same, parked until one is free.
    ///
    /// # Errors
    /// EINVAL when `len` is 0 or above 1 MiB.
    pub async fn wait_buffer(self: Arc<Self>, len: usize) -> Result<Buffer, Error> {
        if !(1..=BufferPool::LARGE).contains(&len) {
            return Err(MetaError::Invalid.into());
        }
        Ok(self.pool.buffers.get(len).await)
    }

    /// The same as [`Mount::write_as`], appending as the file was opened.
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
    /// EBADF, EFBIG, ENOSPC; EIO when the bytes' place is lost or the node does not answer.
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
        let len = u64::try_from(data.len()).unwrap_or(u64::MAX);
        let mut wanted = Wanted {
            offset,
            end: end_of(offset, len)?,
            clear_set_id: writer.is_some(),
            reserved: None,
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
            self.pool.commit_as(file.inode(), self.by(), who).await?;
        }
        if takes == Takes::SetId {
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

    /// Reserves as many bytes at the end of the file, wherever the kernel thinks that is.
    async fn reserve(&self, file: &OpenFile, wanted: &mut Wanted) -> Result<(), Error> {
        let len = u32::try_from(wanted.end - wanted.offset).map_err(|_| MetaError::Invalid)?;
        let inode = file.inode();
        if inode.outgrew_service() {
            // Bytes written at an offset and not committed yet count as the end of the file, too.
            self.pool.commit(inode, self.by(), false).await?;
        }
        let mut waits = Waits::new(self);
        loop {
            let shared = inode.data.read().await;
            let generation = inode.generation();
            let request = Request::Append { ino: inode.ino, len };
            match self.pool.ask(&mut Question::new(self.itself(), request)).await {
                Ok((
                    session,
                    Reply::Appended {
                        offset: place,
                        attr,
                        layout,
                    },
                )) => {
                    let (origin, shrinks) = (session.origin, attr.shrinks);
                    inode.show(attr);
                    inode.learn(&session, generation, &layout, true)?;
                    if place != wanted.offset {
                        self.pool
                            .mounts()
                            .iter()
                            .for_each(|mount| mount.attributes_changed(inode.ino, None));
                    }
                    wanted.offset = place;
                    wanted.end = end_of(place, len.into())?;
                    wanted.reserved = Some(Reserved { origin, shrinks });
                    return Ok(());
                }
                Ok(_) => return Err(Error::Protocol),
                Err(error) => {
                    drop(shared);
                    waits.wait_or(error).await?;
                }
            }
        }
    }

    /// Writes at an offset.
    pub(super) async fn put(&self, file: &OpenFile, wanted: &Wanted, mut data: Buffer) -> Result<Put, Error> {
        let inode = file.inode();
        let mut waits = Waits::new(self);
        let again = Again::new(&self.pool, self.timeout());
        loop {
            let shared = inode.data.read().await;
            let session = self.pool.session(self.timeout()).await?;
            file.check_locks()?;
            let (reserved, origin) = (wanted.reserved, session.origin);
            if reserved.is_some_and(|reserved| reserved.origin != origin) {
                return Err(Error::Down(self.pool.connect.label()));
            }
            match resolve(inode, &session, (wanted.offset, wanted.end), true).await {
                Ok(transfer) if reserved.is_some_and(|reserved| reserved.shrinks != transfer.shrinks) => {
                    return Ok(Put::CutOff(data));
                }
                Ok(transfer) => {
                    let shrinks = transfer.shrinks;
                    let spare = data.spare();
                    let (done, failure) = self.send(&session, inode.ino.0, transfer, data).await;
                    if let Some(error) = &failure
                        && again.after(&session, error).await
                        && let Some(whole) = spare.reclaim()
                    {
                        data = whole;
                        continue;
                    }
                    let takes = match done {
                        0 => Takes::Nothing,
                        _ => inode.wrote(session.origin, self.written(inode, wanted, (done, shrinks))),
                    };
                    drop(shared);
                    if takes == Takes::Nothing && done > 0 {
                        self.pool.commit_later(inode);
                    }
                    return match failure {
                        Some(error) if done == 0 => Err(error),
                        _ => Ok(Put::Written(done, takes)),
                    };
                }
                Err(error) => {
                    // A truncate that would free space must not wait for this write.
                    drop(shared);
                    if !again.after(&session, &error).await {
                        waits.wait_or(error).await?;
                    }
                }
            }
        }
    }

    fn written(&self, inode: &Inode, wanted: &Wanted, (done, shrinks): (usize, u64)) -> Written {
        let before = inode.attr().map_or(Timestamp::default(), |attr| attr.ctime);
        Written {
            size: wanted.offset.saturating_add(u64::try_from(done).unwrap_or(0)),
            shrinks,
            mtime: self.pool.node_clock.stamp(before, self.pool.clock.now()),
            clear_set_id: wanted.clear_set_id,
            mounts: vec![self.id],
            last: 0,
        }
    }

    /// Sends all segments, in flight together. Gives the length of the prefix that arrived, and why no more did.
    async fn send(
        &self,
        session: &Session,
        queue_key: u64,
        transfer: Transfer,
        mut data: Buffer,
    ) -> (usize, Option<Error>) {
        let flow = self.flow(session);
        let keep: Keep = transfer.epoch.clone();
        let mut started = Vec::with_capacity(transfer.segments.len());
        let mut failure = None;
        let mut segments = transfer.segments.iter().peekable();
        while let Some(segment) = segments.next() {
            let rest = segments.peek().map(|_| data.split_off(segment.len));
            let Place::At { remote, .. } = segment.place else {
                failure = Some(MetaError::Lost.into());
                break;
            };
            let write = session
                .link
                .write(&flow, queue_key, remote, data, Some(keep.clone()));
            started.push((segment.len, write));
            match rest {
                Some(rest) => data = rest,
                None => break,
            }
        }
        let mut prefix = 0;
        let mut whole = true;
        for (len, write) in started {
            match write.await {
                Ok(_) if whole => prefix += len,
                Ok(_) => {}
                Err(error) => {
                    if whole {
                        failure = Some(error.into());
                    }
                    whole = false;
                }
            }
        }
        (prefix, failure)
    }
}

/// Waiting for freed space: it is still being recalled and zeroed.
pub(super) struct Waits<'a> {
    mount: &'a Mount,
    next: Duration,
    left: Duration,
}

impl<'a> Waits<'a> {
    pub(super) fn new(mount: &'a Mount) -> Self {
        Self {
            mount,
            next: CLEANING_STEPS.0,
            left: CLEANING,
        }
    }

    /// Waits when `error` says that trying again may help.
    pub(super) async fn wait_or(&mut self, error: Error) -> Result<(), Error> {
        if error != Error::Meta(MetaError::Cleaning) {
            return Err(error);
        }
        if self.left.is_zero() {
            return Err(MetaError::NoSpace.into());
        }
        self.mount.executor().sleep(self.next).await;
        self.left = self.left.saturating_sub(self.next);
        self.next = (self.next * 2).min(CLEANING_STEPS.1);
        Ok(())
    }
}
