//! Whether a server closes: what serves a peer must know that, and nothing else of the registry.

use std::sync::atomic::{AtomicBool, Ordering};

/// Set once, for good.
#[derive(Debug, Default)]
pub(super) struct Closing(AtomicBool);

impl Closing {
    /// Nobody is let in from now on.
    pub(super) fn begin(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// True from [`Closing::begin`] on.
    pub(super) fn has_begun(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
