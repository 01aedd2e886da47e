//! The locks of one file and the queue for them.
//!
//! Who waits is served in the order of arrival, as far as holders allow. A new request that a holder would let in is held back for those
//! who waited before it, so that readers who come and go cannot keep a writer out; but only for [`PATIENCE`], since somebody may hold
//! one such lock and need another one before it gives the first back, as it may on a local file system.

use super::owned::Owned;
use crate::id::{LockOwner, LockTicket, SessionId};
use crate::lock::{Lock, LockKind};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a request is held back for those who came before it.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// An owner, of all sessions.
pub(super) type Holder = (SessionId, LockOwner);

/// Somebody in the queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiter {
    pub(super) session: SessionId,
    pub(super) ticket: LockTicket,
    pub(super) lock: Lock,
    pub(super) since: Duration,
}

impl Waiter {
    pub(super) fn holder(&self) -> Holder {
        (self.session, self.lock.owner)
    }
}

/// The locks of a file.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) owners: BTreeMap<Holder, Owned>,
    /// In the order of their arrival.
    pub(super) queue: Vec<Waiter>,
}

impl File {
    pub(super) fn is_idle(&self) -> bool {
        self.owners.is_empty() && self.queue.is_empty()
    }

    /// Locks in the file.
    pub(super) fn len(&self) -> usize {
        self.owners.values().map(Owned::len).sum()
    }

    /// What others have that excludes this lock of the holder.
    pub(super) fn in_the_way<'a>(
        &'a self,
        holder: Holder,
        lock: &'a Lock,
    ) -> impl Iterator<Item = (Holder, &'a Lock)> {
        let others = self.owners.iter().filter(move |(other, _)| **other != holder);
        let all = others.flat_map(|(other, owned)| owned.iter().map(|held| (*other, held)));
        all.filter(move |(_, held)| held.excludes(lock))
    }

    /// True while one of the first `before` in the queue is to have it first. Who waits for something that the holder has itself
    /// cannot go before it.
    pub(super) fn is_held_back(&self, holder: Holder, lock: &Lock, before: usize) -> bool {
        let goes_first = |waiter: &Waiter| {
            let owned = self.owners.get(&holder);
            let waits_for_it =
                || owned.is_some_and(|owned| owned.iter().any(|held| held.excludes(&waiter.lock)));
            waiter.holder() != holder && waiter.lock.excludes(lock) && !waits_for_it()
        };
        self.queue[..before].iter().any(goes_first)
    }

    /// Gives the holder the lock, under the ticket.
    pub(super) fn set(&mut self, session: SessionId, ticket: LockTicket, lock: Lock) {
        let owned = self.owners.entry((session, lock.owner)).or_default();
        owned.set(lock);
        owned.last = Some((ticket, lock));
    }

    /// flock(2) gives up what it has before it takes something else; what it has already stays.
    pub(super) fn prepare_flock(&mut self, holder: Holder, lock: &Lock) {
        let Some(owned) = self
            .owners
            .get_mut(&holder)
            .filter(|_| lock.kind == LockKind::Flock)
        else {
            return;
        };
        let same = |held: &Lock| held.kind == LockKind::Flock && held.exclusive == lock.exclusive;
        if !owned.iter().any(same) {
            owned.cut(lock.span, LockKind::Flock);
        }
        self.drop_if_empty(holder);
    }

    pub(super) fn drop_if_empty(&mut self, holder: Holder) {
        if self.owners.get(&holder).is_some_and(Owned::is_empty) {
            self.owners.remove(&holder);
        }
    }

    /// Gives locks to those in the queue whose turn it is, and takes them out of it.
    pub(super) fn grant(&mut self, now: Duration) -> Vec<Waiter> {
        let mut granted = Vec::new();
        let mut at = 0;
        while at < self.queue.len() {
            let waiter = self.queue[at];
            if !self.may_have(at, &waiter, now) {
                at += 1;
                continue;
            }
            self.queue.remove(at);
            // One who gives up part of what it had lets others in who came before.
            if self.owners.contains_key(&waiter.holder()) {
                at = 0;
            }
            self.set(waiter.session, waiter.ticket, waiter.lock);
            granted.push(waiter);
        }
        granted
    }

    fn may_have(&self, at: usize, waiter: &Waiter, now: Duration) -> bool {
        let (holder, lock) = (waiter.holder(), &waiter.lock);
        if self.in_the_way(holder, lock).next().is_some() {
            return false;
        }
        let patient = now.saturating_sub(waiter.since) < PATIENCE;
        !(patient && self.is_held_back(holder, lock, at))
    }
}
