//! Counts a mount's requests: how many, how many wait for an answer, how long answers took.

use rdmafs_rdma::clock::{Clock, SystemClock};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The counters of one mount. All relaxed: they are shown, never decided upon.
#[derive(Debug, Default)]
pub struct Meter {
    clock: SystemClock,
    taken: AtomicU64,
    answered: AtomicU64,
    waited_ns: AtomicU64,
}

/// What a meter shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Requests answered.
    pub answered: u64,
    /// Requests taken and not answered yet.
    pub in_flight: u64,
    /// Mean time from request to answer; zero before the first answer.
    pub mean_latency: Duration,
}

impl Meter {
    /// The counters now. They are read one by one, so they may differ by the requests of this moment.
    #[must_use]
    pub fn read(&self) -> Reading {
        let answered = self.answered.load(Relaxed);
        let waited = self.waited_ns.load(Relaxed);
        Reading {
            answered,
            in_flight: self.taken.load(Relaxed).saturating_sub(answered),
            mean_latency: Duration::from_nanos(waited.checked_div(answered).unwrap_or(0)),
        }
    }

    /// Counts a request from now until the guard is dropped.
    pub(super) fn start(self: &Arc<Self>) -> Running {
        self.taken.fetch_add(1, Relaxed);
        Running {
            meter: self.clone(),
            since: self.clock.now(),
        }
    }
}

/// A request that is not answered yet.
#[derive(Debug)]
pub(super) struct Running {
    meter: Arc<Meter>,
    since: Duration,
}

impl Drop for Running {
    fn drop(&mut self) {
        let took = self.meter.clock.now().saturating_sub(self.since);
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.meter.waited_ns.fetch_add(took, Relaxed);
        self.meter.answered.fetch_add(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_counts_while_it_runs_and_when_it_is_dropped() {
        let meter = Arc::new(Meter::default());
        assert_eq!(meter.read(), Reading::default());
        let (one, two) = (meter.start(), meter.start());
        assert_eq!(meter.read().in_flight, 2);
        drop(one);
        let reading = meter.read();
        assert_eq!((reading.answered, reading.in_flight), (1, 1));
        drop(two);
        let reading = meter.read();
        assert_eq!((reading.answered, reading.in_flight), (2, 0));
    }
}
