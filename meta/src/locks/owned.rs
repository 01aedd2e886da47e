//! The locks that one owner has in one file.

use super::bounds::Account;
use super::slot::Slot;
use crate::id::LockTicket;
use crate::lock::{Lock, LockKind, Span};
use std::collections::BTreeMap;

/// A lock, and who took it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) lock: Lock,
    pub(super) account: Account,
}

/// Of kinds that see each other no two overlap: an owner's later lock takes the place of its earlier ones.
#[derive(Debug, Default)]
pub(super) struct Owned {
    /// By first byte.
    locks: BTreeMap<(Slot, u64), Held>,
    /// What was granted last, if its owner has asked for nothing since.
    pub(super) last: Option<(LockTicket, Lock)>,
}

impl Owned {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Held> {
        self.locks.values()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.locks.is_empty()
    }

    pub(super) fn get(&self, slot: Slot, start: u64) -> Option<&Held> {
        self.locks.get(&(slot, start))
    }

    pub(super) fn has_any(&self, slot: Slot) -> bool {
        self.within(slot, Span::WHOLE).next().is_some()
    }

    /// Whether any of them excludes the lock, whoever asks.
    pub(super) fn excludes(&self, lock: &Lock) -> bool {
        Slot::excluded_by(lock).any(|slot| self.within(slot, lock.span).next().is_some())
    }

    pub(super) fn insert(&mut self, held: Held) {
        let before = self.locks.insert(key(&held.lock), held);
        debug_assert!(before.is_none(), "{before:?} is in the place of {held:?}");
    }

    pub(super) fn remove(&mut self, lock: &Lock) {
        self.locks.remove(&key(lock));
    }

    /// Takes out what has bytes of the span, of one slot.
    pub(super) fn take(&mut self, slot: Slot, span: Span) -> Vec<Held> {
        let Some(first) = self.within(slot, span).next() else {
            return Vec::new();
        };
        let range = key(&first.lock)..=(slot, span.last());
        let taken = self.locks.extract_if(range, |_, _| true);
        taken.map(|(_, held)| held).collect()
    }

    /// The neighbours of a lock that are like it: together they are one lock.
    pub(super) fn alike(&self, held: &Held) -> impl Iterator<Item = Held> + use<> {
        let (slot, start) = key(&held.lock);
        let before = self.locks.range(..(slot, start)).next_back();
        let after = held.lock.span.last() + 1;
        let neighbours = [before.map(|(_, held)| *held), self.get(slot, after).copied()];
        let held = *held;
        let alike =
            move |other: &Held| is_alike(other, &held) && other.lock.span.joined(held.lock.span).is_some();
        neighbours.into_iter().flatten().filter(alike)
    }

    /// How many locks more its owner has with this one in the place of what is in its span: at most [`ADDED`](super::bounds::ADDED).
    pub(super) fn growth(&self, held: &Held) -> usize {
        let lock = &held.lock;
        let slots = Slot::observed_by(lock.kind);
        let hits: Vec<&Held> = slots
            .flat_map(|slot| self.within(slot, lock.span).take(3))
            .collect();
        let cut = hits.iter().filter(|hit| !is_alike(hit, held));
        let left: usize = cut.map(|hit| hit.lock.span.without(lock.span).count()).sum();
        (1 + left).saturating_sub(hits.len() + self.alike(held).count())
    }

    /// The locks of which the span is the middle: without it they are two.
    pub(super) fn split(&self, span: Span, kind: LockKind) -> impl Iterator<Item = &Held> {
        let around = move |held: &&Held| held.lock.span.without(span).count() > 1;
        let first = move |slot| self.within(slot, span).next().filter(around);
        Slot::observed_by(kind).filter_map(first)
    }

    /// What has bytes of the span, of one slot.
    fn within(&self, slot: Slot, span: Span) -> impl Iterator<Item = &Held> + use<'_> {
        let before = self.locks.range((slot, 0)..=(slot, span.start())).next_back();
        let reaches = before.filter(|(_, held)| held.lock.span.overlaps(span));
        let from = reaches.map_or((slot, span.start()), |(key, _)| *key);
        self.locks.range(from..=(slot, span.last())).map(|(_, held)| held)
    }
}

/// True when they differ in their bytes only, whoever of those who share the owner took them: together they are one lock, of who came last.
fn is_alike(one: &Held, other: &Held) -> bool {
    let span = other.lock.span;
    Lock { span, ..one.lock } == other.lock
}

fn key(lock: &Lock) -> (Slot, u64) {
    (Slot::of(lock), lock.span.start())
}
