//! The time that waiting operations are charged: it stands still while the service puts a call off.
//!
//! A call is put off while another host keeps the service waiting, for two leases at most. No `timeout=` is to end an operation for that,
//! be it the one that asked or one that waits behind it.

use crate::executor::Executor;
use crate::handler::lock_order::Mutex;
use rdmafs_rdma::clock::Clock;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// Between two looks at a clock that stands still.
const LOOK: Duration = Duration::from_millis(10);

/// A clock that stands still while the service puts a call off.
///
/// Lock order: `stood` is a leaf, and not held across a wait.
pub(in crate::handler) struct PatientClock {
    clock: Arc<dyn Clock>,
    stood: Mutex<Stood>,
}

#[derive(Default)]
struct Stood {
    /// Calls that are put off now.
    calls: usize,
    /// Since when there are any.
    since: Duration,
    /// For how long there were any before.
    before: Duration,
}

impl PatientClock {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            stood: Mutex::default(),
        }
    }

    /// The time that counts.
    pub(super) fn now(&self) -> Duration {
        let stood = self.stood.lock();
        let now = match stood.calls {
            0 => self.clock.now(),
            _ => stood.since,
        };
        now.saturating_sub(stood.before)
    }

    /// A call is put off until what this gives is dropped.
    pub(super) fn put_off(self: &Arc<Self>) -> PutOff {
        let now = self.clock.now();
        let mut stood = self.stood.lock();
        if stood.calls == 0 {
            stood.since = now;
        }
        stood.calls += 1;
        PutOff(self.clone())
    }

    /// The future's result, or `None` when it is not done after `duration` of this time; then it is dropped.
    pub(super) async fn within<T>(
        &self,
        executor: &Executor,
        duration: Duration,
        future: impl Future<Output = T>,
    ) -> Option<T> {
        let until = self.now().saturating_add(duration);
        let mut future = pin!(future);
        let mut left = duration;
        loop {
            if let Some(done) = executor.within(left, &mut future).await {
                return Some(done);
            }
            left = until.saturating_sub(self.now());
            if left.is_zero() {
                return None;
            }
            left = left.max(LOOK);
        }
    }
}

/// A call is put off.
pub(super) struct PutOff(Arc<PatientClock>);

impl Drop for PutOff {
    fn drop(&mut self) {
        let now = self.0.clock.now();
        let mut stood = self.0.stood.lock();
        stood.calls -= 1;
        if stood.calls == 0 {
            let stands = now.saturating_sub(stood.since);
            stood.before += stands;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdmafs_rdma::sim::Sim;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn time_stands_still_while_any_call_is_put_off() {
        let sim = Sim::new(4096, 1);
        let patient = Arc::new(PatientClock::new(sim.clock()));
        let began = patient.now();
        let passed = || patient.now() - began;
        sim.advance(S(1));
        assert_eq!(passed(), S(1));
        let first = patient.put_off();
        sim.advance(S(2));
        let second = patient.put_off();
        drop(first);
        sim.advance(S(4));
        assert_eq!(passed(), S(1));
        drop(second);
        assert_eq!(passed(), S(1));
        sim.advance(S(1));
        assert_eq!(passed(), S(2));
        drop(patient.put_off());
        assert_eq!(passed(), S(2));
    }
}
