//! Who waits for locks of one file.

use super::balanced::{Balanced, Search, Steps, Summary};
use super::bounds::Account;
use super::index::{Arrival, Holder, Index, Obstacle};
use crate::id::{LockOwner, LockTicket, SessionId};
use crate::lock::{Lock, Span};
use std::collections::BTreeSet;
use std::time::Duration;

/// Somebody in the queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiter {
    pub(super) session: SessionId,
    pub(super) account: Account,
    pub(super) ticket: LockTicket,
    pub(super) lock: Lock,
    pub(super) since: Duration,
}

impl Waiter {
    pub(super) fn holder(&self) -> Holder {
        (self.session, self.lock.owner)
    }
}

/// The waiters, in the order of their arrival.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiters: Balanced<Arrival, Waiter, Hull>,
    wanted: Index,
    by_holder: BTreeSet<(Holder, Arrival)>,
}

/// The bytes that some waiters want, and those between them.
#[derive(Clone, Copy, Debug)]
struct Hull {
    start: u64,
    last: u64,
}

impl Summary<Arrival, Waiter> for Hull {
    fn of(_: &Arrival, waiter: &Waiter) -> Self {
        let (start, last) = waiter.lock.span.into();
        Self { start, last }
    }

    fn with(self, more: Self) -> Self {
        Self {
            start: self.start.min(more.start),
            last: self.last.max(more.last),
        }
    }
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.waiters.len()
    }

    /// All in the order of their arrival.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Arrival, &Waiter)> {
        self.waiters.iter().map(|(arrival, waiter)| (*arrival, waiter))
    }

    pub(super) fn get(&self, arrival: Arrival) -> Option<&Waiter> {
        self.waiters.get(&arrival)
    }

    /// One who comes last.
    pub(super) fn push(&mut self, arrival: Arrival, waiter: Waiter) {
        self.wanted.insert(waiter.holder(), &waiter.lock, arrival);
        self.by_holder.insert((waiter.holder(), arrival));
        self.waiters.insert(arrival, waiter);
    }

    pub(super) fn remove(&mut self, arrival: Arrival) -> Option<Waiter> {
        let waiter = self.waiters.remove(&arrival)?;
        self.wanted.remove(waiter.holder(), &waiter.lock, arrival);
        self.by_holder.remove(&(waiter.holder(), arrival));
        Some(waiter)
    }

    /// The next one after an arrival who wants a byte of the span.
    pub(super) fn next(&self, after: Arrival, span: Span, steps: &mut Steps) -> Option<Arrival> {
        if !self.wanted.is_touched(span, steps) {
            return None;
        }
        let search = Search {
            after: Some(&after),
            may_be_in: &|hull: &Hull| hull.start <= span.last() && hull.last >= span.start(),
        };
        let (arrival, _) = self.waiters.first(&search, steps)?;
        Some(*arrival)
    }

    /// Those in whose way a lock of somebody else is, and who came before: at most so many.
    pub(super) fn excluded_by<'a>(
        &'a self,
        obstacle: &'a Obstacle,
        most: usize,
        steps: &'a mut Steps,
    ) -> impl Iterator<Item = &'a Waiter> {
        let mut found = None;
        let arrivals = std::iter::from_fn(move || {
            found = self.wanted.next(found, obstacle, steps);
            found.map(|found| found.place.arrival)
        });
        arrivals.take(most).filter_map(|arrival| self.get(arrival))
    }

    /// The first of a holder.
    pub(super) fn first_of(&self, holder: Holder) -> Option<Arrival> {
        let range = (holder, 0)..=(holder, Arrival::MAX);
        self.by_holder.range(range).next().map(|(_, arrival)| *arrival)
    }

    /// All of a session.
    pub(super) fn of_session(&self, session: SessionId) -> impl Iterator<Item = Arrival> + use<'_> {
        let (first, last) = ((session, LockOwner(0)), (session, LockOwner(u64::MAX)));
        let range = (first, 0)..=(last, Arrival::MAX);
        self.by_holder.range(range).map(|(_, arrival)| *arrival)
    }

    /// True when all parts have the same waiters.
    pub(super) fn is_sound(&self) -> bool {
        let known =
            |(arrival, waiter): (Arrival, &Waiter)| self.by_holder.contains(&(waiter.holder(), arrival));
        let counts = [self.wanted.len(), self.by_holder.len()];
        counts == [self.len(); 2] && self.iter().all(known)
    }
}
