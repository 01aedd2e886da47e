//! The locks of one file and the queue for them.
//!
//! Who waits is served in the order of arrival, as far as holders allow. A new request that a holder would let in is held back for those
//! who waited before it, so that readers who come and go cannot keep a writer out; but only for [`PATIENCE`], since somebody may hold
//! one such lock and need another one before it gives the first back, as it may on a local file system.

use super::balanced::Steps;
use super::bounds::{Account, Tallies, Tally};
use super::index::{Arrival, Holder, Index, Obstacle};
use super::owned::{Held, Owned};
use super::queue::{Queue, Waiter};
use super::slot::Slot;
use super::unsettled::{Freed, both};
use crate::id::{LockOwner, SessionId};
use crate::lock::{Lock, LockKind, Span};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a request is held back for those who came before it.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// So many in the queue are looked at for one who is to have a lock first. Those who wait for the same owner in any case are passed over;
/// of more than that many nobody else is looked for.
const LOOKED_AT: usize = 64;

/// The locks of a file.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) owners: BTreeMap<Holder, Owned>,
    pub(super) held: Index,
    pub(super) queue: Queue,
    pub(super) tally: Tally,
}

impl File {
    pub(super) fn is_idle(&self) -> bool {
        self.owners.is_empty() && self.queue.len() == 0
    }

    /// True when the session has locks in the file or waits for any.
    pub(super) fn is_used_by(&self, session: SessionId) -> bool {
        let has_locks = self.owners_of(session).next().is_some();
        has_locks || self.queue.of_session(session).next().is_some()
    }

    pub(super) fn owners_of(&self, session: SessionId) -> impl Iterator<Item = Holder> + use<'_> {
        let owners = (session, LockOwner(0))..=(session, LockOwner(u64::MAX));
        self.owners.range(owners).map(|(holder, _)| *holder)
    }

    /// What another one has that excludes this lock of the holder: the lock that starts first.
    pub(super) fn in_the_way(
        &self,
        holder: Holder,
        lock: &Lock,
        steps: &mut Steps,
    ) -> Option<(Holder, &Held)> {
        let obstacle = Obstacle {
            holder,
            lock: *lock,
            before: Arrival::MAX,
        };
        let found = self.held.first(&obstacle, steps)?;
        let owned = self.owners.get(&found.place.holder)?;
        Some((found.place.holder, owned.get(found.slot, found.place.start)?))
    }

    /// True while one of those who came before is to have it first. Who waits for something that the holder has itself
    /// cannot go before it.
    pub(super) fn is_held_back(&self, obstacle: &Obstacle, steps: &mut Steps) -> bool {
        let owned = self.owners.get(&obstacle.holder);
        let waits_for_it = |waiter: &Waiter| owned.is_some_and(|owned| owned.excludes(&waiter.lock));
        let mut ahead = self.queue.excluded_by(obstacle, LOOKED_AT, steps);
        ahead.any(|waiter| !waits_for_it(waiter))
    }

    /// True when somebody waits for this lock of the holder.
    pub(super) fn is_waited_for(&self, holder: Holder, lock: &Lock, steps: &mut Steps) -> bool {
        let obstacle = Obstacle {
            holder,
            lock: *lock,
            before: Arrival::MAX,
        };
        self.queue.excluded_by(&obstacle, 1, steps).next().is_some()
    }

    /// True when one in the queue may have what it waits for.
    pub(super) fn may_have(&self, arrival: Arrival, now: Duration, steps: &mut Steps) -> bool {
        let Some(waiter) = self.queue.get(arrival) else {
            return false;
        };
        if self.in_the_way(waiter.holder(), &waiter.lock, steps).is_some() {
            return false;
        }
        let obstacle = Obstacle {
            holder: waiter.holder(),
            lock: waiter.lock,
            before: arrival,
        };
        let patient = now.saturating_sub(waiter.since) < PATIENCE;
        !(patient && self.is_held_back(&obstacle, steps))
    }

    /// Whether the account may have the lock for the holder.
    pub(super) fn has_room(&self, tallies: &Tallies, holder: Holder, held: &Held) -> bool {
        let more = match self.owners.get(&holder) {
            Some(owned) => owned.growth(held),
            None => 1,
        };
        let has_room = self.tally.has_room(&tallies.limits.of_file, held.account, more);
        has_room && tallies.has_room(holder.0, held.account, more)
    }

    /// Whether the account may wait.
    pub(super) fn has_room_to_wait(&self, tallies: &Tallies, holder: Holder, account: Account) -> bool {
        let has_room = self.tally.has_room_to_wait(&tallies.limits.of_file, account);
        has_room && tallies.has_room_to_wait(holder.0, account)
    }

    /// Whether the holder may give the span up: it makes one lock two where it is the middle.
    pub(super) fn may_cut(&self, tallies: &Tallies, holder: Holder, (span, kind): (Span, LockKind)) -> bool {
        let Some(owned) = self.owners.get(&holder) else {
            return true;
        };
        let split: Vec<&Held> = owned.split(span, kind).collect();
        let more = split.len();
        split.iter().all(|held| {
            let has_room = self.tally.has_room(&tallies.limits.of_file, held.account, more);
            has_room && tallies.has_room(holder.0, held.account, more)
        })
    }

    /// Gives the holder the lock in the place of what it has in its span. Gives the bytes of which others may have more now.
    pub(super) fn set(&mut self, tallies: &mut Tallies, holder: Holder, mut held: Held) -> Option<Freed> {
        let lock = held.lock;
        let cut = self.cut(tallies, holder, (lock.span, lock.kind));
        let alike: Vec<Held> = match self.owners.get(&holder) {
            Some(owned) => owned.alike(&held).collect(),
            None => Vec::new(),
        };
        for other in alike {
            self.remove(tallies, holder, &other);
            held.lock.span = held.lock.span.joined(other.lock.span).unwrap_or(held.lock.span);
        }
        self.insert(tallies, holder, held);
        cut.filter(|cut| cut.other_than(Slot::of(&lock)))
            .map(|cut| cut.freed())
    }

    /// Takes a span out of all locks of the holder of kinds that see this one. `None`: there are none.
    pub(super) fn cut(
        &mut self,
        tallies: &mut Tallies,
        holder: Holder,
        (span, kind): (Span, LockKind),
    ) -> Option<Cut> {
        let mut cut: Option<Cut> = None;
        for slot in Slot::observed_by(kind) {
            let Some(hits) = self.owners.get_mut(&holder).map(|owned| owned.take(slot, span)) else {
                break;
            };
            let (Some(first), Some(last)) = (hits.first(), hits.last()) else {
                continue;
            };
            let locks: Vec<Lock> = hits.iter().map(|held| held.lock).collect();
            let starts = first.lock.span.start()..=last.lock.span.start();
            self.held.remove_range(holder, slot, &starts, &locks);
            let hull = within((first.lock.span.start(), last.lock.span.last()), span);
            cut = Some(Cut::with(cut, slot, hull, hits.len()));
            self.discount(tallies, holder.0, &hits);
            for held in [*first, *last].into_iter().take(hits.len()) {
                self.keep_rest(tallies, holder, held, span);
            }
        }
        self.drop_if_empty(holder);
        cut
    }

    /// flock(2) gives up what it has before it takes something else; what it has already stays.
    pub(super) fn prepare_flock(
        &mut self,
        tallies: &mut Tallies,
        holder: Holder,
        lock: &Lock,
    ) -> Option<Freed> {
        let owned = self.owners.get(&holder);
        let owned = owned.filter(|_| lock.kind == LockKind::Flock)?;
        if owned.has_any(Slot::of(lock)) {
            return None;
        }
        let cut = self.cut(tallies, holder, (lock.span, LockKind::Flock));
        cut.map(|cut| cut.freed())
    }

    pub(super) fn push(&mut self, tallies: &mut Tallies, arrival: Arrival, waiter: Waiter) {
        self.tally.change(waiter.account, |count| count.waiting += 1);
        tallies.change(waiter.session, waiter.account, |count| count.waiting += 1);
        self.queue.push(arrival, waiter);
    }

    pub(super) fn take_waiter(&mut self, tallies: &mut Tallies, arrival: Arrival) -> Option<Waiter> {
        let waiter = self.queue.remove(arrival)?;
        self.tally.change(waiter.account, |count| count.waiting -= 1);
        tallies.change(waiter.session, waiter.account, |count| count.waiting -= 1);
        Some(waiter)
    }

    /// What is left of a lock without the span.
    fn keep_rest(&mut self, tallies: &mut Tallies, holder: Holder, held: Held, span: Span) {
        for span in held.lock.span.without(span) {
            let lock = Lock { span, ..held.lock };
            self.insert(tallies, holder, Held { lock, ..held });
        }
    }

    fn insert(&mut self, tallies: &mut Tallies, holder: Holder, held: Held) {
        self.held.insert(holder, &held.lock, 0);
        self.owners.entry(holder).or_default().insert(held);
        self.tally.change(held.account, |count| count.held += 1);
        tallies.change(holder.0, held.account, |count| count.held += 1);
    }

    fn remove(&mut self, tallies: &mut Tallies, holder: Holder, held: &Held) {
        self.held.remove(holder, &held.lock, 0);
        if let Some(owned) = self.owners.get_mut(&holder) {
            owned.remove(&held.lock);
        }
        self.discount(tallies, holder.0, std::slice::from_ref(held));
    }

    fn discount(&mut self, tallies: &mut Tallies, session: SessionId, gone: &[Held]) {
        for held in gone {
            self.tally.change(held.account, |count| count.held -= 1);
            tallies.change(session, held.account, |count| count.held -= 1);
        }
    }

    fn drop_if_empty(&mut self, holder: Holder) {
        if self.owners.get(&holder).is_some_and(Owned::is_empty) {
            self.owners.remove(&holder);
        }
    }
}

/// What was cut out of locks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    /// The bytes from the first to the last one.
    span: Span,
    /// Of these kinds.
    kind: LockKind,
    /// How many locks had some of them.
    pub(super) locks: usize,
    /// The only slot with such locks.
    slot: Option<Slot>,
}

impl Cut {
    fn with(before: Option<Cut>, slot: Slot, span: Span, locks: usize) -> Self {
        match before {
            None => Self {
                span,
                kind: slot.kind(),
                locks,
                slot: Some(slot),
            },
            Some(before) => Self {
                span: before.span.hull(span),
                kind: both(before.kind, slot.kind()),
                locks: before.locks + locks,
                slot: None,
            },
        }
    }

    pub(super) fn freed(&self) -> Freed {
        (self.span, self.kind)
    }

    /// False when all of it was of that slot.
    fn other_than(&self, slot: Slot) -> bool {
        self.slot != Some(slot)
    }
}

fn within((start, last): (u64, u64), span: Span) -> Span {
    Span::new(start.max(span.start()), last.min(span.last())).unwrap_or(span)
}
