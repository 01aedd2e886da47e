//! A token bucket: the one place where "at most so much per second" is counted.
//!
//! Tokens are bytes or operations. They are held as tokens times nanoseconds, so that refilling is exact: no rounding gains
//! or loses one, whatever the schedule. Over any window of length `t`, at most `depth + rate * t` tokens are taken.

use std::time::Duration;

const NANOS: u128 = 1_000_000_000;

/// Holds at most `depth` tokens and gains `rate` of them per second; starts full. A rate of 0 means no limit.
#[derive(Clone, Debug)]
pub struct Bucket {
    rate: u64,
    depth: u64,
    /// Token-nanoseconds, at most `depth * NANOS`.
    level: u128,
    /// When `level` was true.
    at: Duration,
}

impl Bucket {
    /// A full bucket. `depth` is at least 1.
    #[must_use]
    pub fn new(rate: u64, depth: u64, now: Duration) -> Self {
        let depth = depth.max(1);
        Self {
            rate,
            depth,
            level: u128::from(depth) * NANOS,
            at: now,
        }
    }

    /// Most tokens it holds.
    #[must_use]
    pub fn depth(&self) -> u64 {
        self.depth
    }

    /// Changes rate and depth from `now` on. Tokens saved under the old ones stay, as far as the new depth holds them; a bucket
    /// that had no limit becomes a full one.
    pub fn change(&mut self, rate: u64, depth: u64, now: Duration) {
        self.refill(now);
        let was_unlimited = self.rate == 0;
        self.rate = rate;
        self.depth = depth.max(1);
        self.level = if was_unlimited {
            self.full()
        } else {
            self.level.min(self.full())
        };
    }

    /// When `cost` tokens can be taken: `now`, or later. A cost above the depth is never ready: [`Duration::MAX`].
    pub fn ready_at(&mut self, cost: u64, now: Duration) -> Duration {
        if self.rate == 0 {
            return now;
        }
        if cost > self.depth {
            return Duration::MAX;
        }
        self.refill(now);
        let missing = (u128::from(cost) * NANOS).saturating_sub(self.level);
        now.saturating_add(nanoseconds(missing.div_ceil(u128::from(self.rate))))
    }

    /// Takes `cost` tokens, which [`Bucket::ready_at`] said are there.
    pub fn take(&mut self, cost: u64) {
        if self.rate == 0 {
            return;
        }
        let cost = u128::from(cost) * NANOS;
        debug_assert!(cost <= self.level, "tokens taken that are not there");
        self.level = self.level.saturating_sub(cost);
    }

    fn full(&self) -> u128 {
        u128::from(self.depth) * NANOS
    }

    /// Adds what was gained since `self.at`. Time that runs backwards gains nothing.
    fn refill(&mut self, now: Duration) {
        let elapsed = now.saturating_sub(self.at);
        let gained = u128::from(self.rate).saturating_mul(elapsed.as_nanos());
        self.level = self.level.saturating_add(gained).min(self.full());
        self.at = self.at.max(now);
    }
}

fn nanoseconds(nanos: u128) -> Duration {
    let seconds = u64::try_from(nanos / NANOS).unwrap_or(u64::MAX);
    let below = u32::try_from(nanos % NANOS).unwrap_or(0);
    Duration::new(seconds, below)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START: Duration = Duration::from_secs(7);

    #[test]
    fn at_below_and_above_the_depth() {
        let mut bucket = Bucket::new(1000, 100, START);
        assert_eq!(bucket.ready_at(99, START), START);
        assert_eq!(bucket.ready_at(100, START), START);
        assert_eq!(bucket.ready_at(101, START), Duration::MAX);
        bucket.take(100);
        assert_eq!(bucket.ready_at(1, START), START + Duration::from_millis(1));
        assert_eq!(bucket.ready_at(100, START), START + Duration::from_millis(100));
    }

    #[test]
    fn waiting_exactly_as_long_as_said_is_enough_and_less_is_not() {
        let mut bucket = Bucket::new(3, 10, START);
        bucket.take(10);
        let ready = bucket.ready_at(1, START);
        let early = ready - Duration::from_nanos(1);
        assert!(bucket.ready_at(1, early) > early);
        assert_eq!(bucket.ready_at(1, ready), ready);
    }

    #[test]
    fn idling_never_saves_more_than_the_depth() {
        let mut bucket = Bucket::new(u64::MAX, 5, START);
        bucket.take(5);
        let late = Duration::MAX;
        assert_eq!(bucket.ready_at(5, late), late);
        bucket.take(5);
        assert!(bucket.ready_at(6, late) == Duration::MAX);
    }

    #[test]
    fn extremes_do_not_overflow() {
        let mut bucket = Bucket::new(1, u64::MAX, Duration::ZERO);
        bucket.take(u64::MAX);
        assert_eq!(
            bucket.ready_at(u64::MAX, Duration::ZERO),
            Duration::from_secs(u64::MAX)
        );
        assert_eq!(bucket.ready_at(u64::MAX, Duration::MAX), Duration::MAX);
        let mut unlimited = Bucket::new(0, 0, Duration::ZERO);
        assert_eq!(unlimited.ready_at(u64::MAX, START), START);
        unlimited.take(u64::MAX);
    }

    #[test]
    fn a_change_neither_forgives_nor_grants() {
        let mut bucket = Bucket::new(100, 100, START);
        bucket.take(100);
        bucket.change(1000, 50, START);
        assert_eq!(bucket.ready_at(10, START), START + Duration::from_millis(10));
        bucket.change(0, 50, START);
        assert_eq!(bucket.ready_at(10_000, START), START);
        bucket.change(10, 50, START);
        assert_eq!(bucket.ready_at(50, START), START);
    }

    proptest! {
        /// Whatever the schedule, the takings of every window of a second stay within rate + depth.
        #[test]
        fn no_second_exceeds_rate_and_depth(
            rate in 1u64..5_000_000,
            depth in 1u64..2_000_000,
            asks in proptest::collection::vec((0u64..400_000_000, 1u64..2_000_000), 1..200),
        ) {
            let mut bucket = Bucket::new(rate, depth, Duration::ZERO);
            let mut now = Duration::ZERO;
            let mut taken: Vec<(Duration, u64)> = Vec::new();
            for (pause, cost) in asks {
                now += Duration::from_nanos(pause);
                let cost = cost.min(depth);
                let ready = bucket.ready_at(cost, now);
                // Some wait as long as they are told, some give up.
                if ready > now && pause % 2 == 0 {
                    continue;
                }
                now = ready;
                prop_assert_eq!(bucket.ready_at(cost, now), now);
                bucket.take(cost);
                taken.push((now, cost));
            }
            for (first, (start, _)) in taken.iter().enumerate() {
                let end = *start + Duration::from_secs(1);
                let sum: u64 = taken[first..].iter().take_while(|(t, _)| *t < end).map(|(_, c)| c).sum();
                prop_assert!(sum <= rate + depth, "{} over {} + {}", sum, rate, depth);
            }
        }
    }
}
