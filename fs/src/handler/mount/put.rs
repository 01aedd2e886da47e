//! Writing bytes at an offset, or at the place that is reserved for them at the end of a file.

use super::cleaning::CleaningWait;
use super::open_file::OpenFile;
use super::state::Mount;
use crate::errno::Error;
use crate::handler::client::{OutgoingCall, Retry};
use crate::handler::file::{Inode, MAX_SIZE, Takes, Written, resolve, send};
use crate::handler::values::Connection;
use rdmafs_meta::error::MetaError;
use rdmafs_meta::time::Timestamp;
use rdmafs_meta::wire::{Reply, Request};
use rdmafs_rdma::buffer::Buffer;
use std::ops::Range;

/// A write as the mount was asked for it.
pub(in crate::handler) struct Wanted {
    pub(in crate::handler) offset: u64,
    pub(super) end: u64,
    pub(super) clear_set_id: bool,
    /// The place is one that was reserved.
    pub(super) reserved: Option<Reserved>,
}

/// Until when a place is this write's alone.
#[derive(Clone, Copy)]
pub(super) struct Reserved {
    /// As long as the session lasts that began over this connection.
    origin: Connection,
    /// As long as the file is not cut.
    truncate_seq: u64,
}

/// What came of a write at an offset.
pub(in crate::handler) enum Put {
    /// So many bytes were written; this must go now.
    Written(usize, Takes),
    /// The reserved place was cut off before these bytes were written.
    CutOff(Buffer),
}

impl Wanted {
    pub(in crate::handler) fn range(&self) -> Range<u64> {
        self.offset..self.end
    }

    /// A part of it.
    pub(in crate::handler) fn part(&self, range: Range<u64>) -> Self {
        Self {
            offset: range.start,
            end: range.end,
            ..*self
        }
    }
}

/// # Errors
/// EFBIG.
pub(super) fn end_of(offset: u64, len: u64) -> Result<u64, MetaError> {
    let end = offset.checked_add(len).filter(|end| *end <= MAX_SIZE);
    end.ok_or(MetaError::TooBig)
}

impl Mount {
    /// Reserves as many bytes at the end of the file, wherever the kernel thinks that is.
    pub(super) async fn reserve(&self, file: &OpenFile, wanted: &mut Wanted) -> Result<(), Error> {
        let len = u32::try_from(wanted.end - wanted.offset).map_err(|_| MetaError::Invalid)?;
        let inode = file.inode();
        if inode.outgrew_service() {
            // Bytes written at an offset and not committed yet count as the end of the file, too.
            self.files.commit(inode, self.by(), false).await?;
        }
        let mut waits = CleaningWait::new(self);
        loop {
            let shared = inode.data.read().await;
            let generation = inode.generation();
            let request = Request::Append { ino: inode.ino, len };
            match self
                .client
                .ask(&mut OutgoingCall::new(self.itself(), request))
                .await
            {
                Ok((
                    session,
                    Reply::Appended {
                        offset: place,
                        attr,
                        layout,
                    },
                )) => {
                    let (origin, truncate_seq) = (session.origin, attr.truncate_seq);
                    inode.show(attr);
                    inode.learn(&session, generation, &layout, true)?;
                    if place != wanted.offset {
                        self.files.caches.invalidate_attributes(inode.ino);
                    }
                    wanted.offset = place;
                    wanted.end = end_of(place, len.into())?;
                    wanted.reserved = Some(Reserved { origin, truncate_seq });
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
    pub(in crate::handler) async fn put(
        &self,
        file: &OpenFile,
        wanted: &Wanted,
        mut data: Buffer,
    ) -> Result<Put, Error> {
        let inode = file.inode();
        let mut waits = CleaningWait::new(self);
        let anew = Retry::new(&self.client, self.timeout());
        self.files.use_room(inode, self.by(), wanted.offset).await;
        loop {
            let shared = inode.data.read().await;
            let (session, reserved) = (self.client.session(self.timeout()).await?, wanted.reserved);
            file.check_locks()?;
            if reserved.is_some_and(|reserved| reserved.origin != session.origin) {
                return Err(Error::Down(self.client.connect.label()));
            }
            match resolve(inode, &session, (wanted.offset, wanted.end), true, self.timeout()).await {
                Ok(transfer) if reserved.is_some_and(|at| at.truncate_seq != transfer.truncate_seq) => {
                    return Ok(Put::CutOff(data));
                }
                Ok(transfer) => {
                    let truncate_seq = transfer.truncate_seq;
                    let spare = data.spare();
                    let flows = self.flows(&session);
                    let (done, failure) = send(&session, &flows, inode.ino.0, transfer, data).await;
                    if let Some(error) = &failure
                        && anew.after(&session, error).await
                        && let Some(whole) = spare.reclaim()
                    {
                        data = whole;
                        continue;
                    }
                    let takes = match done {
                        0 => Takes::Nothing,
                        _ => inode.wrote(session.origin, self.written(inode, wanted, (done, truncate_seq))),
                    };
                    drop(shared);
                    if takes == Takes::Nothing && done > 0 {
                        self.files.commit_later(inode);
                    }
                    return match failure {
                        Some(error) if done == 0 => Err(error),
                        _ => Ok(Put::Written(done, takes)),
                    };
                }
                Err(error) => {
                    // A truncate that would free space must not wait for this write.
                    drop(shared);
                    if !anew.after(&session, &error).await {
                        waits.wait_or(error).await?;
                    }
                }
            }
        }
    }

    fn written(&self, inode: &Inode, wanted: &Wanted, (done, truncate_seq): (usize, u64)) -> Written {
        let before = inode.attr().map_or(Timestamp::default(), |attr| attr.ctime);
        Written {
            size: wanted.offset.saturating_add(u64::try_from(done).unwrap_or(0)),
            truncate_seq,
            mtime: self.client.node_clock.stamp(before, self.client.clock.now()),
            // Else whoever sets a bit does so after this write.
            clear_set_id: wanted.clear_set_id && self.files.may_have_set_id(inode),
            mounts: vec![self.id],
            last: 0,
        }
    }
}
