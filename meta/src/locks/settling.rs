//! Letting in who waits: whose turn it is after something was freed, after somebody left, and after the time for which others came first.
//!
//! A call does a part of it, [`SLICE`], and leaves the rest to the next calls and ticks.

use super::index::Arrival;
use super::table::{Grants, Locks};
use crate::id::{InodeId, SessionId};
use std::time::Duration;

/// Steps of a call after which nobody else is let in, or taken out: some ten microseconds. One more look at a waiter may add to it.
pub(super) const SLICE: usize = 2048;

impl Locks {
    /// Time passes: whoever was held back long enough is let in. True when more is to be done at once.
    pub(crate) fn tick(&mut self, now: Duration, grants: &mut Grants) -> bool {
        self.begin(now);
        while let Some(session) = self.unsettled.ending.first().copied()
            && self.steps.0 < SLICE
        {
            self.drop_some(session);
        }
        self.settle_all(grants);
        self.unsettled.is_due(self.now)
    }

    /// The session is over. Its locks go, at once or in the next ticks.
    pub(crate) fn end(&mut self, session: SessionId, grants: &mut Grants) {
        self.begin(self.now);
        self.unsettled.ending.insert(session);
        self.drop_some(session);
        self.settle_all(grants);
    }

    /// Lets those in whose turn it is in this file, then in others.
    pub(super) fn settle(&mut self, ino: InodeId, grants: &mut Grants) {
        self.scan(ino, grants);
        self.settle_all(grants);
    }

    fn settle_all(&mut self, grants: &mut Grants) {
        while self.steps.0 < SLICE
            && let Some((ino, arrival)) = self.unsettled.next_impatient(self.now)
        {
            self.steps.0 += 1;
            self.let_in(ino, arrival, grants);
        }
        while self.steps.0 < SLICE
            && let Some(ino) = self.unsettled.next_file()
        {
            self.scan(ino, grants);
        }
    }

    /// Looks at those in the file whose turn it may be.
    fn scan(&mut self, ino: InodeId, grants: &mut Grants) {
        while self.steps.0 < SLICE
            && let Some(scan) = self.unsettled.scans.get_mut(&ino)
        {
            self.steps.0 += 1;
            let file = self.files.get(&ino);
            let next = file.and_then(|file| file.queue.next(scan.after, scan.span, &mut self.steps));
            let Some(arrival) = next else {
                self.unsettled.scans.remove(&ino);
                return;
            };
            scan.after = arrival;
            self.let_in(ino, arrival, grants);
        }
    }

    /// Gives somebody what they wait for, if they may have it.
    fn let_in(&mut self, ino: InodeId, arrival: Arrival, grants: &mut Grants) {
        let Some(file) = self.files.get(&ino) else { return };
        if !file.may_have(arrival, self.now, &mut self.steps) {
            return;
        }
        if let Some(waiter) = self.dequeue(ino, arrival) {
            self.give(ino, &waiter);
            grants.push((waiter.session, waiter.ticket));
        }
    }

    /// Takes locks and waits of a session that is over, file by file.
    fn drop_some(&mut self, session: SessionId) {
        let range = (session, InodeId(0))..=(session, InodeId(u64::MAX));
        while self.steps.0 < SLICE {
            let Some((_, ino)) = self.used.range(range.clone()).next().copied() else {
                self.unsettled.ending.remove(&session);
                return;
            };
            self.steps.0 += 1;
            self.drop_all(session, ino);
            self.tidy(session, ino);
        }
    }
}
