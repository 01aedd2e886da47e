//! What the transfers of a flow have used of a link, and what they waited for.

use crate::fabric::Verb;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Counters of a flow; all since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FlowCounters {
    /// Bytes read over the link.
    pub read_bytes: u64,
    /// Bytes written over the link.
    pub write_bytes: u64,
    /// Transfers completed.
    pub operations: u64,
    /// Transfers of a limited share that had to wait for it (or, behind it, for the window of the link).
    pub throttled: u64,
    /// Time transfers waited for that, in microseconds.
    pub throttled_us: u64,
    /// Transfers of a share without limits that had to wait: for the window of the link, which others fill.
    #[serde(default)]
    pub queued: u64,
    /// Time transfers waited for that, in microseconds.
    #[serde(default)]
    pub queued_us: u64,
}

impl FlowCounters {
    /// Of two flows together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            read_bytes: self.read_bytes + other.read_bytes,
            write_bytes: self.write_bytes + other.write_bytes,
            operations: self.operations + other.operations,
            throttled: self.throttled + other.throttled,
            throttled_us: self.throttled_us + other.throttled_us,
            queued: self.queued + other.queued,
            queued_us: self.queued_us + other.queued_us,
        }
    }
}

/// What a transfer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeldBy {
    /// Its share, which has limits.
    Share,
    /// The window of the link.
    Window,
}

/// What a flow and its transfers count.
#[derive(Debug, Default)]
pub(super) struct Counters {
    read_bytes: AtomicU64,
    write_bytes: AtomicU64,
    operations: AtomicU64,
    throttled: AtomicU64,
    throttled_us: AtomicU64,
    queued: AtomicU64,
    queued_us: AtomicU64,
}

impl Counters {
    /// All of them, as they are now.
    pub(super) fn read(&self) -> FlowCounters {
        FlowCounters {
            read_bytes: self.read_bytes.load(Relaxed),
            write_bytes: self.write_bytes.load(Relaxed),
            operations: self.operations.load(Relaxed),
            throttled: self.throttled.load(Relaxed),
            throttled_us: self.throttled_us.load(Relaxed),
            queued: self.queued.load(Relaxed),
            queued_us: self.queued_us.load(Relaxed),
        }
    }

    pub(super) fn moved(&self, verb: Verb, bytes: usize) {
        let counter = match verb {
            Verb::Read => &self.read_bytes,
            Verb::Write => &self.write_bytes,
        };
        counter.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn finished(&self) {
        self.operations.fetch_add(1, Relaxed);
    }

    pub(super) fn waits(&self, by: HeldBy) {
        match by {
            HeldBy::Share => self.throttled.fetch_add(1, Relaxed),
            HeldBy::Window => self.queued.fetch_add(1, Relaxed),
        };
    }

    pub(super) fn waited(&self, by: HeldBy, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        match by {
            HeldBy::Share => self.throttled_us.fetch_add(micros, Relaxed),
            HeldBy::Window => self.queued_us.fetch_add(micros, Relaxed),
        };
    }
}
