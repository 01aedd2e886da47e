//! Locks that know their place in the order: in debug builds whoever takes one out of order panics.
//!
//! A lock is taken only under locks of a lower rank, so two of one rank are never held together. From the outermost to the innermost:
//! [`CONNECTING`], [`POOLS`], [`LEAF`]. Almost every lock is a leaf. None is held across a wait but the outermost, while a node is connected
//! to. What an operation holds across waits (turns for pages, the bytes of an inode, its commits) are no such locks: their order is
//! written where an inode is defined, and all of them stand before all of these.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};

/// A pool is being connected to, or looked for.
pub(super) const CONNECTING: u8 = 0;
/// The pools that are reached alike.
pub(super) const POOLS: u8 = 1;
/// Everything else.
pub(super) const LEAF: u8 = 2;

thread_local! {
    /// The ranks that this thread holds, a bit for each.
    static HELD: Cell<u32> = const { Cell::new(0) };
}

/// A mutex of a rank.
#[derive(Debug, Default)]
pub(super) struct Mutex<T, const RANK: u8 = LEAF>(parking_lot::Mutex<T>);

impl<T, const RANK: u8> Mutex<T, RANK> {
    /// A lock that nobody holds.
    pub(super) const fn new(value: T) -> Self {
        Self(parking_lot::Mutex::new(value))
    }

    /// Takes it.
    pub(super) fn lock(&self) -> Guard<parking_lot::MutexGuard<'_, T>, RANK> {
        let _held = Held::new();
        let guard = self.0.lock();
        Guard { guard, _held }
    }
}

/// A lock of a rank for readers and writers.
#[derive(Debug, Default)]
pub(super) struct RwLock<T, const RANK: u8 = LEAF>(parking_lot::RwLock<T>);

impl<T, const RANK: u8> RwLock<T, RANK> {
    /// A lock that nobody holds.
    pub(super) const fn new(value: T) -> Self {
        Self(parking_lot::RwLock::new(value))
    }

    /// Takes it for reading.
    pub(super) fn read(&self) -> Guard<parking_lot::RwLockReadGuard<'_, T>, RANK> {
        let _held = Held::new();
        let guard = self.0.read();
        Guard { guard, _held }
    }

    /// Takes it for writing.
    pub(super) fn write(&self) -> Guard<parking_lot::RwLockWriteGuard<'_, T>, RANK> {
        let _held = Held::new();
        let guard = self.0.write();
        Guard { guard, _held }
    }
}

/// A lock that is held; dropping it gives it back.
pub(super) struct Guard<G, const RANK: u8> {
    guard: G,
    _held: Held<RANK>,
}

impl<G: Deref, const RANK: u8> Deref for Guard<G, RANK> {
    type Target = G::Target;
    fn deref(&self) -> &G::Target {
        &self.guard
    }
}

impl<G: DerefMut, const RANK: u8> DerefMut for Guard<G, RANK> {
    fn deref_mut(&mut self) -> &mut G::Target {
        &mut self.guard
    }
}

/// This thread holds a lock of the rank.
struct Held<const RANK: u8>;

impl<const RANK: u8> Held<RANK> {
    fn new() -> Self {
        if cfg!(debug_assertions) {
            let held = HELD.get();
            assert!(
                held >> RANK == 0,
                "a lock of rank {RANK} is taken under ranks {held:#b}"
            );
            HELD.set(held | 1 << RANK);
        }
        Self
    }
}

impl<const RANK: u8> Drop for Held<RANK> {
    fn drop(&mut self) {
        if cfg!(debug_assertions) {
            HELD.set(HELD.get() & !(1 << RANK));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_are_taken_in_their_order_and_may_be_given_back_in_any() {
        let (outer, inner) = (Mutex::<_, POOLS>::new(1), RwLock::<_, LEAF>::new(2));
        let held = outer.lock();
        let below = inner.read();
        assert_eq!(*held + *below, 3);
        drop(held);
        drop(below);
        let one = *outer.lock();
        *inner.write() += one;
        assert_eq!(*inner.read(), 3);
    }

    #[test]
    #[should_panic(expected = "a lock of rank 2 is taken under ranks 0b100")]
    fn two_leaves_are_never_held_together() {
        let (one, other) = (Mutex::<_, LEAF>::new(()), Mutex::<_, LEAF>::new(()));
        let _one = one.lock();
        let _other = other.lock();
    }
}
