//! Letting in who waits: whose turn it is after something was freed, after somebody left, and after the time for which others came first.
//!
//! A call does a part of it, [`SLICE`]. As long as that lets somebody in the node goes on with it at once, between the calls of others; the rest is with
//! the next calls and ticks.

use super::index::Arrival;
use super::queue::Waiter;
use super::table::{Grants, Locks};
use super::unsettled::Scan;
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

    /// True when the last call or tick let somebody in and had no time for others whose turn it may be, too.
    pub(crate) fn goes_on(&self) -> bool {
        self.has_let_in && self.unsettled.is_due(self.now)
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
            let before = *scan;
            let granted = self.let_in(ino, arrival, grants);
            let is_ended = granted.is_some_and(|waiter| self.ends(ino, before, &waiter));
            if is_ended && self.unsettled.scans.get(&ino) == Some(&before) {
                self.unsettled.scans.remove(&ino);
            }
        }
    }

    /// Gives somebody what they wait for, if they may have it.
    fn let_in(&mut self, ino: InodeId, arrival: Arrival, grants: &mut Grants) -> Option<Waiter> {
        let file = self.files.get(&ino)?;
        if !file.may_have(arrival, self.now, &mut self.steps) {
            return None;
        }
        let waiter = self.dequeue(ino, arrival)?;
        self.give(ino, &waiter);
        grants.push((waiter.session, waiter.ticket));
        self.has_let_in = true;
        Some(waiter)
    }

    /// Whether nobody else can be let in since this one is. What the same owner waits for, its own lock does not exclude.
    fn ends(&self, ino: InodeId, scan: Scan, granted: &Waiter) -> bool {
        let file = self.files.get(&ino);
        let waits = file.is_some_and(|file| file.queue.first_of(granted.holder()).is_some());
        !waits && scan.is_ended_by(&granted.lock)
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
