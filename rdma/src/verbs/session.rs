//! The node's side of one handler's queue pairs: it carries messages, and has nothing to do for reads and writes.

use super::chunks::Parcel;
use super::completions::Completions;
use super::error::meaning;
use super::ffi::ibv_wc;
use super::messages::{Kind, Messages, kind};
use super::queue::Queue;
use crate::fabric::{FabricError, Lineage};
use crate::stream::{Fate, Frame, Received, Socket};
use parking_lot::Mutex;
use std::io::IoSliceMut;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

/// A place in the memory for messages, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) number: usize,
    pub(super) free: Arc<Mutex<Vec<usize>>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.free.lock().push(self.number);
    }
}

/// A handler's queue pairs.
#[derive(Debug)]
pub(crate) struct Session {
    pub(super) lineage: Lineage,
    queues: Vec<Arc<Queue>>,
    messages: Messages,
    completions: Arc<Completions>,
    /// The set-up connection: nothing comes on it but its end.
    socket: Arc<Socket>,
    fate: Fate,
    fetched: Mutex<Vec<ibv_wc>>,
    /// Given back once the queue pairs are destroyed.
    place: Mutex<Option<Place>>,
}

/// What a session is made of.
pub(super) struct Parts {
    pub(super) lineage: Lineage,
    pub(super) queues: Vec<Arc<Queue>>,
    pub(super) messages: Messages,
    pub(super) completions: Arc<Completions>,
    pub(super) socket: Arc<Socket>,
    pub(super) place: Place,
}

impl Session {
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            lineage: parts.lineage,
            queues: parts.queues,
            messages: parts.messages,
            completions: parts.completions,
            socket: parts.socket,
            fate: Fate::default(),
            fetched: Mutex::default(),
            place: Mutex::new(Some(parts.place)),
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
        match self.fate.ended() {
            Some(reason) => Err(reason),
            None => self.messages.send(message),
        }
    }

    /// Says that the queue pairs work.
    pub(super) fn hail(&self) -> Result<(), FabricError> {
        self.messages.hail()
    }

    /// Moves what has come into `frames`, and sends what became possible. Never blocks.
    ///
    /// # Errors
    /// The peer is gone, its queue pair has stopped, or it broke the protocol.
    pub(crate) fn receive(&self, frames: &mut Vec<Frame>) -> Result<(), FabricError> {
        let mut parcels = Vec::new();
        let came = self.take(&mut parcels);
        frames.extend(parcels.into_iter().filter_map(|parcel| match parcel {
            Parcel::Message(message) => Some(Frame::Message(message)),
            Parcel::Hail => None,
        }));
        came.and_then(|()| self.glance())
    }

    /// The same, with the hail, and without a look at the set-up connection.
    pub(super) fn take(&self, parcels: &mut Vec<Parcel>) -> Result<(), FabricError> {
        if let Some(reason) = self.fate.ended() {
            return Err(reason);
        }
        let mut fetched = self.fetched.lock();
        loop {
            let more = self.completions.poll(&mut fetched);
            let more = more.map_err(|error| FabricError::Disconnected(error.to_string()))?;
            for completion in fetched.drain(..) {
                if let Some(status) = completion.error() {
                    return Err(match meaning(status) {
                        FabricError::Flushed => {
                            FabricError::Disconnected("the queue pair has stopped".into())
                        }
                        other => other,
                    });
                }
                match kind(completion.wr_id) {
                    Kind::Came(slot) => self.messages.came(slot, completion.len(), parcels)?,
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
        self.completions.hush();
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
        self.fate.end(reason);
        self.queues.iter().for_each(|queue| queue.destroy());
        drop(self.place.lock().take());
        self.socket.end();
    }

    /// Whether the peer still lives.
    pub(super) fn glance(&self) -> Result<(), FabricError> {
        match self.socket.try_receive(&mut [IoSliceMut::new(&mut [0; 16])]) {
            Ok(Received::Nothing) => Ok(()),
            Ok(Received::End) => Err(FabricError::Disconnected("the peer has closed it".into())),
            Ok(Received::Bytes(_)) => Err(FabricError::Protocol("words after the set-up".into())),
            Err(error) => Err(FabricError::Disconnected(error.to_string())),
        }
    }
}

/// Readable at completions, after [`Session::rest`].
impl AsFd for Session {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.completions.as_fd()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.end(FabricError::Flushed);
    }
}
