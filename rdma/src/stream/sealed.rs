//! Frames as records of an encrypted channel: what waits to be sent, in a bounded queue, and what came, in the clear. Pure.
//!
//! A frame is one record whose first byte is its kind. Whoever moves the records decides when, and how much of them at a time.

use crate::fabric::{FabricError, MAX_MESSAGE};
use crate::handshake::{MAX_PLAIN, Secure};

const _: () = assert!(MAX_MESSAGE < MAX_PLAIN);

/// Both directions of a message connection, sealed.
pub(crate) struct SealedFrames {
    secure: Secure,
    /// Plain text of the frame that came last, [`MAX_PLAIN`] bytes.
    came: Box<[u8]>,
    /// Plain text of the frame that was sealed last.
    went: Vec<u8>,
    /// Records not yet sent; the first `sent` bytes of it are.
    outgoing: Vec<u8>,
    sent: usize,
    /// Most bytes that may wait in `outgoing`.
    backlog: usize,
}

impl SealedFrames {
    pub(crate) fn new(secure: Secure, backlog: usize) -> Self {
        Self {
            secure,
            came: vec![0; MAX_PLAIN].into_boxed_slice(),
            went: Vec::new(),
            outgoing: Vec::new(),
            sent: 0,
            backlog,
        }
    }

    /// Seals a frame of this kind and queues it.
    ///
    /// # Errors
    /// `Protocol` when `body` is longer than [`MAX_MESSAGE`], `Full` when more than the backlog would wait.
    pub(crate) fn put(&mut self, kind: u8, body: &[u8]) -> Result<(), FabricError> {
        if body.len() > MAX_MESSAGE {
            let why = format!("a message of {} bytes is too long", body.len());
            return Err(FabricError::Protocol(why));
        }
        let waiting = self.waiting().len();
        if waiting > 0 && waiting + body.len() > self.backlog {
            return Err(FabricError::Full);
        }
        self.went.clear();
        self.went.push(kind);
        self.went.extend_from_slice(body);
        let sealed = self.secure.seal(&self.went, &mut self.outgoing);
        sealed.map_err(|error| FabricError::Protocol(error.to_string()))
    }

    /// The bytes that wait to be sent.
    pub(crate) fn waiting(&self) -> &[u8] {
        &self.outgoing[self.sent..]
    }

    /// The first `count` bytes of those that waited are sent.
    pub(crate) fn advance(&mut self, count: usize) {
        self.sent += count;
        // Moving the rest only when it is the smaller part keeps the cost per byte constant.
        if self.sent * 2 >= self.outgoing.len() {
            self.outgoing.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// The kind and body of the next record that came, without its length. A frame without a kind, or longer than a message may be, gives `None`.
    ///
    /// # Errors
    /// `Protocol` when the record does not decrypt.
    pub(crate) fn open(&mut self, record: &[u8]) -> Result<Option<(u8, &[u8])>, FabricError> {
        let opened = self.secure.open(record, &mut self.came);
        let len = opened.map_err(|error| FabricError::Protocol(error.to_string()))?;
        let frame = self.came[..len].split_first();
        Ok(frame
            .filter(|(_, body)| body.len() <= MAX_MESSAGE)
            .map(|(kind, body)| (*kind, body)))
    }
}

impl std::fmt::Debug for SealedFrames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealedFrames")
            .field("waiting", &self.waiting().len())
            .field("backlog", &self.backlog)
            .finish_non_exhaustive()
    }
}
