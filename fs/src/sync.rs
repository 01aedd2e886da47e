//! What threads and operations meet through. The code whose interleavings are explored (`tests/interleavings`) takes it from here, so that
//! the explorer's can stand in its place.

pub(crate) use event_listener::Event;
pub(crate) use parking_lot::{Condvar, Mutex};
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU8, Ordering, fence};
// For code that reads the counts. Wakers and trait objects are only made of std's, which they name themselves.
pub(crate) use std::sync::Arc;
pub(crate) use std::thread_local;

/// A lock that is never contended, because something else admits one thread at a time. The explorer's locks nothing and fails when two
/// threads meet.
pub(crate) use parking_lot::Mutex as Exclusive;
