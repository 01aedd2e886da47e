//! One transfer, from its first queued byte to its last completion.

use super::counters::{Counters, HeldBy};
use super::types::{Keep, LinkError};
use crate::buffer::Buffer;
use crate::fabric::{Completion, FabricError, Verb, Work};
use crate::qos::scheduler::FlowId;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

/// What a caller asks for.
pub(super) struct Transmission {
    pub(super) verb: Verb,
    pub(super) queue: usize,
    pub(super) remote: u64,
    pub(super) buffer: Buffer,
    pub(super) keep: Option<Keep>,
    pub(super) flow: FlowId,
    pub(super) timeout: Duration,
    pub(super) counters: Arc<Counters>,
}

/// Owns the transfer's buffer, less the slices that the endpoint owns, and its keep.
pub(super) struct Record {
    pub(super) verb: Verb,
    pub(super) queue: usize,
    pub(super) flow: FlowId,
    /// The node may leave it unanswered for so long.
    pub(super) timeout: Duration,
    pub(super) counters: Arc<Counters>,
    pub(super) keep: Option<Keep>,
    /// Arena offset of the first byte of `rest`.
    remote: u64,
    /// What is not posted yet.
    pub(super) rest: Option<Buffer>,
    /// Completed slices `[0, joined)`, rejoined.
    done: Option<Buffer>,
    joined: u32,
    /// Completed slices after a gap.
    early: Vec<(u32, Buffer)>,
    posted: u32,
    in_flight: u32,
    pub(super) queued_at: Duration,
    /// When the node was last known to owe nothing older: the first post into quiet, or the last completion.
    pub(super) since: Duration,
    /// What it had to wait for.
    pub(super) held_by: Option<HeldBy>,
    pub(super) error: Option<LinkError>,
    /// What its future shall find; the future is told before the end only of a timeout.
    pub(super) outcome: Option<Result<Buffer, LinkError>>,
    /// Its future exists and has not taken the outcome.
    pub(super) awaited: bool,
    pub(super) waker: Option<Waker>,
}

impl Record {
    pub(super) fn new(request: Transmission, now: Duration) -> Self {
        Self {
            verb: request.verb,
            queue: request.queue,
            flow: request.flow,
            timeout: request.timeout,
            counters: request.counters,
            keep: request.keep,
            remote: request.remote,
            rest: Some(request.buffer),
            done: None,
            joined: 0,
            early: Vec::new(),
            posted: 0,
            in_flight: 0,
            queued_at: now,
            since: now,
            held_by: None,
            error: None,
            outcome: None,
            awaited: true,
            waker: None,
        }
    }

    /// Nothing is queued and nothing in flight.
    pub(super) fn ended(&self) -> bool {
        self.rest.is_none() && self.in_flight == 0
    }

    pub(super) fn in_flight(&self) -> bool {
        self.in_flight > 0
    }

    /// Cuts the next `bytes` off the rest, as work of slot `slot`. `None` when the rest is gone.
    pub(super) fn cut(&mut self, slot: u32, bytes: usize, now: Duration) -> Option<Work> {
        let mut buffer = self.rest.take()?;
        if bytes < buffer.len() {
            self.rest = Some(buffer.split_off(bytes));
        }
        let work = Work {
            id: work_id(slot, self.posted),
            verb: self.verb,
            remote: self.remote,
            buffer,
        };
        self.remote = self.remote.saturating_add(bytes as u64);
        if self.in_flight == 0 {
            self.since = now;
        }
        self.posted += 1;
        self.in_flight += 1;
        if let (None, Some(by)) = (&self.rest, self.held_by) {
            self.counters.waited(by, now.saturating_sub(self.queued_at));
        }
        Some(work)
    }

    /// Takes a slice back. The first error is the transfer's.
    pub(super) fn take_back(&mut self, completion: Completion, now: Duration) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.since = now;
        match completion.result {
            Ok(()) => self.counters.moved(self.verb, completion.buffer.len()),
            Err(error) => {
                self.error.get_or_insert(error.into());
            }
        }
        self.join(slice_of(completion.id), completion.buffer);
    }

    /// The result of an ended transfer; its buffer leaves the record.
    pub(super) fn result(&mut self) -> Result<Buffer, LinkError> {
        if let Some(error) = self.error.clone() {
            return Err(error);
        }
        let whole = self.done.take().ok_or(FabricError::Flushed)?;
        self.counters.finished();
        Ok(whole)
    }

    /// Joins slice `index` to those before it when they are all there, then the early ones that follow. Slices of one
    /// queue complete in order, so `early` stays empty and unallocated.
    fn join(&mut self, index: u32, buffer: Buffer) {
        if index != self.joined {
            self.early.push((index, buffer));
            return;
        }
        self.append(buffer);
        while let Some(at) = self.early.iter().position(|(index, _)| *index == self.joined) {
            let (_, next) = self.early.swap_remove(at);
            self.append(next);
        }
    }

    fn append(&mut self, next: Buffer) {
        self.joined += 1;
        let Some(done) = &mut self.done else {
            self.done = Some(next);
            return;
        };
        if let Err(foreign) = done.rejoin(next) {
            let why = "a completion came back with another buffer".to_owned();
            self.error.get_or_insert(FabricError::Protocol(why).into());
            self.early.push((u32::MAX, foreign));
        }
    }
}

/// Unique among outstanding work: a slot is not used again before its transfer has ended.
fn work_id(slot: u32, slice: u32) -> u64 {
    u64::from(slot) << 32 | u64::from(slice)
}

/// The slot that a work id names.
pub(super) fn slot_of(id: u64) -> u32 {
    u32::try_from(id >> 32).unwrap_or(u32::MAX)
}

fn slice_of(id: u64) -> u32 {
    u32::try_from(id & u64::from(u32::MAX)).unwrap_or(u32::MAX)
}
