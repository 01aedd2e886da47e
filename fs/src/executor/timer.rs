//! Deadlines of sleeping operations.

use parking_lot::{Condvar, Mutex};
use rdmafs_rdma::clock::Clock;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// A deadline, and a number that tells equal ones apart.
type Key = (Duration, u64);

/// All deadlines; one thread serves them.
pub(super) struct Timer {
    clock: Arc<dyn Clock>,
    state: Mutex<TimerState>,
    changed: Condvar,
}

#[derive(Default)]
struct TimerState {
    sleepers: BTreeMap<Key, Waker>,
    next: u64,
    closed: bool,
}

/// Ready at its deadline.
pub(super) struct Sleep {
    timer: Arc<Timer>,
    deadline: Duration,
    key: Option<Key>,
}

impl Timer {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    pub(super) fn sleep(self: &Arc<Self>, duration: Duration) -> Sleep {
        Sleep {
            timer: self.clone(),
            deadline: self.clock.now().saturating_add(duration),
            key: None,
        }
    }

    /// The timer thread's life.
    pub(super) fn serve(&self) {
        let mut state = self.state.lock();
        while !state.closed {
            let now = self.clock.now();
            let Some((&key, _)) = state.sleepers.first_key_value() else {
                self.changed.wait(&mut state);
                continue;
            };
            if key.0 > now {
                self.changed.wait_for(&mut state, key.0 - now);
                continue;
            }
            if let Some(waker) = state.sleepers.remove(&key) {
                drop(state);
                waker.wake();
                state = self.state.lock();
            }
        }
    }

    /// Ends [`Timer::serve`].
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let left = std::mem::take(&mut state.sleepers);
        drop(state);
        drop(left);
        self.changed.notify_all();
    }
}

#[cfg(any(test, feature = "testing"))]
impl Timer {
    /// Wakes who is due, without a thread. True if there was one.
    pub(super) fn fire(&self) -> bool {
        let now = self.clock.now();
        let mut state = self.state.lock();
        let later = state.sleepers.split_off(&(now, u64::MAX));
        let due = std::mem::replace(&mut state.sleepers, later);
        drop(state);
        let any = !due.is_empty();
        due.into_values().for_each(Waker::wake);
        any
    }

    /// The first deadline.
    pub(super) fn next(&self) -> Option<Duration> {
        let state = self.state.lock();
        state.sleepers.keys().next().map(|(deadline, _)| *deadline)
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.clone();
        if timer.clock.now() >= self.deadline {
            return Poll::Ready(());
        }
        let mut state = timer.state.lock();
        let deadline = self.deadline;
        let key = *self.key.get_or_insert_with(|| {
            state.next += 1;
            (deadline, state.next)
        });
        state.sleepers.insert(key, context.waker().clone());
        let earliest = state
            .sleepers
            .first_key_value()
            .is_some_and(|(first, _)| *first == key);
        drop(state);
        if earliest {
            timer.changed.notify_one();
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let waker = self.timer.state.lock().sleepers.remove(&key);
            drop(waker);
        }
    }
}
