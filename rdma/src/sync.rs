//! What threads meet through. The code whose interleavings are explored (`tests/interleavings`) takes it from here, so that the explorer's
//! can stand in its place.

pub(crate) use parking_lot::Mutex;
pub(crate) use std::sync::atomic::{AtomicU32, Ordering, fence};
