//! Counts what a pool's sessions say to the service and hear from it, over all connections.

use crate::control::CallTraffic;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The counts so far.
#[derive(Debug, Default)]
pub(in crate::handler) struct CallCounter {
    calls: AtomicU64,
    sent_bytes: AtomicU64,
    received_bytes: AtomicU64,
}

impl CallCounter {
    /// A call of so many bytes was sent.
    pub(in crate::handler) fn sent(&self, bytes: usize) {
        self.calls.fetch_add(1, Relaxed);
        self.sent_bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// An answer or a notice came.
    pub(in crate::handler) fn received(&self, bytes: usize) {
        self.received_bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// For `status`.
    pub(in crate::handler) fn traffic(&self) -> CallTraffic {
        CallTraffic {
            count: self.calls.load(Relaxed),
            sent_bytes: self.sent_bytes.load(Relaxed),
            received_bytes: self.received_bytes.load(Relaxed),
        }
    }
}
