//! A session's messages over its first queue pair, on either side.

use super::chunks::{CHUNK, Chunks, VerbsFrame, WINDOW};
use super::error::VerbError;
use super::queue::QueuePair;
use super::region::Region;
use crate::fabric::FabricError;
use crate::handshake::Secure;
use parking_lot::Mutex;
use std::sync::Arc;

/// SENDs under way at most: one for each receive of the peer.
const SENDS: u16 = WINDOW;
/// Bytes of a region that one session's messages take: chunks that come, then chunks that go.
pub(super) const SLOT: usize = (WINDOW as usize + SENDS as usize) * CHUNK;
/// Work requests that messages take of their queue pair, each way.
pub(super) const DEPTH: u32 = WINDOW as u32;

/// What a completion on the first queue pair is of, in the top byte of its id.
const SENT: u64 = 1 << 56;
const CAME: u64 = 2 << 56;
const KIND: u64 = 0xff << 56;

/// What a completion's id means.
pub(super) enum Kind {
    /// Work of a lane.
    Work(u64),
    /// The chunk in this slot was sent.
    Sent(u16),
    /// A chunk came into this slot.
    Came(u16),
}

/// Sorts ids; those of lanes are below 2^56.
pub(super) fn kind(id: u64) -> Kind {
    let slot = u16::try_from(id & 0xffff).unwrap_or(0);
    match id & KIND {
        SENT => Kind::Sent(slot),
        CAME => Kind::Came(slot),
        _ => Kind::Work(id),
    }
}

/// Messages over `queue`. `[start, start + SLOT)` of the region is theirs alone as long as the queue is not destroyed: a
/// receive's slot is touched only between its completion and its next posting, a sent one's only while it is in `free`.
#[derive(Debug)]
pub(super) struct Messages {
    pub(super) queue: Arc<QueuePair>,
    region: Arc<Region>,
    start: usize,
    state: Mutex<MessageState>,
}

#[derive(Debug)]
struct MessageState {
    chunks: Chunks,
    /// Slots for chunks that go.
    free: Vec<u16>,
}

impl Messages {
    pub(super) fn new(
        queue: Arc<QueuePair>,
        region: Arc<Region>,
        start: usize,
        secure: Secure,
        backlog: usize,
    ) -> Self {
        let state = MessageState {
            chunks: Chunks::new(secure, backlog),
            free: (0..SENDS).rev().collect(),
        };
        Self {
            queue,
            region,
            start,
            state: Mutex::new(state),
        }
    }

    /// Queues a message and sends what the peer has room for. Never blocks.
    ///
    /// # Errors
    /// As of [`Chunks::put`]; `Disconnected` when the queue pair takes nothing.
    pub(super) fn send(&self, message: &[u8]) -> Result<(), FabricError> {
        let mut state = self.state.lock();
        state.chunks.put(message)?;
        self.push(&mut state)
    }

    /// Says that the queue pairs work.
    pub(super) fn send_ready(&self) -> Result<(), FabricError> {
        let mut state = self.state.lock();
        state.chunks.put_ready()?;
        self.push(&mut state)
    }

    /// Sends what became possible.
    pub(super) fn flush(&self) -> Result<(), FabricError> {
        self.push(&mut self.state.lock())
    }

    /// A chunk of `len` bytes came into a slot: adds what became whole, and posts the slot again.
    pub(super) fn came(
        &self,
        slot: u16,
        len: usize,
        frames: &mut Vec<VerbsFrame>,
    ) -> Result<(), FabricError> {
        let mut chunk = [0; CHUNK];
        let chunk = chunk.get_mut(..len).ok_or_else(nonsense)?;
        self.region
            .get(self.start + usize::from(slot) * CHUNK, chunk)
            .ok_or_else(nonsense)?;
        listen(&self.queue, &self.region, self.start, slot).map_err(stopped)?;
        self.state.lock().chunks.take(chunk, frames)
    }

    /// The chunk in a slot was sent.
    pub(super) fn sent(&self, slot: u16) {
        self.state.lock().free.push(slot);
    }

    fn push(&self, state: &mut MessageState) -> Result<(), FabricError> {
        let mut chunk = [0; CHUNK];
        while let Some(slot) = state.free.pop() {
            let Some(len) = state.chunks.next(&mut chunk) else {
                state.free.push(slot);
                return Ok(());
            };
            let at = self.start + usize::from(WINDOW + slot) * CHUNK;
            self.region.put(at, &chunk[..len]).ok_or_else(nonsense)?;
            let address = self.region.start() + at as u64;
            let local = self.region.local(address, len).ok_or_else(nonsense)?;
            // SAFETY: the slot lies in the region, which the queue keeps, and nobody writes it before `sent` has put it back
            // into `free`; see `Messages`.
            let sent = unsafe { self.queue.send(SENT | u64::from(slot), local) };
            sent.map_err(stopped)?;
        }
        Ok(())
    }
}

/// Posts all receives of a queue pair that is not connected yet.
pub(super) fn listen_all(queue: &QueuePair, region: &Region, start: usize) -> Result<(), VerbError> {
    (0..WINDOW).try_for_each(|slot| listen(queue, region, start, slot))
}

fn listen(queue: &QueuePair, region: &Region, start: usize, slot: u16) -> Result<(), VerbError> {
    let address = region.start() + (start + usize::from(slot) * CHUNK) as u64;
    let Some(local) = region.local(address, CHUNK) else {
        return Err(VerbError {
            verb: "posting a receive out of its region",
            source: std::io::ErrorKind::InvalidInput.into(),
        });
    };
    // SAFETY: the slot lies in the region, which the queue keeps, and is read only after its completion; see `Messages`.
    unsafe { queue.receive(CAME | u64::from(slot), local) }
}

fn nonsense() -> FabricError {
    FabricError::Protocol("a chunk lies outside of its slot".into())
}

fn stopped(error: VerbError) -> FabricError {
    FabricError::Disconnected(error.to_string())
}
