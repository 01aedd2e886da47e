//! One queue pair's reads and writes: posted in order, answered in order, never full.
//!
//! What the queue pair has no room for waits here; the link's window bounds how much that is.

use super::queue::{QueuePair, Remote};
use super::region::Region;
use crate::fabric::{Completion, Event, FabricError, Work};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;

/// Work requests that the device holds at once.
pub(super) const DEPTH: u32 = 128;

/// The node's arena, as the device is to name it.
#[derive(Clone, Copy)]
pub(super) struct RemoteArena {
    /// Address of its first byte, in the node.
    pub(super) base: u64,
    pub(super) key: u32,
    pub(super) len: u64,
}

/// A queue pair with its work.
pub(super) struct Lane {
    pub(super) queue: Arc<QueuePair>,
    /// Its number on the endpoint, below 256: part of its ids.
    number: u64,
    /// Work requests that the device takes.
    depth: usize,
    arena: RemoteArena,
    /// Where all buffers lie.
    buffers: Arc<Region>,
    state: Mutex<LaneState>,
}

/// Invariant: `posted` is what has not completed, oldest first; the device has its first `sent`, of which the first has the
/// sequence number `first`. A buffer stays in `posted` until its completion came or the queue pair is destroyed.
#[derive(Default)]
struct LaneState {
    posted: VecDeque<Work>,
    sent: usize,
    first: u32,
    /// Set once, when the queue pair was destroyed: nothing is posted after that.
    closed: Option<FabricError>,
}

impl Lane {
    pub(super) fn new(
        queue: Arc<QueuePair>,
        number: usize,
        depth: u32,
        arena: RemoteArena,
        buffers: Arc<Region>,
    ) -> Self {
        Self {
            queue,
            number: number as u64 & 0xff,
            depth: depth as usize,
            arena,
            buffers,
            state: Mutex::default(),
        }
    }

    /// Takes work. `Err` gives it back with its error: out of bounds, not of the pool's memory, or the lane is closed. The
    /// inner error says that the queue pair has stopped.
    pub(super) fn post(&self, work: Work) -> Result<Result<(), FabricError>, Box<Completion>> {
        let len = work.buffer.len() as u64;
        // The node's device checks too, but stops the queue pair for it.
        if work
            .remote
            .checked_add(len)
            .is_none_or(|end| end > self.arena.len)
        {
            return Err(failed(work, FabricError::AccessRefused));
        }
        let address = work.buffer.as_ptr().addr() as u64;
        if self.buffers.local(address, work.buffer.len()).is_none() {
            let why = "the buffer is of another pool".to_owned();
            return Err(failed(work, FabricError::Protocol(why)));
        }
        let mut state = self.state.lock();
        if let Some(reason) = state.closed.clone() {
            return Err(failed(work, reason));
        }
        state.posted.push_back(work);
        Ok(self.advance(&mut state))
    }

    /// A work request of the device completed; the next takes its place.
    pub(super) fn completed(
        &self,
        id: u64,
        result: Result<(), FabricError>,
        events: &mut Vec<Event>,
    ) -> Result<(), FabricError> {
        let mut state = self.state.lock();
        if state.sent == 0 || id != self.id(state.first) {
            return Err(FabricError::Protocol("a completion is out of order".into()));
        }
        let Some(work) = state.posted.pop_front() else {
            return Err(FabricError::Protocol("a completion of nothing".into()));
        };
        state.sent -= 1;
        state.first = state.first.wrapping_add(1);
        events.push(Event::Done(Completion {
            id: work.id,
            buffer: work.buffer,
            result,
        }));
        self.advance(&mut state)
    }

    /// Destroys the queue pair, and then gives all work back.
    pub(super) fn close(&self, reason: &FabricError, events: &mut Vec<Event>) {
        self.queue.destroy();
        let mut state = self.state.lock();
        state.sent = 0;
        let closed = state.closed.get_or_insert_with(|| reason.clone()).clone();
        for work in state.posted.drain(..) {
            events.push(Event::Done(*failed(work, closed.clone())));
        }
    }

    /// Gives the device what it has room for.
    fn advance(&self, state: &mut LaneState) -> Result<(), FabricError> {
        while state.sent < self.depth
            && let Some(work) = state.posted.get(state.sent)
        {
            let id = self.id(state.first.wrapping_add(u32::try_from(state.sent).unwrap_or(0)));
            let address = work.buffer.as_ptr().addr() as u64;
            let Some(local) = self.buffers.local(address, work.buffer.len()) else {
                return Err(FabricError::Protocol("the buffer is of another pool".into()));
            };
            let remote = Remote {
                address: self.arena.base.wrapping_add(work.remote),
                key: self.arena.key,
            };
            // SAFETY: `local` is the work's buffer, which lies in the region; the buffer is exclusive, and stays in `posted`,
            // where nobody touches its bytes, until its completion came or the queue pair was destroyed. If posting fails the
            // device does not know of it.
            let posted = unsafe { self.queue.transfer(id, work.verb, local, remote) };
            posted.map_err(|error| FabricError::Disconnected(error.to_string()))?;
            state.sent += 1;
        }
        Ok(())
    }

    fn id(&self, sequence: u32) -> u64 {
        self.number << 32 | u64::from(sequence)
    }
}

/// The lane that an id belongs to.
pub(super) fn lane_of(id: u64) -> usize {
    usize::try_from(id >> 32).unwrap_or(usize::MAX)
}

/// Work that came to nothing.
fn failed(work: Work, reason: FabricError) -> Box<Completion> {
    Box::new(Completion {
        id: work.id,
        buffer: work.buffer,
        result: Err(reason),
    })
}
