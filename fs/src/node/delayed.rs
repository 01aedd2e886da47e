//! Calls that wait until other sessions have forgotten what they change.

use rdmafs_meta::namespace::{Delayed, DelayedId};
use rdmafs_meta::wire::Call;
use rdmafs_rdma::server::PeerId;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a call waits, and to the next tick, before it is told to ask again: shorter than any handler's time limit, which counts also for
/// how long a node has not said anything.
const PATIENCE: Duration = Duration::from_millis(100);

struct DelayedCall {
    from: PeerId,
    /// The number that its answer carries.
    id: u64,
    call: Call,
    since: Duration,
}

/// All that wait. Time is an argument.
#[derive(Default)]
pub(super) struct DelayedCalls {
    waiting: BTreeMap<DelayedId, DelayedCall>,
}

impl DelayedCalls {
    /// A call of a peer waits; its answer will carry the number `id`.
    pub(super) fn insert(&mut self, delayed: Delayed, (from, id): (PeerId, u64), since: Duration) {
        let call = delayed.call;
        self.waiting.insert(
            delayed.id,
            DelayedCall {
                from,
                id,
                call,
                since,
            },
        );
    }

    /// It waits no longer. `None` when it was given up.
    pub(super) fn take(&mut self, id: DelayedId) -> Option<(PeerId, u64, Call)> {
        let delayed = self.waiting.remove(&id)?;
        Some((delayed.from, delayed.id, delayed.call))
    }

    /// The peer is gone, and so are its calls.
    pub(super) fn left(&mut self, peer: PeerId) -> Vec<DelayedId> {
        let gone = self.waiting.extract_if(.., |_, delayed| delayed.from == peer);
        gone.map(|(id, _)| id).collect()
    }

    /// Those that have waited long enough, who called, and the number that the answer carries.
    pub(super) fn late(&mut self, now: Duration) -> Vec<(DelayedId, PeerId, u64)> {
        let late = self
            .waiting
            .extract_if(.., |_, delayed| now.saturating_sub(delayed.since) >= PATIENCE);
        late.map(|(id, delayed)| (id, delayed.from, delayed.id)).collect()
    }
}
