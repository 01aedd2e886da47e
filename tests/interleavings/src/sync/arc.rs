//! A counted pointer whose strong count can be read, ordered as std's is: a drop releases, the last one acquires, and reading the count
//! orders nothing.

use super::{AtomicUsize, Ordering, fence};
use std::ops::Deref;

/// A counted pointer.
#[derive(Debug)]
pub(crate) struct Arc<T> {
    strong: std::sync::Arc<AtomicUsize>,
    // The last one that is counted drops the last of these: between the two no other thread runs.
    value: std::sync::Arc<T>,
}

/// Reads the count of what it does not keep.
#[derive(Debug)]
pub(crate) struct Weak {
    strong: std::sync::Arc<AtomicUsize>,
}

impl<T> Arc<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            strong: std::sync::Arc::new(AtomicUsize::new(1)),
            value: std::sync::Arc::new(value),
        }
    }

    pub(crate) fn downgrade(this: &Self) -> Weak {
        Weak {
            strong: std::sync::Arc::clone(&this.strong),
        }
    }
}

impl<T> Clone for Arc<T> {
    fn clone(&self) -> Self {
        self.strong.fetch_add(1, Ordering::Relaxed);
        Self {
            strong: std::sync::Arc::clone(&self.strong),
            value: std::sync::Arc::clone(&self.value),
        }
    }
}

impl<T> Deref for Arc<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Drop for Arc<T> {
    fn drop(&mut self) {
        if self.strong.fetch_sub(1, Ordering::Release) == 1 {
            fence(Ordering::Acquire);
        }
    }
}

impl Weak {
    pub(crate) fn strong_count(&self) -> usize {
        self.strong.load(Ordering::Relaxed)
    }
}
