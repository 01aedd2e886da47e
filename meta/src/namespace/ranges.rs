//! The space of a range of a file: giving it, taking it back, zeroing it, and asking where it is.
//!
//! Each call goes as far as one step may, and says how far that is. What it takes back goes the way of all freed extents; what it zeroes in
//! place is a [`Moving`].

use super::files::FILL;
use super::output::{ByteMove, Change, Done, Moving, Output};
use super::service::Namespace;
use super::space::{MAX_SIZE, REMOVAL_STEP, edges};
use super::step::Step;
use crate::error::MetaError;
use crate::extent::{granule_ceil, granule_floor};
use crate::flags::InodeFlags;
use crate::id::InodeId;
use crate::layout::{LayoutMap, Run, SEGMENT};
use crate::time::{AccessTime, Now};
use crate::wire::{Answer, Reply, Sought};

/// Most bytes that one call zeroes in place: a few milliseconds for the thread that serves its handler.
const ZEROED: u64 = 16 << 20;
/// Most runs that one call looks at.
const RUNS: usize = 1 << 16;

/// How space is given.
#[derive(Clone, Copy, Debug)]
pub(super) struct How {
    pub(super) keep_size: bool,
    pub(super) zero: bool,
}

impl Namespace {
    pub(super) fn allocate(
        &mut self,
        step: &mut Step<'_>,
        ino: InodeId,
        (start, end): (u64, u64),
        how: How,
    ) -> Answer {
        self.may_change(step, ino, (start, end), how.zero)?;
        let layout = self.tree.layout(ino)?;
        let stop = end.min(granule_floor(start).saturating_add(FILL));
        if layout.overlapping(start, stop).any(Run::is_lost) {
            return Err(MetaError::Lost);
        }
        let (stop, moves) = match how.zero {
            true => to_zero(layout, start, stop),
            false => (stop, Vec::new()),
        };
        let (missing, before) = (missing(layout, start, end), layout.allocated());
        match () {
            () if missing > self.alloc.total() => return Err(MetaError::NoSpace),
            () if missing > self.alloc.free_bytes() => return Err(self.shortage(missing)),
            () => {}
        }
        let stop = self.fill(ino, start, stop)?.min(stop);
        if self.tree.layout(ino)?.allocated() != before {
            self.tell_others(step, ino)?;
        }
        let change = Change {
            ino,
            size: if how.keep_size || stop < end { 0 } else { end },
            truncate_seq: self.tree.get(ino)?.attr.truncate_seq,
            done: Done::Spaced(stop),
        };
        self.change_by(step, moves, change)
    }

    pub(super) fn punch(&mut self, step: &mut Step<'_>, ino: InodeId, (start, end): (u64, u64)) -> Answer {
        self.may_change(step, ino, (start, end), true)?;
        let layout = self.tree.layout(ino)?;
        let first = layout.overlapping(start, end).next();
        let first = first.map_or(end, |run| run.start.max(start));
        let stop = end.min((first / SEGMENT + REMOVAL_STEP).saturating_mul(SEGMENT));
        let stays = edges(start, stop).into_iter().filter(|(at, to)| at < to);
        if stays
            .into_iter()
            .any(|(at, to)| layout.overlapping(at, to).any(Run::is_lost))
        {
            return Err(MetaError::Lost);
        }
        let before = layout.allocated();
        let extents = self.free(ino, start, stop, step.out)?;
        if self.tree.layout(ino)?.allocated() != before {
            self.recall(ino, granule_ceil(start), extents, step.out)?;
        }
        let change = Change {
            ino,
            size: 0,
            truncate_seq: self.tree.get(ino)?.attr.truncate_seq,
            done: Done::Spaced(stop),
        };
        self.change_by(step, Vec::new(), change)
    }

    pub(super) fn seek(&mut self, step: &Step<'_>, ino: InodeId, offset: u64, hole: bool) -> Answer {
        self.sessions.held(step.session, ino)?;
        let size = self.tree.get(ino)?.attr.size;
        if offset >= size {
            return Ok(Reply::Sought(Sought::Nowhere));
        }
        let mut runs = self.tree.layout(ino)?.overlapping(offset, size);
        if !hole {
            let data = runs.next().map(|run| Sought::At(run.start.max(offset)));
            return Ok(Reply::Sought(data.unwrap_or(Sought::Nowhere)));
        }
        let mut at = offset;
        for (looked_at, run) in runs.enumerate() {
            match () {
                () if run.start > at => break,
                () if looked_at == RUNS => return Ok(Reply::Sought(Sought::From(at))),
                () => at = run.end(),
            }
        }
        Ok(Reply::Sought(Sought::At(at.min(size))))
    }

    /// The bytes of a [`Moving`] are where they belong: gives the answer to its call.
    pub fn moved(&mut self, moving: &Moving, now: Now) -> Output {
        let mut out = self.begin_step();
        let mut step = Step {
            session: moving.session,
            who: &moving.caller,
            now,
            access_time: AccessTime::default(),
            out: &mut out,
        };
        let answer = self.change(&mut step, moving.change);
        self.leases.end_move(moving.change.ino);
        self.lease(
            Some((moving.session, &answer, [None; 2])),
            now.monotonic,
            &mut out,
        );
        self.finish(&mut out);
        out.answer = Some(answer);
        out
    }

    /// The bytes of a [`Moving`] could not be moved: gives that answer to its call.
    pub fn not_moved(&mut self, moving: &Moving, why: MetaError) -> Output {
        let mut out = self.begin_step();
        self.leases.end_move(moving.change.ino);
        out.answer = Some(Err(why));
        out
    }

    /// Makes a change that is true when these bytes are where they belong.
    pub(super) fn change_by(&mut self, step: &mut Step<'_>, moves: Vec<ByteMove>, change: Change) -> Answer {
        if moves.is_empty() {
            return self.change(step, change);
        }
        step.out.moving = Some(Moving {
            moves,
            session: step.session,
            caller: step.who.clone(),
            change,
        });
        // Nobody hears it.
        Ok(Reply::Done)
    }

    fn change(&mut self, step: &mut Step<'_>, change: Change) -> Answer {
        let attr = &mut self.tree.get_mut(change.ino)?.attr;
        let grows = change.truncate_seq == attr.truncate_seq && change.size > attr.size;
        if grows {
            attr.size = change.size;
        }
        attr.version.0 += 1;
        (attr.mtime, attr.ctime) = (step.now.wall, step.now.wall);
        self.bytes_changed(change.ino, step.who, step.now.wall)?;
        if grows {
            self.tell_others(step, change.ino)?;
        }
        let attr = self.tree.get(change.ino)?.attr.clone();
        Ok(match change.done {
            Done::Spaced(end) => Reply::Spaced { end, attr },
            Done::Copied(len) => Reply::Copied { len, attr },
        })
    }

    /// The session may change the range, or its bytes as well.
    fn may_change(
        &mut self,
        step: &Step<'_>,
        ino: InodeId,
        (start, end): (u64, u64),
        bytes: bool,
    ) -> Result<(), MetaError> {
        let flags = self.tree.get(ino)?.attr.flags;
        match () {
            () if !self.sessions.held(step.session, ino)?.writable => Err(MetaError::AccessDenied),
            () if flags.any(InodeFlags::IMMUTABLE) => Err(MetaError::Protected),
            () if bytes && flags.any(InodeFlags::APPEND) => Err(MetaError::Protected),
            () if start >= end => Err(MetaError::Invalid),
            () if end > MAX_SIZE => Err(MetaError::TooBig),
            () => {
                self.set_loose_tail(ino, true);
                Ok(())
            }
        }
    }
}

/// The places of file bytes `[start, end)` within a run, which has some of them: one for each copy.
pub(super) fn places(run: &Run, start: u64, end: u64) -> impl Iterator<Item = crate::extent::Extent> {
    let from = start.max(run.start);
    let (skip, len) = (from - run.start, end.saturating_sub(from));
    run.valid().filter_map(move |copy| copy.extent.part(skip, len))
}

/// How far one call may zero in place, and what it must zero for that.
fn to_zero(layout: &LayoutMap, start: u64, end: u64) -> (u64, Vec<ByteMove>) {
    let (mut stop, mut left, mut moves) = (end, ZEROED, Vec::new());
    for run in layout.overlapping(start, end) {
        if left == 0 {
            stop = run.start;
            break;
        }
        let at = run.start.max(start);
        let until = run.end().min(end).min(at + left);
        left -= until - at;
        moves.extend(places(run, at, until).map(|to| ByteMove { from: None, to }));
        if until < run.end().min(end) {
            stop = until;
            break;
        }
    }
    (stop, moves)
}

/// The bytes that `[start, end)` has no space for; past very many runs none are counted.
fn missing(layout: &LayoutMap, start: u64, end: u64) -> u64 {
    let (start, mut end) = (granule_floor(start), granule_ceil(end));
    let mut there = 0;
    for (counted, run) in layout.overlapping(start, end).enumerate() {
        if counted == RUNS {
            end = run.start;
            break;
        }
        there += run.end().min(end) - run.start.max(start);
    }
    end - start - there
}
