//! What the link, its flows, its futures and its poller share: posting, completing, failing.

use super::call::{Calls, Heard};
use super::record::Record;
use super::table::{Deferred, Step, Table};
use super::types::LinkConfig;
use crate::fabric::{Completion, Endpoint, FabricError};
use crate::qos::scheduler::{FlowId, Limits};
use crate::qos::share::Share;
use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Slices of others that a caller posts before it leaves the rest to the poller.
const HELP: usize = 16;
/// Slices that the poller posts before it looks at the endpoint again.
const ROUND: usize = 256;

/// How often time limits are looked at while nothing has one, in milliseconds.
const IDLE_CADENCE: u64 = 60_000;

pub(super) struct Core {
    pub(super) endpoint: Arc<dyn Endpoint>,
    pub(super) config: LinkConfig,
    /// First lock; see the module for the rules.
    pub(super) table: Mutex<Table>,
    /// Second lock.
    pub(super) calls: Mutex<Calls>,
    up: AtomicBool,
    /// The shortest timeout that anything has, in milliseconds: limits are looked at as often.
    cadence: AtomicU64,
    sooner: AtomicBool,
    /// For how long the node had been silent when the link went down.
    silent: OnceLock<Duration>,
    /// Why this side closed the endpoint.
    closed: OnceLock<FabricError>,
}

impl Core {
    pub(super) fn new(endpoint: Arc<dyn Endpoint>, config: LinkConfig) -> Self {
        let limits = Limits {
            window: config.window,
            slice: config.slice,
            rate: config.rate,
        };
        let table = Table::new(limits, config.clock.now());
        Self {
            endpoint,
            config,
            table: Mutex::new(table),
            calls: Mutex::new(Calls::default()),
            up: AtomicBool::new(true),
            cadence: AtomicU64::new(IDLE_CADENCE),
            sooner: AtomicBool::new(false),
            silent: OnceLock::new(),
            closed: OnceLock::new(),
        }
    }

    pub(super) fn now(&self) -> Duration {
        self.config.clock.now()
    }

    pub(super) fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }

    /// Closes the endpoint, for a reason that all later errors will name. The poller ends the link.
    pub(super) fn close(&self, reason: FabricError) {
        self.up.store(false, Ordering::Release);
        // The first reason stands.
        let _ = self.closed.set(reason);
        self.endpoint.close();
        self.endpoint.wake();
    }

    /// Posts what the scheduler allows, on this thread. Answers with the record of `own` if it ended here.
    pub(super) fn pump(
        &self,
        mut table: MutexGuard<'_, Table>,
        mut own: Option<u32>,
        after: &mut Deferred,
    ) -> Option<Record> {
        let mut finished = None;
        let mut help = HELP;
        let until = loop {
            if help == 0 {
                break Duration::ZERO;
            }
            let (slot, queue, work) = match table.next(self.now()) {
                Step::Post { slot, queue, work } => (slot, queue, work),
                Step::Wait(until) => break until,
            };
            if own != Some(slot) {
                help -= 1;
            }
            let completion = MutexGuard::unlocked(&mut table, || self.endpoint.post(queue, work));
            if let Some(completion) = completion {
                let now = self.now();
                if let Some(record) = table.complete(completion, own, now, after) {
                    finished = Some(record);
                    // The slot may be another's from here on.
                    own = None;
                }
            }
        };
        if let Some(slot) = own {
            table.note_wait(slot);
        }
        let wake = until < table.poller_until;
        if wake {
            table.poller_until = until;
        }
        drop(table);
        if wake {
            self.endpoint.wake();
        }
        finished
    }

    /// The poller's turn: posts what the scheduler allows and notes until when the poller will sleep, at most to `check_at`.
    pub(super) fn pump_and_rest(&self, check_at: Duration, after: &mut Deferred) -> Duration {
        let mut table = self.table.lock();
        let mut left = ROUND;
        let until = loop {
            if left == 0 {
                break Duration::ZERO;
            }
            left -= 1;
            let (queue, work) = match table.next(self.now()) {
                Step::Post { queue, work, .. } => (queue, work),
                Step::Wait(until) => break until.min(check_at),
            };
            let completion = MutexGuard::unlocked(&mut table, || self.endpoint.post(queue, work));
            if let Some(completion) = completion {
                table.complete(completion, None, self.now(), after);
            }
        };
        table.poller_until = until;
        until
    }

    /// The poller is awake: until it rests again, nobody needs to wake it.
    pub(super) fn rouse(&self, heard: bool) {
        let mut table = self.table.lock();
        table.poller_until = Duration::ZERO;
        if heard {
            table.last_event = self.now();
        }
    }

    pub(super) fn completed(&self, completions: Vec<Completion>, after: &mut Deferred) {
        let now = self.now();
        let mut table = self.table.lock();
        for completion in completions {
            table.complete(completion, None, now, after);
        }
    }

    pub(super) fn abandon(&self, slot: u32) {
        let mut after = Deferred::default();
        self.table.lock().abandon(slot, &mut after);
        after.run();
    }

    pub(super) fn set_share(&self, flow: FlowId, share: Share) {
        let mut after = Deferred::default();
        let mut table = self.table.lock();
        table.scheduler.set_share(flow, share, self.now());
        self.pump(table, None, &mut after);
        after.run();
    }

    pub(super) fn close_flow(&self, flow: FlowId) {
        let mut after = Deferred::default();
        self.table.lock().close_flow(flow, &mut after);
        after.run();
    }

    /// For how long the node has owed an answer and not said anything; until the link went down, if it has.
    pub(super) fn silence(&self) -> Duration {
        match self.silent.get() {
            Some(silent) => *silent,
            None => self.calls.lock().silence(self.now()),
        }
    }

    /// Sorts a message; a broken one ends the link.
    pub(super) fn hear(&self, message: Vec<u8>, after: &mut Deferred) -> Option<Vec<u8>> {
        let heard = self.calls.lock().hear(message, self.now());
        match heard {
            Heard::Answer(waker) => after.wake(waker),
            Heard::Notice(payload) => return Some(payload),
            Heard::Broken => {
                let why = "a message without an id".to_owned();
                self.close(FabricError::Protocol(why));
            }
        }
        None
    }

    /// Fails what the node left unanswered; closes the endpoint when nothing at all came for two timeouts of a call, or no transfer went
    /// on for two of its own. Answers with when to look again.
    pub(super) fn expire(&self, after: &mut Deferred) -> Duration {
        let now = self.now();
        let (due, transfers_dead_at, last_event) = {
            let mut table = self.table.lock();
            let (due, dead_at) = table.expire(now, after);
            (due, dead_at, table.last_event)
        };
        let (calls_due, calls_dead_at) = self.calls.lock().expire(now, last_event, after.wakers());
        let dead_at = transfers_dead_at.min(calls_dead_at);
        let cadence = Duration::from_millis(self.cadence.load(Ordering::Relaxed));
        let next = due.min(calls_due).min(now.saturating_add(cadence));
        if dead_at > now {
            return next.min(dead_at);
        }
        let why = match calls_dead_at <= now {
            true => format!("no answer for {:?}", now.saturating_sub(last_event)),
            false => "a transfer does not end".to_owned(),
        };
        self.close(FabricError::Disconnected(why));
        next
    }

    /// From now on something may time out after so long.
    pub(super) fn watch_for(&self, timeout: Duration) {
        let timeout = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX).max(1);
        if timeout < self.cadence.load(Ordering::Relaxed) {
            self.cadence.fetch_min(timeout, Ordering::Relaxed);
            self.sooner.store(true, Ordering::Release);
            self.endpoint.wake();
        }
    }

    /// True, once, when limits must be looked at sooner than was said last.
    pub(super) fn looks_sooner(&self) -> bool {
        self.sooner.load(Ordering::Relaxed) && self.sooner.swap(false, Ordering::Acquire)
    }

    /// The endpoint is dead and owns nothing any more: fails all that is left. Answers with the reason.
    pub(super) fn end(&self, error: FabricError, after: &mut Deferred) -> FabricError {
        self.up.store(false, Ordering::Release);
        let error = self.closed.get().cloned().unwrap_or(error);
        // Its calls end now: the first answer stands.
        let _ = self.silent.set(self.silence());
        self.table.lock().go_down(&error, after);
        self.calls.lock().go_down(&error, after.wakers());
        error
    }
}
