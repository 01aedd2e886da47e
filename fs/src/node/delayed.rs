//! Calls that wait until other sessions have forgotten what they change.

use rdmafs_meta::namespace::{Delayed, DelayedId};
use rdmafs_meta::wire::Call;
use rdmafs_rdma::server::PeerId;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a call waits, and to the next tick, before it is told to ask again: shorter than any handler's time limit, which counts also for
/// how long a node has not said anything.
const PATIENCE: Duration = Duration::from_millis(100);

/// Calls of one peer that wait at once: twice as many as a handler has under way. One more is told to ask again at once, so that no peer makes
/// the node keep more.
const MOST: usize = 256;

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
    /// True when no more calls of the peer are kept.
    pub(super) fn is_full(&self, peer: PeerId) -> bool {
        let of_peer = self.waiting.values().filter(|delayed| delayed.from == peer);
        of_peer.count() >= MOST
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use rdmafs_meta::cred::Credentials;
    use rdmafs_meta::id::{RequestId, SessionId, Term};
    use rdmafs_meta::time::AccessTime;
    use rdmafs_meta::wire::Request;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn delayed(id: u64) -> Delayed {
        let call = Call {
            session: SessionId(1),
            term: Term(1),
            id: RequestId(id),
            caller: Credentials::root(),
            access_time: AccessTime::default(),
            request: Request::Sync,
            closes: Vec::new(),
        };
        let id = DelayedId(id);
        Delayed { id, call }
    }

    #[test]
    fn of_each_peer_so_many_calls_are_kept_and_none_of_one_that_left() {
        let mut calls = DelayedCalls::default();
        for id in 0..MOST as u64 {
            assert!(!calls.is_full(PeerId(1)), "{id}");
            calls.insert(delayed(id), (PeerId(1), id), S(0));
        }
        assert!(calls.is_full(PeerId(1)) && !calls.is_full(PeerId(2)));
        assert_eq!(
            calls.take(DelayedId(7)).map(|(from, id, _)| (from, id)),
            Some((PeerId(1), 7))
        );
        assert!(!calls.is_full(PeerId(1)));
        assert_eq!(calls.take(DelayedId(7)), None);
        assert_eq!(calls.left(PeerId(2)), []);
        assert_eq!(calls.left(PeerId(1)).len(), MOST - 1);
        assert_eq!(calls.late(S(9)), []);
    }

    #[test]
    fn who_has_waited_long_enough_is_named_once() {
        let mut calls = DelayedCalls::default();
        calls.insert(delayed(1), (PeerId(1), 11), S(1));
        calls.insert(delayed(2), (PeerId(2), 12), S(2));
        assert_eq!(calls.late(S(1) + PATIENCE - Duration::from_nanos(1)), []);
        assert_eq!(calls.late(S(1) + PATIENCE), [(DelayedId(1), PeerId(1), 11)]);
        assert_eq!(calls.late(S(9)), [(DelayedId(2), PeerId(2), 12)]);
        assert_eq!(calls.late(S(9)), []);
    }
}
