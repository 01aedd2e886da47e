//! Locks with the interface of `parking_lot`.

use super::memory::{Access, Memory};
use std::ops::{Deref, DerefMut};
use std::time::Duration;

/// A lock.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(loom::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard(Some(self.0.lock().expect("loom's locks are not poisoned")))
    }
}

/// A lock that is held. It is empty only while a [`Condvar`] has it.
pub(crate) struct MutexGuard<'a, T>(Option<loom::sync::MutexGuard<'a, T>>);

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.0.as_ref().expect("it is held")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect("it is held")
    }
}

/// Waits under a lock.
#[derive(Debug)]
pub(crate) struct Condvar(loom::sync::Condvar);

impl Default for Condvar {
    fn default() -> Self {
        Self(loom::sync::Condvar::new())
    }
}

impl Condvar {
    pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        let held = guard.0.take().expect("it is held");
        guard.0 = Some(self.0.wait(held).expect("loom's locks are not poisoned"));
    }

    /// No play has time in it.
    pub(crate) fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, _timeout: Duration) {
        self.wait(guard);
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}

/// What something else keeps to one thread at a time: no lock, and two threads that meet in it, or come to it without an order between
/// them, fail the play.
#[derive(Debug, Default)]
pub(crate) struct Exclusive<T> {
    // Never waited for.
    value: std::sync::Mutex<T>,
    memory: Memory,
}

impl<T> Exclusive<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            value: std::sync::Mutex::new(value),
            memory: Memory::default(),
        }
    }

    pub(crate) fn lock(&self) -> ExclusiveGuard<'_, T> {
        let access = self.memory.write();
        let value = self.value.try_lock().expect("one thread at a time is here");
        ExclusiveGuard {
            value,
            _access: access,
        }
    }
}

/// The value of an [`Exclusive`], while a thread has it.
pub(crate) struct ExclusiveGuard<'a, T> {
    value: std::sync::MutexGuard<'a, T>,
    _access: Access,
}

impl<T> Deref for ExclusiveGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for ExclusiveGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}
