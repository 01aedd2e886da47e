//! Counts what a pool's sessions say to the service and hear from it, over all connections.

use crate::control::CallTraffic;
use rdmafs_meta::wire::RequestKind;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The counts so far. Nothing is locked or allocated where one grows: that is on the way of each call.
#[derive(Debug)]
pub(in crate::handler) struct CallCounter {
    /// Calls, by [`RequestKind::index`].
    calls: [AtomicU64; RequestKind::ALL.len()],
    sent_bytes: AtomicU64,
    received_bytes: AtomicU64,
}

impl Default for CallCounter {
    fn default() -> Self {
        Self {
            calls: [const { AtomicU64::new(0) }; RequestKind::ALL.len()],
            sent_bytes: AtomicU64::new(0),
            received_bytes: AtomicU64::new(0),
        }
    }
}

impl CallCounter {
    /// A call of so many bytes was sent. One that the service puts off counts each time that it is sent.
    pub(in crate::handler) fn sent(&self, kind: RequestKind, bytes: usize) {
        self.calls[kind.index()].fetch_add(1, Relaxed);
        self.sent_bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// An answer or a notice came.
    pub(in crate::handler) fn received(&self, bytes: usize) {
        self.received_bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// For `status`.
    pub(in crate::handler) fn traffic(&self) -> CallTraffic {
        let counted = RequestKind::ALL.map(|kind| (kind.name(), self.calls[kind.index()].load(Relaxed)));
        let some = counted.iter().filter(|(_, count)| *count > 0);
        CallTraffic {
            count: counted.iter().map(|(_, count)| count).sum(),
            kinds: some.map(|(name, count)| ((*name).to_owned(), *count)).collect(),
            sent_bytes: self.sent_bytes.load(Relaxed),
            received_bytes: self.received_bytes.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_their_kind() {
        let counter = CallCounter::default();
        assert_eq!(counter.traffic(), CallTraffic::default());
        counter.sent(RequestKind::Make, 30);
        counter.sent(RequestKind::Lookup, 20);
        counter.sent(RequestKind::Lookup, 20);
        counter.received(5);
        let traffic = counter.traffic();
        assert_eq!(
            (traffic.count, traffic.sent_bytes, traffic.received_bytes),
            (3, 70, 5)
        );
        let kinds: Vec<_> = traffic
            .kinds
            .iter()
            .map(|(name, count)| (&**name, *count))
            .collect();
        assert_eq!(
            kinds,
            [("lookup", 2), ("make", 1)],
            "in the order of their names, none that is 0"
        );
    }
}
