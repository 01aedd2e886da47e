//! A mount's place on a link, and what it has used of it.

use super::core::Core;
use crate::fabric::Verb;
use crate::qos::scheduler::FlowId;
use crate::qos::share::Share;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A mount's place in the scheduler of a link; dropping it gives the place back: what it had queued and not
/// posted fails with [`Flushed`](crate::fabric::FabricError::Flushed).
pub struct Flow {
    pub(super) core: Arc<Core>,
    pub(super) id: FlowId,
    /// Of its transfers.
    pub(super) timeout: Duration,
    pub(super) counters: Arc<Counters>,
}

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

/// What a transfer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeldBy {
    /// Its share, which has limits.
    Share,
    /// The window of the link.
    Window,
}

impl Flow {
    /// Changes the share; queued work feels it at once.
    pub fn set_share(&self, share: Share) {
        self.core.set_share(self.id, share);
    }

    /// Counters.
    #[must_use]
    pub fn counters(&self) -> FlowCounters {
        let counters = &self.counters;
        FlowCounters {
            read_bytes: counters.read_bytes.load(Relaxed),
            write_bytes: counters.write_bytes.load(Relaxed),
            operations: counters.operations.load(Relaxed),
            throttled: counters.throttled.load(Relaxed),
            throttled_us: counters.throttled_us.load(Relaxed),
            queued: counters.queued.load(Relaxed),
            queued_us: counters.queued_us.load(Relaxed),
        }
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.core.close_flow(self.id);
    }
}

impl std::fmt::Debug for Flow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Flow").field(&self.counters()).finish()
    }
}

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
