//! The node's side of one handler's queue pairs: it carries messages, and has nothing to do for reads and writes.

use super::chunks::VerbsFrame;
use super::completions::Completions;
use super::error::meaning;
use super::ffi::ibv_wc;
use super::messages::{Kind, Messages, kind};
use super::queue::QueuePair;
use crate::fabric::{ClientOwner, FabricError};
use crate::stream::{CloseReason, Frame, Received, Socket};
use parking_lot::Mutex;
use std::io::IoSliceMut;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

/// A place in the memory for messages, given back when dropped.
#[derive(Debug)]
pub(super) struct MessageSlot {
    pub(super) number: usize,
    pub(super) free: Arc<Mutex<Vec<usize>>>,
}

impl Drop for MessageSlot {
    fn drop(&mut self) {
        self.free.lock().push(self.number);
    }
}

/// A handler's queue pairs.
#[derive(Debug)]
pub(crate) struct VerbsSession {
    pub(super) client_owner: ClientOwner,
    queues: Vec<Arc<QueuePair>>,
    messages: Messages,
    completions: Arc<Completions>,
    /// The set-up connection: nothing comes on it but its end.
    socket: Arc<Socket>,
    close_reason: CloseReason,
    fetched: Mutex<Vec<ibv_wc>>,
    /// Given back once the queue pairs are destroyed.
    slot: Mutex<Option<MessageSlot>>,
}

/// What a session is made of.
pub(super) struct Parts {
    pub(super) client_owner: ClientOwner,
    pub(super) queues: Vec<Arc<QueuePair>>,
    pub(super) messages: Messages,
    pub(super) completions: Arc<Completions>,
    pub(super) socket: Arc<Socket>,
    pub(super) slot: MessageSlot,
}

impl VerbsSession {
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            client_owner: parts.client_owner,
            queues: parts.queues,
            messages: parts.messages,
            completions: parts.completions,
            socket: parts.socket,
            close_reason: CloseReason::default(),
            fetched: Mutex::default(),
            slot: Mutex::new(Some(parts.slot)),
        }
    }

    /// The set-up connection, to watch and to end.
    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Sends a message in order, when the peer has room. Never blocks.
    ///
    /// # Errors
    /// `Protocol` when it is too long, `Full` when too much waits, `Disconnected`.
    pub(crate) fn send(&self, message: &[u8]) -> Result<(), FabricError> {
        match self.close_reason.ended() {
            Some(reason) => Err(reason),
            None => self.messages.send(message),
        }
    }

    /// Says that the queue pairs work.
    pub(super) fn send_ready(&self) -> Result<(), FabricError> {
        self.messages.send_ready()
    }

    /// Moves what has come into `frames`, and sends what became possible. Never blocks.
    ///
    /// # Errors
    /// The peer is gone, its queue pair has stopped, or it broke the protocol.
    pub(crate) fn receive(&self, frames: &mut Vec<Frame>) -> Result<(), FabricError> {
        let mut received = Vec::new();
        let came = self.take(&mut received);
        frames.extend(received.into_iter().filter_map(|frame| match frame {
            VerbsFrame::Message(message) => Some(Frame::Message(message)),
            VerbsFrame::Ready => None,
        }));
        came.and_then(|()| self.health_check())
    }

    /// Moves what has come into `received`, the ready frame too. Does not look at the set-up connection. Never blocks.
    pub(super) fn take(&self, received: &mut Vec<VerbsFrame>) -> Result<(), FabricError> {
        if let Some(reason) = self.close_reason.ended() {
            return Err(reason);
        }
        let mut fetched = self.fetched.lock();
        loop {
            let more = self.completions.poll(&mut fetched);
            let more = more.map_err(|error| FabricError::Disconnected(error.to_string()))?;
            for completion in fetched.drain(..) {
                if let Some(status) = completion.error() {
                    return Err(match meaning(status) {
                        FabricError::Flushed => stopped(),
                        other => other,
                    });
                }
                match kind(completion.wr_id) {
                    Kind::Came(slot) => self.messages.came(slot, completion.len(), received)?,
                    Kind::Sent(slot) => self.messages.sent(slot),
                    Kind::Work(_) => {}
                }
            }
            if !more {
                return self.messages.flush();
            }
        }
    }

    /// Makes ready for sleeping until the session's descriptors are readable; true when something has come already.
    pub(crate) fn rest(&self) -> bool {
        self.completions.drain_events();
        if self.completions.arm().is_err() {
            return true;
        }
        let mut fetched = self.fetched.lock();
        self.completions.poll(&mut fetched).is_err() || !fetched.is_empty()
    }

    /// Whether this queue pair is one of it.
    pub(super) fn has_queue(&self, number: u32) -> bool {
        self.queues.iter().any(|queue| queue.number() == number)
    }

    /// Fences the peer: destroys its queue pairs, so that no packet of it touches the arena from now on, and ends the set-up
    /// connection, which tells the peer's thread. Idempotent.
    pub(crate) fn end(&self, reason: FabricError) {
        self.close_reason.end(reason);
        self.queues.iter().for_each(|queue| queue.destroy());
        drop(self.slot.lock().take());
        self.socket.end();
    }

    /// Whether the peer still lives.
    pub(super) fn health_check(&self) -> Result<(), FabricError> {
        match self.socket.try_receive(&mut [IoSliceMut::new(&mut [0; 16])]) {
            Ok(Received::Nothing) => Ok(()),
            Ok(Received::End) => Err(FabricError::Disconnected("the peer has closed it".into())),
            Ok(Received::Bytes(_)) => Err(FabricError::Protocol("words after the set-up".into())),
            Err(error) => Err(FabricError::Disconnected(error.to_string())),
        }
    }
}

/// Readable at completions, after [`VerbsSession::rest`].
impl AsFd for VerbsSession {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.completions.as_fd()
    }
}

impl Drop for VerbsSession {
    fn drop(&mut self) {
        self.end(FabricError::Flushed);
    }
}

fn stopped() -> FabricError {
    FabricError::Disconnected("the queue pair has stopped".into())
}
