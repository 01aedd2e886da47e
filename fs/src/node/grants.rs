//! What each peer may touch, for the fabrics whose node checks every access (tcp).
//!
//! One lock for all peers: an access takes it shared and looks at one or two intervals; only a change of layouts takes it alone.

use parking_lot::RwLock;
use rdmafs_rdma::fabric::Verb;
use rdmafs_rdma::server::PeerId;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

/// The grants of all peers.
#[derive(Debug, Default)]
pub(super) struct Grants {
    peers: RwLock<HashMap<PeerId, Intervals>>,
}

impl Grants {
    /// Lets a peer read the range, and write it if `write`; a right that it has already stays.
    pub(super) fn grant(&self, peer: PeerId, range: Range<u64>, write: bool) {
        self.peers.write().entry(peer).or_default().grant(range, write);
    }

    /// Takes every right to the range away.
    pub(super) fn revoke(&self, peer: PeerId, range: &Range<u64>) {
        if let Some(intervals) = self.peers.write().get_mut(&peer) {
            intervals.cut(range);
        }
    }

    /// Takes all rights of a peer away.
    pub(super) fn forget(&self, peer: PeerId) {
        self.peers.write().remove(&peer);
    }

    /// True when the peer may do this to the whole range. An empty range is nothing to ask for: refused.
    pub(super) fn may(&self, peer: PeerId, verb: Verb, range: &Range<u64>) -> bool {
        self.peers
            .read()
            .get(&peer)
            .is_some_and(|intervals| intervals.may(verb, range))
    }
}

/// Disjoint intervals by their start, none empty, neighbours of equal right merged.
#[derive(Debug, Default)]
struct Intervals {
    by_start: BTreeMap<u64, Interval>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Interval {
    end: u64,
    write: bool,
}

impl Intervals {
    fn may(&self, verb: Verb, range: &Range<u64>) -> bool {
        let Some((first, _)) = self.by_start.range(..=range.start).next_back() else {
            return false;
        };
        let mut covered = range.start;
        for (start, interval) in self.by_start.range(first..) {
            let allowed = interval.write || verb == Verb::Read;
            if *start > covered || interval.end <= covered || !allowed {
                return false;
            }
            covered = interval.end;
            if covered >= range.end {
                return !range.is_empty();
            }
        }
        false
    }

    fn grant(&mut self, range: Range<u64>, write: bool) {
        if range.is_empty() {
            return;
        }
        let kept: Vec<(Range<u64>, bool)> = if write { Vec::new() } else { self.writable(&range) };
        self.cut(&range);
        self.insert(range, write);
        for (part, write) in kept {
            self.cut(&part);
            self.insert(part, write);
        }
    }

    /// The parts of the range that may be written.
    fn writable(&self, range: &Range<u64>) -> Vec<(Range<u64>, bool)> {
        self.overlapping(range)
            .into_iter()
            .filter(|(_, interval)| interval.write)
            .map(|(start, interval)| (start.max(range.start)..interval.end.min(range.end), true))
            .collect()
    }

    fn cut(&mut self, range: &Range<u64>) {
        if range.is_empty() {
            // It would make two intervals of one.
            return;
        }
        for (start, interval) in self.overlapping(range) {
            self.by_start.remove(&start);
            self.put(start..range.start.min(interval.end), interval.write);
            self.put(range.end.max(start)..interval.end, interval.write);
        }
    }

    /// All intervals that share a byte with the range.
    fn overlapping(&self, range: &Range<u64>) -> Vec<(u64, Interval)> {
        let before = self.by_start.range(..range.start).next_back();
        before
            .into_iter()
            .chain(self.by_start.range(range.clone()))
            .filter(|(_, interval)| interval.end > range.start)
            .map(|(start, interval)| (*start, *interval))
            .collect()
    }

    /// Puts an interval where nothing is and merges it with its neighbours.
    fn insert(&mut self, mut range: Range<u64>, write: bool) {
        if let Some((start, before)) = self.by_start.range(..range.start).next_back()
            && before.end == range.start
            && before.write == write
        {
            range.start = *start;
        }
        if let Some(after) = self.by_start.get(&range.end)
            && after.write == write
        {
            let end = after.end;
            self.by_start.remove(&range.end);
            range.end = end;
        }
        self.put(range, write);
    }

    fn put(&mut self, range: Range<u64>, write: bool) {
        if !range.is_empty() {
            let end = range.end;
            self.by_start.insert(range.start, Interval { end, write });
        }
    }
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "the model has 24 bytes")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: PeerId = PeerId(1);
    const B: PeerId = PeerId(2);

    #[test]
    fn a_grant_holds_for_its_bytes_and_its_peer_only() {
        let grants = Grants::default();
        grants.grant(A, 100..200, false);
        for (range, allowed) in [
            (100..200, true),
            (150..151, true),
            (99..150, false),
            (150..201, false),
            (200..201, false),
            (0..1, false),
            (150..150, false),
            (u64::MAX - 1..u64::MAX, false),
        ] {
            assert_eq!(grants.may(A, Verb::Read, &range), allowed, "{range:?}");
            assert!(!grants.may(A, Verb::Write, &range), "{range:?}");
            assert!(!grants.may(B, Verb::Read, &range), "{range:?}");
        }
        grants.forget(A);
        assert!(!grants.may(A, Verb::Read, &(100..200)));
    }

    #[test]
    fn a_read_grant_over_a_written_range_leaves_it_writable() {
        let grants = Grants::default();
        grants.grant(A, 100..200, true);
        grants.grant(A, 0..300, false);
        assert!(grants.may(A, Verb::Write, &(100..200)));
        assert!(!grants.may(A, Verb::Write, &(99..200)));
        assert!(grants.may(A, Verb::Read, &(0..300)));
    }

    #[test]
    fn revoking_cuts_the_middle_out() {
        let grants = Grants::default();
        grants.grant(A, 0..300, true);
        grants.revoke(A, &(100..200));
        grants.revoke(B, &(0..300));
        assert!(grants.may(A, Verb::Write, &(0..100)));
        assert!(grants.may(A, Verb::Write, &(200..300)));
        assert!(!grants.may(A, Verb::Read, &(99..101)));
        assert!(!grants.may(A, Verb::Read, &(199..201)));
    }

    #[test]
    fn revoking_nothing_splits_nothing() {
        let mut intervals = Intervals::default();
        intervals.grant(0..9, false);
        intervals.cut(&(7..7));
        assert_eq!(intervals.by_start.len(), 1);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Grant(Range<u64>, bool),
        Revoke(Range<u64>),
    }

    fn step() -> impl Strategy<Value = Step> {
        let range = (0..24_u64, 0..24_u64).prop_map(|(a, b)| a.min(b)..a.max(b));
        prop_oneof![
            (range.clone(), any::<bool>()).prop_map(|(range, write)| Step::Grant(range, write)),
            range.prop_map(Step::Revoke),
        ]
    }

    proptest! {
        /// Against a model that keeps the right of each byte: 0 none, 1 read, 2 write.
        #[test]
        fn intervals_agree_with_a_right_per_byte(steps in prop::collection::vec(step(), 0..40)) {
            let mut model = [0_u8; 24];
            let mut intervals = Intervals::default();
            for step in steps {
                match step {
                    Step::Grant(range, write) => {
                        for byte in range.clone() {
                            let right = &mut model[byte as usize];
                            *right = (*right).max(1 + u8::from(write));
                        }
                        intervals.grant(range, write);
                    }
                    Step::Revoke(range) => {
                        model[range.start as usize..range.end as usize].fill(0);
                        intervals.cut(&range);
                    }
                }
                for start in 0..24 {
                    for end in start + 1..=24 {
                        let least = model[start as usize..end as usize].iter().min().unwrap();
                        prop_assert_eq!(intervals.may(Verb::Read, &(start..end)), *least >= 1);
                        prop_assert_eq!(intervals.may(Verb::Write, &(start..end)), *least >= 2);
                    }
                }
            }
            let runs = 1 + model.windows(2).filter(|pair| pair[0] != pair[1]).count();
            prop_assert!(intervals.by_start.len() <= runs, "neighbours are merged");
        }
    }
}
