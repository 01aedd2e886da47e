//! Copying bytes within the pool: no byte of them crosses a link.
//!
//! A call finds out under the lock what lies where and fills the target's holes; the node then copies outside of it ([`Moving`](super::Moving)), while
//! others may truncate, punch or remove both files. Each extent that this call reads or writes was one of a file that its session has open.
//! If one is freed meanwhile, it is recalled from that session, too, and neither zeroed nor given to another file before the session has
//! acknowledged the recall, closed the file, or was fenced. All three come from the thread that copies, after the copy: a peer's
//! messages are served one after the other, and it leaves after the last one. So no byte of another file is ever read or written.
//!
//! A copy that is done again is like a write that is done again: it is not over, so whatever others did between was done while it went on.

use super::output::{ByteMove, Change, Done};
use super::ranges::places;
use super::service::Namespace;
use super::space::MAX_SIZE;
use super::step::Step;
use crate::error::MetaError;
use crate::extent::{Extent, granule_ceil, granule_floor};
use crate::flags::InodeFlags;
use crate::id::InodeId;
use crate::layout::LayoutMap;
use crate::wire::{Answer, Reply};

/// Most bytes that one call copies: a fraction of a millisecond for the thread that serves its handler, and many times what the call itself
/// takes.
const COPIED: u64 = 2 << 20;

/// A byte of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) ino: InodeId,
    pub(super) offset: u64,
}

/// Bytes that follow each other in the source and in one of its extents, or in a hole.
struct Part {
    /// First byte in the target.
    start: u64,
    end: u64,
    /// The bytes; `None`: zeros.
    from: Option<Extent>,
}

impl Namespace {
    pub(super) fn copy(&mut self, step: &mut Step<'_>, from: Place, to: Place, len: u64) -> Answer {
        self.sessions.held(step.session, from.ino)?;
        let writable = self.sessions.held(step.session, to.ino)?.writable;
        let ends = |place: Place| place.offset.checked_add(len).filter(|end| *end <= MAX_SIZE);
        let (Some(_), Some(_)) = (ends(from), ends(to)) else {
            return Err(MetaError::TooBig);
        };
        let source = self.tree.get(from.ino)?.attr.size;
        let whole = len.min(source.saturating_sub(from.offset));
        match () {
            () if !writable => return Err(MetaError::AccessDenied),
            () if self.tree.get(to.ino)?.attr.flags.any(InodeFlags::IMMUTABLE) => {
                return Err(MetaError::Protected);
            }
            () if len == 0 => return Err(MetaError::Invalid),
            () if from.ino == to.ino && from.offset.abs_diff(to.offset) < whole => {
                return Err(MetaError::Invalid);
            }
            () if whole == 0 => {
                let attr = self.tree.get(to.ino)?.attr.clone();
                return Ok(Reply::Copied { len: 0, attr });
            }
            () => {}
        }
        let parts = parts(
            self.tree.layout(from.ino)?,
            self.tree.layout(to.ino)?,
            (from, to, whole),
        )?;
        let end = parts.last().map_or(to.offset, |part| part.end);
        let before = self.tree.layout(to.ino)?.allocated();
        self.make_room(to.ino, &parts)?;
        self.set_loose_tail(to.ino, true);
        let layout = self.tree.layout(to.ino)?;
        let moves = parts.iter().flat_map(|part| moves(layout, part)).collect();
        if layout.allocated() != before {
            self.tell_others(step, to.ino)?;
        }
        let change = Change {
            ino: to.ino,
            size: end,
            truncate_seq: self.tree.get(to.ino)?.attr.truncate_seq,
            done: Done::Copied(end - to.offset),
        };
        self.change_by(step, moves, change)
    }

    /// Fills the holes that get bytes: all of them or none.
    fn make_room(&mut self, ino: InodeId, parts: &[Part]) -> Result<(), MetaError> {
        let mut wanted: Vec<(u64, u64)> = Vec::new();
        for part in parts.iter().filter(|part| part.from.is_some()) {
            let (start, end) = (granule_floor(part.start), granule_ceil(part.end));
            match wanted.last_mut() {
                Some(last) if start <= last.1 => last.1 = end,
                _ => wanted.push((start, end)),
            }
        }
        let layout = self.tree.layout(ino)?;
        let holes = wanted.iter().flat_map(|(start, end)| layout.holes(*start, *end));
        let missing: u64 = holes.map(|(start, end)| end - start).sum();
        if missing > self.alloc.free_bytes() {
            return Err(self.shortage(missing));
        }
        for (start, end) in wanted {
            self.fill(ino, start, end)?;
        }
        Ok(())
    }
}

/// Cuts the source along its layout, as far as one call goes: until enough bytes are copied or zeroed, or some are lost in either file.
fn parts(
    source: &LayoutMap,
    target: &LayoutMap,
    (from, to, len): (Place, Place, u64),
) -> Result<Vec<Part>, MetaError> {
    let (mut parts, mut done, mut left) = (Vec::new(), 0, COPIED);
    while done < len && left > 0 {
        let (at, start) = (from.offset + done, to.offset + done);
        let run = source.overlapping(at, from.offset + len).next();
        let (bytes, end) = match run {
            Some(run) if run.is_lost() && run.start <= at => break,
            Some(run) if run.start <= at => {
                let end = run.end().min(from.offset + len).min(at + left);
                (places(run, at, end).next(), end)
            }
            Some(run) => (None, run.start),
            None => (None, from.offset + len),
        };
        let whole = start + (end - at);
        let (end, spent) = room(target, (start, whole), bytes.is_some(), left);
        if start < end {
            let from = bytes.and_then(|bytes| bytes.part(0, end - start));
            parts.push(Part { start, end, from });
        }
        done = end - to.offset;
        left -= spent;
        if end < whole {
            break;
        }
    }
    if parts.is_empty() {
        return Err(MetaError::Lost);
    }
    Ok(parts)
}

/// How far `[start, end)` of the target can be overwritten, with bytes or with zeros (which a hole needs none of), and how many bytes
/// that is work for.
fn room(target: &LayoutMap, (start, end): (u64, u64), bytes: bool, left: u64) -> (u64, u64) {
    let mut spent = 0;
    for run in target.overlapping(start, end) {
        let at = run.start.max(start);
        if run.is_lost() {
            return (at, if bytes { at - start } else { spent });
        }
        let until = run.end().min(end);
        if !bytes && until - at >= left - spent {
            return (at + (left - spent), left);
        }
        spent += until - at;
    }
    (end, if bytes { end - start } else { spent })
}

fn moves(target: &LayoutMap, part: &Part) -> Vec<ByteMove> {
    let (start, end) = (part.start, part.end);
    let of_run = |run: &crate::layout::Run| {
        let (at, until) = (run.start.max(start), run.end().min(end));
        let from = part.from.and_then(|from| from.part(at - start, until - at));
        let to_each = places(run, at, until).map(|to| ByteMove { from, to });
        to_each.collect::<Vec<_>>()
    };
    target.overlapping(start, end).flat_map(of_run).collect()
}
