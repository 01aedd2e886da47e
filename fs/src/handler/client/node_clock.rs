//! The node's wall clock, as this host knows it.
//!
//! All times of a pool are of one clock, the node's, so that they can be compared whichever host wrote. A write asks nobody: its time is
//! computed from what the node said last. The node reads its clock between a call and its answer; taking what it read for the moment
//! when the answer came leaves the computed time behind the node's, by a round trip at most, and never ahead of it (beyond what two
//! monotonic clocks part between two renewals of the lease). It does not step back within that, and it never is before a time that the node has shown.

use crate::handler::lock_order::Mutex;
use rdmafs_meta::time::Timestamp;
use std::time::Duration;

/// A time that is further ahead than this is of a clock that was set, or was damaged: it says nothing of the present.
const AHEAD: Duration = Duration::from_secs(1);

/// A wall time, and when that was on this host's monotonic clock.
#[derive(Clone, Copy, Debug, Default)]
struct Base {
    wall: Timestamp,
    at: Duration,
}

impl Base {
    fn now(self, now: Duration) -> Timestamp {
        self.wall.plus(now.saturating_sub(self.at))
    }
}

/// The node's clock. All times but [`Timestamp`]s are of one monotonic clock of this host.
#[derive(Debug, Default)]
pub(in crate::handler) struct NodeClock {
    base: Mutex<Base>,
}

impl NodeClock {
    /// The node said what its clock showed, in the answer that came at `heard` to what was asked at `sent`.
    pub(in crate::handler) fn said(&self, wall: Timestamp, sent: Duration, heard: Duration) {
        let mut base = self.base.lock();
        let latest = wall.plus(heard.saturating_sub(sent));
        let wall = base.now(heard).clamp(wall, latest);
        *base = Base { wall, at: heard };
    }

    /// The node has shown a time that it stamped: it is past.
    pub(in crate::handler) fn shown(&self, time: Timestamp, now: Duration) {
        let mut base = self.base.lock();
        let known = base.now(now);
        if time > known && time <= known.plus(AHEAD) {
            *base = Base { wall: time, at: now };
        }
    }

    /// What the node's clock shows at `now`.
    pub(in crate::handler) fn wall(&self, now: Duration) -> Timestamp {
        self.base.lock().now(now)
    }

    /// The time of a write that ends at `now`, to a file whose ctime was `before`: times of a file do not go back.
    pub(in crate::handler) fn stamp(&self, before: Timestamp, now: Duration) -> Timestamp {
        let known = self.base.lock().now(now);
        if before <= known.plus(AHEAD) {
            known.max(before)
        } else {
            known
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp {
        seconds: 1_000,
        nanos: 999_000_000,
    };
    const NEVER: Timestamp = Timestamp { seconds: 0, nanos: 0 };

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_stamp_is_behind_by_a_round_trip_at_most_and_never_ahead() {
        let clock = NodeClock::default();
        // The node read its clock somewhere between 100 and 110.
        clock.said(START, ms(100), ms(110));
        assert_eq!(clock.stamp(NEVER, ms(110)), START);
        assert_eq!(clock.stamp(NEVER, ms(2_110)), START.plus(ms(2_000)));
        // A slower answer does not set it back, and a quicker one brings it nearer.
        clock.said(START.plus(ms(2_000)), ms(2_110), ms(2_150));
        assert_eq!(clock.stamp(NEVER, ms(2_150)), START.plus(ms(2_040)));
        clock.said(START.plus(ms(3_004)), ms(3_110), ms(3_111));
        assert_eq!(clock.stamp(NEVER, ms(3_111)), START.plus(ms(3_004)));
    }

    #[test]
    fn a_clock_that_was_set_is_followed() {
        let clock = NodeClock::default();
        clock.said(START, ms(0), ms(1));
        for wall in [START.plus(ms(3_600_000)), START] {
            clock.said(wall, ms(5_000), ms(5_002));
            let stamp = clock.stamp(NEVER, ms(5_002));
            assert!(stamp >= wall && stamp <= wall.plus(ms(2)), "{stamp:?}");
        }
    }

    #[test]
    fn what_the_node_has_shown_is_past() {
        let clock = NodeClock::default();
        clock.said(START, ms(0), ms(10));
        let observed = START.plus(ms(7));
        clock.shown(observed, ms(10));
        assert_eq!(clock.stamp(NEVER, ms(11)), observed.plus(ms(1)));
        clock.shown(START, ms(11));
        clock.shown(START.plus(ms(60_000)), ms(11));
        assert_eq!(
            clock.stamp(NEVER, ms(11)),
            observed.plus(ms(1)),
            "of no present clock"
        );
        assert_eq!(
            clock.stamp(observed.plus(ms(5)), ms(11)),
            observed.plus(ms(5)),
            "no file's time goes back"
        );
        assert_eq!(clock.stamp(START.plus(ms(60_000)), ms(11)), observed.plus(ms(1)));
    }
}
