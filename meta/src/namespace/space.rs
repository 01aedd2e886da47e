//! Bytes of files: giving them extents, cutting them off, and the way of a freed extent back to the pool.
//!
//! A freed extent goes into quarantine at once. From there it is recalled from every session that has the file open,
//! and handed to the node for cleaning only when the last of them gave it up.

use super::output::Output;
use super::service::Namespace;
use crate::alloc::AllocError;
use crate::error::MetaError;
use crate::extent::{Extent, GRANULE, granule_ceil, granule_floor};
use crate::id::{InodeId, SessionId};
use crate::layout::{LayoutSlice, Replica, ReplicaState, Run, SEGMENT};
use crate::session::Acknowledged;
use crate::time::Now;
use crate::tree::Body;
use crate::wire::Notice;
use std::collections::BTreeSet;

/// The largest file, in bytes (`loff_t`).
pub(super) const MAX_SIZE: u64 = i64::MAX as u64;
/// Segments of orphans that one step removes.
pub(super) const REMOVAL_STEP: u64 = 32;
/// A file that grows at its end gets this much ahead at most.
const AHEAD: u64 = 8 << 20;
/// And only while the pool has this many times as much free.
pub(super) const AMPLE: u64 = 16;

impl Namespace {
    /// Gives the file a new size: time stamps, a recall if bytes are cut off, zeroes where it was cut.
    pub(super) fn resize(
        &mut self,
        ino: InodeId,
        size: u64,
        now: Now,
        out: &mut Output,
    ) -> Result<(), MetaError> {
        if size > MAX_SIZE {
            return Err(MetaError::TooBig);
        }
        let cuts = size < self.tree.get(ino)?.attr.size || self.tree.layout(ino)?.end() > size;
        let attr = &mut self.tree.get_mut(ino)?.attr;
        attr.size = size;
        attr.version.0 += 1;
        attr.truncate_seq += u64::from(cuts);
        (attr.mtime, attr.ctime) = (now.wall, now.wall);
        if cuts {
            self.cut(ino, size, out)?;
        }
        Ok(())
    }

    /// Fills holes of `[start, end)`, rounded to granules, as far as space lasts. Gives the end of what has extents now.
    pub(super) fn fill(&mut self, ino: InodeId, start: u64, end: u64) -> Result<u64, MetaError> {
        let start = granule_floor(start);
        let end = granule_ceil(end);
        for (at, stop) in self.tree.layout(ino)?.holes(start, end) {
            let len = (stop - at).min(self.alloc.free_bytes());
            if len > 0 {
                self.fill_hole(ino, at, len)?;
            }
            if at + len < stop {
                let got_some = at + len > start;
                return if got_some {
                    Ok(at + len)
                } else {
                    Err(self.shortage(stop - at))
                };
            }
        }
        Ok(end)
    }

    /// Why `len` more bytes cannot be had; meaningful only when they cannot. What is kept just in case is given up for them.
    pub(super) fn shortage(&mut self, len: u64) -> MetaError {
        let unclaimed = self.sessions.let_go_of_kept();
        let waiting = !unclaimed.is_empty() || self.alloc.quarantined_bytes() >= GRANULE.min(len);
        unclaimed.into_iter().for_each(|ino| self.unnamed(ino));
        if waiting {
            MetaError::Cleaning
        } else {
            MetaError::NoSpace
        }
    }

    /// How far ahead of a write that ends at `end` a growing file is filled, so that a stream asks seldom. Trimmed when
    /// the file is closed.
    pub(super) fn ahead(&self, ino: InodeId, start: u64, end: u64) -> Result<u64, MetaError> {
        let layout = self.tree.layout(ino)?;
        let extra = granule_floor(layout.allocated().min(AHEAD));
        let grows = granule_floor(start) == layout.end() && extra > 0;
        let ample = self.alloc.free_bytes() / AMPLE > extra + (end - start);
        let end = granule_ceil(end);
        Ok(if grows && ample {
            (end + extra).min(granule_ceil(MAX_SIZE))
        } else {
            end
        })
    }

    /// Lets a session touch what a slice shows.
    pub(super) fn grant(&mut self, session: SessionId, slice: &LayoutSlice, write: bool, out: &mut Output) {
        for copy in slice.runs.iter().flat_map(Run::valid) {
            out.grant(session, copy.extent, write);
        }
    }

    /// A session has nothing in flight any more on what it was asked to give up.
    pub(super) fn give_up(&mut self, session: SessionId, given_up: Acknowledged, out: &mut Output) {
        for extent in given_up.revoke {
            out.revoke(session, extent);
        }
        out.clean.extend(given_up.clean);
    }

    /// A session has closed the inode for good: its grants go.
    pub(super) fn revoke_all(&mut self, session: SessionId, ino: InodeId, out: &mut Output) {
        let Ok(layout) = self.tree.layout(ino) else { return };
        // What is not valid any more may have been when it was granted.
        let replicas = layout.runs().flat_map(|run| &run.replicas);
        for copy in replicas.filter(|copy| copy.state != ReplicaState::Lost) {
            out.revoke(session, copy.extent);
        }
    }

    /// After a close: when nobody has the inode open, space past its size goes, and without names all of it.
    pub(super) fn closed(&mut self, ino: InodeId, out: &mut Output) {
        let Ok(inode) = self.tree.get(ino) else { return };
        if self.sessions.is_held(ino) {
            return;
        }
        self.rooms.remove(&ino);
        if inode.attr.nlink == 0 {
            self.orphans.insert(ino);
            return;
        }
        let size = inode.attr.size;
        let Body::File {
            layout, loose_tail, ..
        } = &inode.body
        else {
            return;
        };
        let (loose_tail, loose_space) = (*loose_tail, layout.end() > granule_ceil(size));
        if loose_space {
            // The file exists and is a file.
            let _ = self.cut(ino, size, out);
        } else if loose_tail {
            out.zero(layout.usable(size, granule_ceil(size)));
        }
        self.set_loose_tail(ino, false);
        self.tree.mtime_chosen(ino, None);
    }

    /// Someone may write past the size from now on, or not any more.
    pub(super) fn set_loose_tail(&mut self, ino: InodeId, loose: bool) {
        if let Ok(inode) = self.tree.get_mut_lazily(ino)
            && let Body::File { loose_tail, .. } = &mut inode.body
        {
            *loose_tail = loose;
        }
    }

    /// An inode lost its last name.
    pub(super) fn unnamed(&mut self, ino: InodeId) {
        if !self.sessions.is_held(ino) {
            self.orphans.insert(ino);
        }
    }

    /// Frees a part of the first orphan, from its end; a small one goes whole.
    pub(super) fn remove_orphans(&mut self, out: &mut Output) {
        let Some(ino) = self.orphans.first().copied() else {
            return;
        };
        let end = self.tree.layout(ino).map_or(0, |layout| layout.end());
        if end > 0 {
            // The file exists and is a file.
            let _ = self.cut(ino, end.saturating_sub(REMOVAL_STEP * SEGMENT), out);
        }
        if self.tree.layout(ino).map_or(0, |layout| layout.end()) == 0 {
            self.tree.remove(ino);
            self.orphans.remove(&ino);
        }
    }

    /// Cuts the file off at `from` and recalls what that frees.
    fn cut(&mut self, ino: InodeId, from: u64, out: &mut Output) -> Result<(), MetaError> {
        let extents = self.free(ino, from, u64::MAX, out)?;
        self.recall(ino, from, extents, out)
    }

    /// Makes `[start, end)` zeros: gives its whole granules up, which are to be recalled, and zeroes what is left of it.
    pub(super) fn free(
        &mut self,
        ino: InodeId,
        start: u64,
        end: u64,
        out: &mut Output,
    ) -> Result<Vec<Extent>, MetaError> {
        let layout = self.tree.layout(ino)?;
        let [head, tail] = edges(start, end);
        out.zero(layout.usable(head.0, head.1));
        out.zero(layout.usable(tail.0, tail.1));
        let freed = self.tree.edit_layout(ino, |layout| layout.cut(start, end))?;
        let extents: Vec<Extent> = freed.into_iter().map(|copy| copy.extent).collect();
        // What lies in an arena of the past goes back to no one.
        Ok(extents
            .into_iter()
            .filter(|extent| self.alloc.free(*extent))
            .collect())
    }

    /// Everybody gives up the layout from `from` on; then the extents are cleaned.
    pub(super) fn recall(
        &mut self,
        ino: InodeId,
        from: u64,
        extents: Vec<Extent>,
        out: &mut Output,
    ) -> Result<(), MetaError> {
        let truncate_seq = self.tree.get(ino)?.attr.truncate_seq;
        let Some((recall, holders)) = self.sessions.recall(ino, &extents) else {
            out.clean.extend(extents);
            return Ok(());
        };
        let notice = Notice::Recall {
            recall,
            ino,
            from,
            truncate_seq,
        };
        out.notices
            .extend(holders.into_iter().map(|session| (session, notice)));
        Ok(())
    }

    fn fill_hole(&mut self, ino: InodeId, at: u64, len: u64) -> Result<(), MetaError> {
        if self.tree.accounts.frozen {
            return Err(MetaError::NoSpace);
        }
        let before = self.tree.layout(ino)?.before(at);
        let extents = self.alloc.allocate(len, before).map_err(|error| match error {
            AllocError::NoSpace => MetaError::NoSpace,
            AllocError::Cleaning => MetaError::Cleaning,
        })?;
        self.tree.edit_layout(ino, |layout| {
            let mut start = at;
            for extent in extents {
                let state = ReplicaState::Valid;
                let replicas = vec![Replica { extent, state }];
                layout.insert(Run { start, replicas });
                start += extent.len;
            }
            let segments: BTreeSet<u64> = (at / SEGMENT..=(start - 1) / SEGMENT).collect();
            ((), segments)
        })
    }
}

/// What of `[start, end)` lies in granules that the range does not cover: at its start, and at its end.
pub(super) fn edges(start: u64, end: u64) -> [(u64, u64); 2] {
    let head = granule_ceil(start).min(end);
    [(start, head), (granule_floor(end).max(head), end)]
}
