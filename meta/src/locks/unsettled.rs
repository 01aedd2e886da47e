//! What is left to do after something was freed: who is to be looked at, and who is held back until when.

use super::index::Arrival;
use crate::id::{InodeId, SessionId};
use crate::lock::{Lock, LockKind, Span};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

/// Bytes that others may have now, and for which kind of lock.
pub(super) type Freed = (Span, LockKind);

/// Waiters to look at in a file, in the order of their arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scan {
    /// Those who want bytes of it.
    pub(super) span: Span,
    /// By locks that see this kind.
    pub(super) kind: LockKind,
    /// Those who came after this one.
    pub(super) after: Arrival,
}

impl Scan {
    /// True when somebody else who has this lock leaves nothing to those who are to be looked at.
    pub(super) fn is_ended_by(&self, lock: &Lock) -> bool {
        let covers = lock.span.hull(self.span) == lock.span;
        let excludes_all = match self.kind {
            LockKind::Unknown => lock.kind == LockKind::Unknown,
            kind => lock.kind.sees(kind),
        };
        lock.exclusive && covers && excludes_all
    }
}

/// What is left to do.
#[derive(Debug, Default)]
pub(super) struct Unsettled {
    pub(super) scans: BTreeMap<InodeId, Scan>,
    /// The file that was looked at last: others have their turn first.
    turn: Option<InodeId>,
    /// Those who are held back, and until when.
    patient: BTreeSet<(Duration, InodeId, Arrival)>,
    /// Sessions that are over and have locks yet.
    pub(super) ending: BTreeSet<SessionId>,
}

impl Unsettled {
    /// Others may have some of these bytes: those who came after this one are looked at.
    pub(super) fn freed(&mut self, ino: InodeId, (span, kind): Freed, after: Arrival) {
        let new = Scan { span, kind, after };
        let scan = self.scans.entry(ino).or_insert(new);
        scan.span = scan.span.hull(span);
        scan.kind = both(scan.kind, kind);
        scan.after = scan.after.min(after);
    }

    pub(super) fn is_patient_until(&mut self, time: Duration, ino: InodeId, arrival: Arrival) {
        self.patient.insert((time, ino, arrival));
    }

    pub(super) fn is_not_patient(&mut self, time: Duration, ino: InodeId, arrival: Arrival) {
        self.patient.remove(&(time, ino, arrival));
    }

    /// The file has neither locks nor waiters.
    pub(super) fn is_gone(&mut self, ino: InodeId) {
        self.scans.remove(&ino);
    }

    /// True when there is something to do at this time.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        let is_late = self.patient.first().is_some_and(|(time, ..)| *time <= now);
        is_late || !self.scans.is_empty() || !self.ending.is_empty()
    }

    /// Somebody who is not held back any more.
    pub(super) fn next_impatient(&mut self, now: Duration) -> Option<(InodeId, Arrival)> {
        let (time, ino, arrival) = *self.patient.first()?;
        if time > now {
            return None;
        }
        self.patient.pop_first();
        Some((ino, arrival))
    }

    /// The file whose turn it is.
    pub(super) fn next_file(&mut self) -> Option<InodeId> {
        let after = self.turn.map_or(Bound::Unbounded, Bound::Excluded);
        let mut behind = self.scans.range((after, Bound::Unbounded));
        let next = behind.next().or_else(|| self.scans.first_key_value());
        self.turn = next.map(|(ino, _)| *ino);
        self.turn
    }
}

/// A kind that sees what each of them sees.
pub(super) fn both(one: LockKind, other: LockKind) -> LockKind {
    let is_flock = [one, other].map(|kind| kind == LockKind::Flock);
    match [one, other].contains(&LockKind::Unknown) || is_flock[0] != is_flock[1] {
        true => LockKind::Unknown,
        false => one,
    }
}
