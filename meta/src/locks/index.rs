//! Which locks of others exclude a lock: found in steps by the logarithm of how many there are.
//!
//! Each slot has its locks in the order of their first bytes. Of each part of it is known how far its locks reach, and how far those of all
//! other owners than the one whose lock reaches farthest: so an owner's own locks cost no steps.

use super::balanced::{Balanced, Search, Steps, Summary};
use super::slot::Slot;
use crate::id::{LockOwner, SessionId};
use crate::lock::{Lock, Span};
use std::ops::RangeInclusive;

/// An owner, of all sessions.
pub(super) type Holder = (SessionId, LockOwner);

/// When a waiter came, as a number that rises; 0: the lock is held.
pub(super) type Arrival = u64;

/// Where a lock stands in its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) start: u64,
    pub(super) holder: Holder,
    pub(super) arrival: Arrival,
}

/// A lock that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) slot: Slot,
    pub(super) place: Place,
}

/// What is looked for: locks of others that exclude this one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Obstacle {
    pub(super) holder: Holder,
    pub(super) lock: Lock,
    /// Only of those who came before this; what is held did.
    pub(super) before: Arrival,
}

/// Locks by slot and first byte.
#[derive(Debug, Default)]
pub(super) struct Index {
    slots: [Balanced<Place, u64, Reach>; Slot::COUNT],
}

/// How far the locks of a part of a slot reach.
#[derive(Clone, Copy, Debug)]
struct Reach {
    start: u64,
    arrival: Arrival,
    farthest: (u64, Holder),
    /// Of all others than the farthest one's holder.
    other: Option<(u64, Holder)>,
}

impl Summary<Place, u64> for Reach {
    fn of(place: &Place, last: &u64) -> Self {
        Self {
            start: place.start,
            arrival: place.arrival,
            farthest: (*last, place.holder),
            other: None,
        }
    }

    fn with(self, more: Self) -> Self {
        let (far, near) = match self.farthest.0 >= more.farthest.0 {
            true => (self, more),
            false => (more, self),
        };
        let holder = far.farthest.1;
        let others = [far.other, Some(near.farthest), near.other];
        let others = others.into_iter().flatten().filter(|(_, other)| *other != holder);
        Self {
            start: self.start.min(more.start),
            arrival: self.arrival.min(more.arrival),
            farthest: far.farthest,
            other: others.max_by_key(|(last, _)| *last),
        }
    }
}

impl Reach {
    fn may_have(&self, obstacle: &Obstacle) -> bool {
        let last = match self.farthest {
            (last, holder) if holder != obstacle.holder => Some(last),
            _ => self.other.map(|(last, _)| last),
        };
        let span = obstacle.lock.span;
        let reaches = last.is_some_and(|last| last >= span.start());
        reaches && self.start <= span.last() && self.arrival < obstacle.before
    }
}

impl Index {
    pub(super) fn len(&self) -> usize {
        self.slots.iter().map(Balanced::len).sum()
    }

    pub(super) fn insert(&mut self, holder: Holder, lock: &Lock, arrival: Arrival) {
        let (slot, place) = at(holder, lock, arrival);
        self.slots[slot.number()].insert(place, lock.span.last());
    }

    pub(super) fn remove(&mut self, holder: Holder, lock: &Lock, arrival: Arrival) {
        let (slot, place) = at(holder, lock, arrival);
        let removed = self.slots[slot.number()].remove(&place);
        debug_assert!(removed.is_some(), "{holder:?} {lock:?} has no place");
    }

    /// Removes what a holder has in a slot with first bytes in a range: these locks.
    pub(super) fn remove_range(
        &mut self,
        holder: Holder,
        slot: Slot,
        starts: &RangeInclusive<u64>,
        locks: &[Lock],
    ) {
        let places = &mut self.slots[slot.number()];
        if locks.len() > places.len() / 8 {
            places.retain(|place, _| place.holder != holder || !starts.contains(&place.start));
            return;
        }
        for lock in locks {
            self.remove(holder, lock, 0);
        }
    }

    /// The obstacle that starts first.
    pub(super) fn first(&self, obstacle: &Obstacle, steps: &mut Steps) -> Option<Found> {
        let slots = Slot::excluded_by(&obstacle.lock);
        let found = slots.filter_map(|slot| self.in_slot(slot, None, obstacle, steps));
        found.min_by_key(|found| found.place)
    }

    /// Any obstacle, or after one of them the next, slot by slot.
    pub(super) fn next(&self, after: Option<Found>, obstacle: &Obstacle, steps: &mut Steps) -> Option<Found> {
        let slots = Slot::excluded_by(&obstacle.lock);
        let mut slots = slots.skip_while(|slot| after.is_some_and(|after| after.slot != *slot));
        slots.find_map(|slot| {
            let after = after.filter(|after| after.slot == slot);
            self.in_slot(slot, after.map(|after| after.place), obstacle, steps)
        })
    }

    /// Whether any lock has a byte of the span.
    pub(super) fn is_touched(&self, span: Span, steps: &mut Steps) -> bool {
        self.slots.iter().any(|places| {
            let reaches = |reach: &Reach| reach.start <= span.last() && reach.farthest.0 >= span.start();
            let search = Search {
                after: None,
                may_be_in: &reaches,
            };
            places.first(&search, steps).is_some()
        })
    }

    fn in_slot(
        &self,
        slot: Slot,
        after: Option<Place>,
        obstacle: &Obstacle,
        steps: &mut Steps,
    ) -> Option<Found> {
        let search = Search {
            after: after.as_ref(),
            may_be_in: &|reach: &Reach| reach.may_have(obstacle),
        };
        let (place, _) = self.slots[slot.number()].first(&search, steps)?;
        let place = *place;
        Some(Found { slot, place })
    }
}

fn at(holder: Holder, lock: &Lock, arrival: Arrival) -> (Slot, Place) {
    let start = lock.span.start();
    let place = Place {
        start,
        holder,
        arrival,
    };
    (Slot::of(lock), place)
}
