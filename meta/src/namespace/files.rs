//! Calls about open files and where their bytes are.

use super::service::Namespace;
use super::space::MAX_SIZE;
use super::step::Step;
use crate::error::MetaError;
use crate::extent::{GRANULE, granule_ceil, granule_floor};
use crate::id::{InodeId, SessionId};
use crate::layout::Run;
use crate::permission;
use crate::session::Open;
use crate::time::Timestamp;
use crate::wire::{Answer, Notice, OpenAccess, Reply};

/// Most copies in the layout that an open brings along.
const OPEN_REPLICAS: usize = 128;
/// Most copies in one answer: each takes at most 45 bytes of a message.
pub(super) const ANSWER_REPLICAS: usize = 1024;
/// Most bytes that one call fills with extents: it bounds the time and the store's batch.
pub(super) const FILL: u64 = 64 << 20;
/// Most bytes of one append.
const MAX_APPEND: u32 = 1 << 20;

/// What a handler says that it wrote.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    pub(super) size: u64,
    pub(super) truncate_seq: u64,
    /// When, by the service's clock as the handler knows it. What it showed stays, so this is the ctime, too.
    pub(super) mtime: Timestamp,
    pub(super) clear_set_id: bool,
}

impl Namespace {
    pub(super) fn open(&mut self, step: &mut Step<'_>, ino: InodeId, access: OpenAccess) -> Answer {
        let attr = &self.tree.get(ino)?.attr;
        if attr.nlink == 0 && !self.sessions.is_held(ino) {
            return Err(MetaError::Stale);
        }
        permission::open(step.who, attr, access)?;
        if self.is_busy_text(step.session, ino, access) {
            return Err(MetaError::TextBusy);
        }
        if access.truncate {
            self.resize(ino, 0, step.now, step.out)?;
            self.tell_others(step, ino)?;
            self.bytes_changed(ino, step.who, step.now.wall)?;
        }
        if access.read {
            self.accessed(ino, step);
        }
        let open = Open {
            count: 1,
            writable: access.write,
            runs: access.execute,
            ran_with_rights: access.execute && self.gives_rights(ino),
        };
        self.sessions.open(step.session, ino, open);
        self.shares_room(step.session, ino);
        self.opened(step, ino, 0)
    }

    /// The answer to an open: attributes, and as much of the layout as comes cheaply, that of `room` bytes beyond the size too.
    pub(super) fn opened(&mut self, step: &mut Step<'_>, ino: InodeId, room: u64) -> Answer {
        let attr = self.tree.get(ino)?.attr.clone();
        let layout = self.tree.layout(ino)?.slice(
            0,
            granule_ceil(attr.size.max(room)),
            attr.truncate_seq,
            OPEN_REPLICAS,
        );
        let write = self.grants_writing(step.session, ino)?;
        self.grant(step.session, &layout, write, step.out);
        let plain = self.is_plain(ino);
        Ok(Reply::Opened { attr, layout, plain })
    }

    pub(super) fn layout(
        &mut self,
        step: &mut Step<'_>,
        ino: InodeId,
        (start, end): (u64, u64),
        allocate: bool,
    ) -> Answer {
        let write = self.grants_writing(step.session, ino)?;
        match () {
            () if start >= end => return Err(MetaError::Invalid),
            () if allocate && !self.sessions.held(step.session, ino)?.writable => {
                return Err(MetaError::AccessDenied);
            }
            () if allocate && end > MAX_SIZE => return Err(MetaError::TooBig),
            () => {}
        }
        let mut covered = end;
        if allocate {
            let wanted = end.min(granule_floor(start).saturating_add(FILL));
            let wanted = self.ahead(ino, start, wanted)?;
            let before = self.tree.layout(ino)?.allocated();
            covered = self.fill(ino, start, wanted)?;
            self.set_loose_tail(ino, true);
            if self.tree.layout(ino)?.allocated() != before {
                self.tell_others(step, ino)?;
            }
        }
        let truncate_seq = self.tree.get(ino)?.attr.truncate_seq;
        let layout = self
            .tree
            .layout(ino)?
            .slice(start, covered, truncate_seq, ANSWER_REPLICAS);
        self.grant(step.session, &layout, write, step.out);
        Ok(Reply::Layout(layout))
    }

    pub(super) fn append(&mut self, step: &mut Step<'_>, ino: InodeId, len: u32) -> Answer {
        if !self.sessions.held(step.session, ino)?.writable {
            return Err(MetaError::AccessDenied);
        }
        let offset = self.tree.get(ino)?.attr.size;
        let end = offset.saturating_add(len.into());
        match () {
            () if len == 0 || len > MAX_APPEND => return Err(MetaError::Invalid),
            () if end > MAX_SIZE => return Err(MetaError::TooBig),
            () => self.fill_whole(ino, offset, end)?,
        }
        self.set_loose_tail(ino, true);
        let attr = &mut self.tree.get_mut(ino)?.attr;
        attr.size = end;
        attr.version.0 += 1;
        (attr.mtime, attr.ctime) = (step.now.wall, step.now.wall);
        self.tell_others(step, ino)?;
        let attr = self.tree.get(ino)?.attr.clone();
        let layout = self
            .tree
            .layout(ino)?
            .slice(offset, end, attr.truncate_seq, ANSWER_REPLICAS);
        self.grant(step.session, &layout, true, step.out);
        Ok(Reply::Appended { offset, attr, layout })
    }

    pub(super) fn commit(&mut self, step: &mut Step<'_>, ino: InodeId, written: Written) -> Answer {
        if !self.sessions.held(step.session, ino)?.writable {
            return Err(MetaError::AccessDenied);
        }
        if written.size > MAX_SIZE {
            return Err(MetaError::TooBig);
        }
        let now = step.now.wall;
        let attr = &mut self.tree.get_mut(ino)?.attr;
        let grows = written.truncate_seq == attr.truncate_seq && written.size > attr.size;
        let mode = if written.clear_set_id {
            permission::without_set_id(step.who, attr)
        } else {
            attr.mode
        };
        if mode != attr.mode {
            attr.ctime = now;
        }
        if grows {
            attr.size = written.size;
        }
        attr.mode = mode;
        attr.version.0 += 1;
        // Nothing was written later than now, whatever a host says.
        self.tree.written_at(ino, written.mtime.min(now))?;
        self.drop_capabilities(ino, now);
        if grows {
            self.tell_others(step, ino)?;
        }
        self.attr(ino)
    }

    /// Tells every other session that has the inode open that its size or layout changed.
    pub(super) fn tell_others(&mut self, step: &mut Step<'_>, ino: InodeId) -> Result<(), MetaError> {
        let version = self.tree.get(ino)?.attr.version;
        let notice = Notice::Changed { ino, version };
        let others = self
            .sessions
            .holders(ino)
            .filter(|session| *session != step.session);
        step.out.notices.extend(others.map(|session| (session, notice)));
        Ok(())
    }

    /// Extents for every byte of the range or for none; a lost one would leave a gap in the file, so it refuses too.
    pub(super) fn fill_whole(&mut self, ino: InodeId, start: u64, end: u64) -> Result<(), MetaError> {
        let (start, end) = (granule_floor(start), granule_ceil(end));
        let layout = self.tree.layout(ino)?;
        if layout.overlapping(start, end).any(Run::is_lost) {
            return Err(MetaError::Lost);
        }
        let missing: u64 = layout.holes(start, end).iter().map(|(at, stop)| stop - at).sum();
        if missing > self.alloc.free_bytes() {
            return Err(self.shortage(missing));
        }
        self.fill(ino, start, end).map(|_| ())
    }

    /// The session has the inode open; gives whether for writing. Whoever may write may also write past the size.
    fn grants_writing(&mut self, session: SessionId, ino: InodeId) -> Result<bool, MetaError> {
        let writable = self.sessions.held(session, ino)?.writable;
        if writable {
            self.set_loose_tail(ino, true);
        }
        Ok(writable)
    }
}

const _: () = assert!(ANSWER_REPLICAS * 45 < crate::wire::MAX_MESSAGE - 1024);
const _: () = assert!(MAX_APPEND as u64 / GRANULE + 1 < ANSWER_REPLICAS as u64);
