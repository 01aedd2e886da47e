//! What a pool's handler knows of one inode that is open or has state that is not committed yet.
//!
//! Lock order: `pages` (a turn, held across waits) before `data` (held across waits) before `committing` (the same) before `state` (never held across a wait). Under `state` no other lock is taken. The `data` of two inodes: in the order of their ids.

use super::epoch::Epoch;
use super::extent_map::{ExtentMap, Missing, Segment};
use super::page_order::PageOrder;
use super::text::TextUses;
use crate::errno::Error;
use crate::handler::client::ClientSession;
use crate::handler::lock_order::Mutex;
use crate::handler::values::{Connection, MountId};
use rdmafs_meta::attr::{Attr, FileKind};
use rdmafs_meta::error::MetaError;
use rdmafs_meta::id::InodeId;
use rdmafs_meta::layout::LayoutSlice;
use rdmafs_meta::time::Timestamp;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// An inode.
#[derive(Debug)]
pub(in crate::handler) struct Inode {
    pub(in crate::handler) ino: InodeId,
    /// Reads and writes of bytes share it; a truncate through this handler has it alone, so it waits for them. First come,
    /// first served: neither side starves the other.
    pub(in crate::handler) data: tokio::sync::RwLock<()>,
    /// Requests for its pages, and changes past them: waited for before `data`.
    pub(in crate::handler) pages: Arc<PageOrder>,
    /// Who writes it, and who runs it.
    pub(in crate::handler) text: Arc<TextUses>,
    /// Held while a commit is under way: one that was asked for earlier must not undo what came after a later one.
    pub(in crate::handler) committing: tokio::sync::Mutex<()>,
    /// It waits for its time to be committed.
    waits_for_commit: AtomicBool,
    /// So many bytes at its start have space that nobody has written to. Changed by those who have `data`.
    room: AtomicU64,
    state: Mutex<InodeState>,
}

#[derive(Debug)]
struct InodeState {
    /// The service's latest answer.
    attr: Option<Attr>,
    /// The size may have changed: ask before it is used.
    stale: bool,
    /// The inode did not exist any more when the session began.
    gone: bool,
    /// The highest that any message said.
    truncate_seq: u64,
    written: Option<Written>,
    /// Writes so far.
    writes: u64,
    /// How often something written was lost before it was committed.
    losses: u64,
    /// Opens that the service counts for this handler.
    opens: u32,
    /// The session in which it counts them.
    counted_in: Connection,
    /// The connection that `extent_map` belong to.
    connection: Connection,
    extent_map: ExtentMap,
    /// Rises with every recall and change: an answer to a call from before is void.
    generation: u64,
    epoch: Arc<Epoch>,
    /// The file is known to have no file capabilities, so that a write takes none away and the kernel need not ask the service.
    plain: bool,
    /// Rises when it may have been given some: what was asked before must not be believed.
    given: u64,
}

/// What a write means for what a program of other bytes must not run with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::handler) enum Takes {
    /// Nothing.
    Nothing,
    /// There may be file capabilities: commit at once.
    Capabilities,
    /// Set-id bits: commit at once, and the kernel must not show the old mode.
    SetId,
}

/// What was written and is not committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::handler) struct Written {
    /// One past the last byte written under `truncate_seq`.
    pub(in crate::handler) size: u64,
    /// The file's shrink count when these bytes were written.
    pub(in crate::handler) truncate_seq: u64,
    /// Time of the last write.
    pub(in crate::handler) mtime: Timestamp,
    /// A caller wrote who may not keep set-id bits.
    pub(in crate::handler) clear_set_id: bool,
    /// Mounts that wrote.
    pub(in crate::handler) mounts: Vec<MountId>,
    /// The number of the last write, given by the inode: tells a commit whether more came meanwhile. No two writes have the same, or
    /// the late answer to one commit would take what came after another one.
    pub(in crate::handler) last: u64,
}

/// What to do about a range.
pub(in crate::handler) enum Plan {
    /// Transfer these, holding the epoch.
    Go(PlannedTransfer),
    /// Ask for this first.
    Ask { missing: Missing, generation: u64 },
}

/// A range, cut along the layout.
pub(in crate::handler) struct PlannedTransfer {
    pub(in crate::handler) segments: Vec<Segment>,
    pub(in crate::handler) epoch: Arc<Epoch>,
    pub(in crate::handler) truncate_seq: u64,
}

impl PlannedTransfer {
    /// The length in bytes.
    pub(in crate::handler) fn len(&self) -> usize {
        self.segments.iter().map(|segment| segment.len).sum()
    }
}

impl Inode {
    pub(in crate::handler) fn new(ino: InodeId) -> Arc<Self> {
        Arc::new(Self {
            ino,
            data: tokio::sync::RwLock::new(()),
            pages: Arc::default(),
            text: Arc::default(),
            committing: tokio::sync::Mutex::new(()),
            waits_for_commit: AtomicBool::new(false),
            room: AtomicU64::new(0),
            state: Mutex::new(InodeState {
                attr: None,
                stale: true,
                gone: false,
                truncate_seq: 0,
                written: None,
                writes: 0,
                losses: 0,
                opens: 0,
                counted_in: Connection::default(),
                connection: Connection::default(),
                extent_map: ExtentMap::default(),
                generation: 0,
                epoch: Epoch::new(),
                plain: false,
                given: 0,
            }),
        })
    }

    /// So many bytes at its start have space that nobody has written to.
    pub(in crate::handler) fn room(&self) -> u64 {
        self.room.load(Ordering::Acquire)
    }

    /// To be said by who has `data`, or before anybody else knows the inode.
    pub(in crate::handler) fn has_room(&self, bytes: u64) {
        self.room.store(bytes, Ordering::Release);
    }

    /// To be taken before it is asked whether the file has file capabilities.
    pub(in crate::handler) fn given(&self) -> u64 {
        self.state.lock().given
    }

    /// It was asked at `given`, and the file has none. Only while it is open does the service say when that changes.
    pub(in crate::handler) fn learn_plain(&self, given: u64) {
        let mut state = self.state.lock();
        state.plain |= state.given == given && state.opens > 0;
    }

    /// The file is known to have no file capabilities.
    pub(in crate::handler) fn is_plain(&self) -> bool {
        self.state.lock().plain
    }

    /// It may have been given some.
    pub(in crate::handler) fn may_have_capabilities(&self) {
        self.state.lock().forget_plain();
    }

    /// Takes the service's attributes in and gives what is shown to programs.
    pub(in crate::handler) fn show(&self, attr: Attr) -> Attr {
        let mut state = self.state.lock();
        state.truncate_seq = state.truncate_seq.max(attr.truncate_seq);
        let newest = state
            .attr
            .as_ref()
            .is_none_or(|known| (known.truncate_seq, known.version) <= (attr.truncate_seq, attr.version));
        if newest {
            state.stale = attr.truncate_seq < state.truncate_seq;
            state.attr = Some(attr.clone());
        }
        state.overlay(attr)
    }

    /// The size as programs see it; `None` when the service must be asked.
    pub(in crate::handler) fn size(&self) -> Option<u64> {
        let state = self.state.lock();
        let attr = state.attr.as_ref().filter(|_| !state.stale)?;
        let written = state
            .written
            .as_ref()
            .filter(|written| written.truncate_seq == attr.truncate_seq);
        Some(written.map_or(attr.size, |written| attr.size.max(written.size)))
    }

    /// The service's last answer.
    pub(in crate::handler) fn attr(&self) -> Option<Attr> {
        self.state.lock().attr.clone()
    }

    /// # Errors
    /// The inode was gone when the session began anew.
    pub(in crate::handler) fn check(&self) -> Result<(), Error> {
        if self.state.lock().gone {
            return Err(MetaError::Stale.into());
        }
        Ok(())
    }

    /// Cuts `[start, end)` along the layout that is known over `connection`. The epoch goes with the transfers.
    pub(in crate::handler) fn plan(&self, connection: Connection, start: u64, end: u64, write: bool) -> Plan {
        let mut state = self.state.lock();
        state.enter(connection);
        let size = || state.attr.as_ref().map_or(0, |attr| attr.size);
        match state.extent_map.find(start, end, write.then(size)) {
            Ok(segments) => Plan::Go(PlannedTransfer {
                segments,
                epoch: state.epoch.clone(),
                truncate_seq: state.truncate_seq,
            }),
            Err(missing) => Plan::Ask {
                missing,
                generation: state.generation,
            },
        }
    }

    /// Changes when what was asked before must not be believed any more.
    pub(in crate::handler) fn generation(&self) -> u64 {
        self.state.lock().generation
    }

    /// Takes a layout in that was asked for at `generation`; one that was recalled or changed since is passed over.
    ///
    /// # Errors
    /// [`Error::Protocol`]: it is no layout.
    pub(in crate::handler) fn learn(
        &self,
        session: &ClientSession,
        generation: u64,
        slice: &LayoutSlice,
        writable: bool,
    ) -> Result<(), Error> {
        let mut state = self.state.lock();
        if state.generation != generation || slice.truncate_seq < state.truncate_seq {
            return Ok(());
        }
        state.enter(session.connection);
        state.truncate_seq = slice.truncate_seq;
        state.extent_map.learn(slice, writable, &session.arenas)
    }

    /// Gives up the layout from `from` on. Ready when nothing uses what was known of it.
    pub(in crate::handler) fn recall(
        &self,
        from: u64,
        truncate_seq: u64,
    ) -> impl Future<Output = ()> + Send + use<> {
        let mut state = self.state.lock();
        state.generation += 1;
        state.stale = true;
        state.truncate_seq = state.truncate_seq.max(truncate_seq);
        state.extent_map.cut(from);
        Epoch::retire(&mut state.epoch)
    }

    /// Another session changed the layout.
    pub(in crate::handler) fn changed(&self) {
        let mut state = self.state.lock();
        state.generation += 1;
        state.stale = true;
        state.extent_map.cut(0);
    }

    /// What is known of the layout may be old: it is asked for again.
    pub(in crate::handler) fn forget_layout(&self) {
        let mut state = self.state.lock();
        state.generation += 1;
        state.extent_map.cut(0);
    }

    /// The service counts one more open in the session that began over `origin`. False when a later session has been told of the
    /// opens already: then it knows nothing of this one.
    pub(in crate::handler) fn opened(&self, origin: Connection) -> bool {
        let mut state = self.state.lock();
        if state.counted_in > origin {
            return false;
        }
        state.counted_in = origin;
        state.opens += 1;
        state.gone = false;
        true
    }

    /// So many opens less; says in which session the service counts them. After the last, the service forgets that this session holds the
    /// layout, so it is given up first: then the answer is ready when nothing uses it.
    pub(in crate::handler) fn closed(
        &self,
        opens: u32,
    ) -> (Connection, Option<impl Future<Output = ()> + Send + use<>>) {
        let mut state = self.state.lock();
        state.opens = state.opens.saturating_sub(opens);
        if state.opens > 0 {
            return (state.counted_in, None);
        }
        state.generation += 1;
        state.forget_plain();
        state.extent_map.cut(0);
        (state.counted_in, Some(Epoch::retire(&mut state.epoch)))
    }

    /// Opens to tell a new session of, which counts them from then on.
    pub(in crate::handler) fn notified(&self, origin: Connection) -> u32 {
        let mut state = self.state.lock();
        state.counted_in = origin;
        state.opens
    }

    /// The new session has no such inode.
    pub(in crate::handler) fn mark_gone(&self) {
        self.state.lock().gone = true;
    }

    /// The size must be asked for again.
    pub(in crate::handler) fn mark_stale(&self) {
        self.state.lock().stale = true;
    }

    /// A new connection has begun: notices may have been missed, and what was asked over earlier ones is void.
    pub(in crate::handler) fn reconnected(&self) {
        let mut state = self.state.lock();
        state.generation += 1;
        state.forget_plain();
        state.stale = true;
    }

    /// Bytes up to `size` were written in the session that began over `origin`. Says what must go at once. When a later
    /// session counts the opens already, they are lost: its commit must not say that the file has them.
    pub(in crate::handler) fn wrote(&self, origin: Connection, mut written: Written) -> Takes {
        let mut state = self.state.lock();
        if state.counted_in != origin {
            state.losses += 1;
            return Takes::Nothing;
        }
        state.writes += 1;
        written.last = state.writes;
        let takes = match state.plain {
            _ if written.clear_set_id => Takes::SetId,
            false => Takes::Capabilities,
            true => Takes::Nothing,
        };
        match &mut state.written {
            None => state.written = Some(written),
            Some(known) => known.merge(&written),
        }
        takes
    }

    /// True when more was written than the service knows of.
    pub(in crate::handler) fn outgrew_service(&self) -> bool {
        let state = self.state.lock();
        let known = state
            .attr
            .as_ref()
            .map_or((0, 0), |attr| (attr.truncate_seq, attr.size));
        let written = state.written.as_ref();
        written.is_some_and(|written| written.truncate_seq >= known.0 && written.size > known.1)
    }

    /// To be asked after a write. True when a time is to be set at which it is committed.
    pub(in crate::handler) fn is_first_to_commit(&self) -> bool {
        !self.waits_for_commit.load(Ordering::Relaxed) && !self.waits_for_commit.swap(true, Ordering::AcqRel)
    }

    /// That time has come: what is written from now on has another one.
    pub(in crate::handler) fn begins_to_commit(&self) {
        self.waits_for_commit.swap(false, Ordering::AcqRel);
    }

    /// What a commit must say.
    pub(in crate::handler) fn uncommitted(&self) -> Option<Written> {
        self.state.lock().written.clone()
    }

    /// What the commit said is part of the file now.
    pub(in crate::handler) fn committed(&self, written: &Written) {
        let mut state = self.state.lock();
        match &mut state.written {
            Some(known) if known.last == written.last => state.written = None,
            // More was written meanwhile: the next commit says it all again.
            Some(_) | None => {}
        }
    }

    /// Another session has begun. What was written and not committed is lost: true when there was any. The node may have been restarted,
    /// and what it forgot makes its counts smaller: nothing that was heard before is a measure of what it says now.
    pub(in crate::handler) fn begins_anew(&self) -> bool {
        let mut state = self.state.lock();
        state.generation += 1;
        state.forget_plain();
        (state.attr, state.stale, state.truncate_seq) = (None, true, 0);
        let lost = state.written.take().is_some();
        state.losses += u64::from(lost);
        lost
    }

    /// How often that happened.
    pub(in crate::handler) fn losses(&self) -> u64 {
        self.state.lock().losses
    }

    /// True when a mount other than `mount` wrote what is not committed yet.
    pub(in crate::handler) fn written_elsewhere(&self, mount: MountId) -> bool {
        let state = self.state.lock();
        state
            .written
            .as_ref()
            .is_some_and(|written| written.mounts.iter().any(|other| *other != mount))
    }
}

impl InodeState {
    /// What was known over other connections is void: their grants ended with them.
    fn enter(&mut self, connection: Connection) {
        if self.connection != connection {
            self.connection = connection;
            self.extent_map.cut(0);
        }
    }

    fn forget_plain(&mut self) {
        self.plain = false;
        self.given += 1;
    }

    fn overlay(&self, mut attr: Attr) -> Attr {
        if let Some(written) = &self.written
            && attr.kind == FileKind::Regular
        {
            if written.truncate_seq == attr.truncate_seq {
                attr.size = attr.size.max(written.size);
            }
            // As the commit will say, even where a program chose a later time before the write.
            attr.mtime = written.mtime;
            attr.ctime = attr.ctime.max(written.mtime);
        }
        attr
    }
}

impl Written {
    fn merge(&mut self, newer: &Self) {
        if newer.truncate_seq > self.truncate_seq {
            (self.size, self.truncate_seq) = (newer.size, newer.truncate_seq);
        } else if newer.truncate_seq == self.truncate_seq {
            self.size = self.size.max(newer.size);
        }
        self.mtime = self.mtime.max(newer.mtime);
        self.clear_set_id |= newer.clear_set_id;
        self.last = newer.last;
        for mount in &newer.mounts {
            if !self.mounts.contains(mount) {
                self.mounts.push(*mount);
            }
        }
    }
}

#[cfg(test)]
mod tests;
