//! The time that leases are measured by: it stands still while the node does.
//!
//! A node that was stopped, or whose host slept, finds all leases run out when it goes on, while the renewals of its handlers wait in
//! its sockets. To end those sessions would lose what they have written for no fault of theirs. So a step much longer than a tick is
//! taken for a standstill and not counted. That is safe: the end of a lease permits nothing but to fence its session.

use parking_lot::Mutex;
use std::time::Duration;

/// A step between ticks that is longer than this was none of the node's own making.
const LONGEST_STEP: Duration = Duration::from_secs(3);

/// Takes standstills out of a monotonic clock.
#[derive(Debug, Default)]
pub(super) struct LeaseTime {
    /// A leaf lock.
    state: Mutex<Standstill>,
}

#[derive(Debug, Default)]
struct Standstill {
    /// The clock at the last tick.
    ticked: Option<Duration>,
    stood_still: Duration,
}

impl LeaseTime {
    /// The time of leases when the clock says `now`.
    pub(super) fn at(&self, now: Duration) -> Duration {
        now.saturating_sub(self.state.lock().stood_still)
    }

    /// A tick, and the clock. Says for how long the node stood still since the last one.
    pub(super) fn tick(&self, now: Duration) -> Option<Duration> {
        let mut state = self.state.lock();
        let step = now.saturating_sub(state.ticked.unwrap_or(now));
        state.ticked = Some(now);
        let stood_still = (step > LONGEST_STEP).then_some(step)?;
        state.stood_still += stood_still;
        Some(stood_still)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standstill_is_not_counted_and_a_late_tick_is() {
        let s = Duration::from_secs;
        let time = LeaseTime::default();
        assert_eq!(time.tick(s(100)), None, "the first tick");
        assert_eq!(time.tick(s(101)), None);
        assert_eq!(time.tick(s(104)), None, "late, but ticking");
        assert_eq!(time.at(s(104)), s(104));
        assert_eq!(time.tick(s(144)), Some(s(40)));
        assert_eq!(time.at(s(144)), s(104));
        assert_eq!(time.tick(s(145)), None);
        assert_eq!(time.at(s(146)), s(106));
    }
}
