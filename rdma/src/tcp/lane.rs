//! A data connection, as the endpoint sees it: a queue of work that is sent in order and answered in order.
//!
//! Nothing here blocks: what the socket does not take stays in the queue, whose length the link's window bounds.

use super::reply::Incoming;
use super::wire::{REQUEST, Request};
use crate::fabric::{Completion, Event, FabricError, Verb, Work};
use crate::handshake::Secure;
use crate::stream::{Records, Socket};
use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

/// Plain text per record: short enough that the peer decrypts one while the next is on the wire.
pub(super) const RECORD: usize = 60 * 1024;
/// Requests that go out with one system call.
const GATHER: usize = 8;

/// One data connection. Invariant: `posted` is what was not answered yet, oldest first, and the first `sent` of it are
/// wholly sent, of the next `progress` bytes.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) socket: Arc<Socket>,
    pub(super) cipher: Option<Cipher>,
    pub(super) posted: VecDeque<Posted>,
    pub(super) sent: usize,
    progress: usize,
    pub(super) incoming: Incoming,
    /// Set once, when the endpoint has died and the queue was emptied: nothing is posted after that.
    closed: Option<FabricError>,
}

/// What an encrypted connection has in addition.
#[derive(Debug)]
pub(super) struct Cipher {
    pub(super) secure: Secure,
    pub(super) records: Records,
}

/// Work that was not answered yet.
#[derive(Debug)]
pub(super) struct Posted {
    pub(super) work: Work,
    head: [u8; REQUEST],
    /// On an encrypted connection, all of the request; else empty.
    sealed: Vec<u8>,
}

impl Lane {
    pub(super) fn new(socket: Socket, secure: Option<Secure>) -> Self {
        Self {
            socket: Arc::new(socket),
            cipher: secure.map(|secure| Cipher {
                secure,
                records: Records::new(),
            }),
            posted: VecDeque::new(),
            sent: 0,
            progress: 0,
            incoming: Incoming::default(),
            closed: None,
        }
    }

    /// Queues work; `Err` gives it back with the reason when the lane is closed.
    pub(super) fn post(&mut self, work: Work) -> Result<(), Box<Completion>> {
        if let Some(reason) = &self.closed {
            return Err(failed(work, reason.clone()));
        }
        // A buffer is at most 1 MiB.
        let len = u32::try_from(work.buffer.len()).unwrap_or(u32::MAX);
        let request = Request {
            id: work.id,
            verb: work.verb,
            remote: work.remote,
            len,
        };
        let head = request.encode();
        let mut sealed = Vec::new();
        if let Some(cipher) = &mut self.cipher
            && cipher.seal_request(&head, &work, &mut sealed).is_err()
        {
            return Err(failed(
                work,
                FabricError::Protocol("a request cannot be sealed".into()),
            ));
        }
        self.posted.push_back(Posted { work, head, sealed });
        Ok(())
    }

    /// Sends what the socket takes: true when some still waits.
    pub(super) fn flush(&mut self) -> Result<bool, FabricError> {
        while self.sent < self.posted.len() {
            let mut parts = [IoSlice::new(&[]); 2 * GATHER];
            let mut wanted = 0;
            for (posted, parts) in self.posted.range(self.sent..).zip(parts.chunks_exact_mut(2)) {
                let skip = if wanted == 0 { self.progress } else { 0 };
                wanted += posted.parts(skip, parts);
            }
            match self.socket.try_send(&parts) {
                Ok(0) => return Ok(true),
                Ok(more) => self.advance(more),
                Err(error) => return Err(FabricError::Disconnected(error.to_string())),
            }
        }
        Ok(false)
    }

    /// True when work waits to be sent.
    pub(super) fn is_waiting(&self) -> bool {
        self.sent < self.posted.len()
    }

    /// Ends the lane: all work comes back with this error, and so does all that is posted later.
    pub(super) fn close(&mut self, reason: &FabricError, events: &mut Vec<Event>) {
        self.socket.end();
        self.sent = 0;
        self.progress = 0;
        let closed = self.closed.get_or_insert_with(|| reason.clone());
        for posted in self.posted.drain(..) {
            events.push(Event::Done(*failed(posted.work, closed.clone())));
        }
    }

    /// Takes note of bytes sent.
    fn advance(&mut self, mut bytes: usize) {
        bytes += self.progress;
        while let Some(posted) = self.posted.get(self.sent) {
            match bytes.checked_sub(posted.len()) {
                None => break,
                Some(rest) => bytes = rest,
            }
            self.sent += 1;
            // The ciphertext is of no use any more, and may be large.
            self.posted[self.sent - 1].sealed = Vec::new();
        }
        self.progress = bytes;
    }
}

impl Posted {
    /// The bytes that follow the head on the wire, when it is not encrypted.
    fn body(&self) -> &[u8] {
        match self.work.verb {
            Verb::Read => &[],
            Verb::Write => &self.work.buffer,
        }
    }

    /// Bytes on the wire. Meaningful until they are all sent.
    fn len(&self) -> usize {
        match self.sealed.len() {
            0 => self.head.len() + self.body().len(),
            sealed => sealed,
        }
    }

    /// Puts what is to be sent, without the first `skip` bytes, into two parts, and gives its length.
    fn parts<'a>(&'a self, skip: usize, parts: &mut [IoSlice<'a>]) -> usize {
        let (first, second) = match self.sealed.len() {
            0 => (&self.head[..], self.body()),
            _ => (&self.sealed[..], &[][..]),
        };
        let (first_skip, second_skip) = (skip.min(first.len()), skip.saturating_sub(first.len()));
        parts[0] = IoSlice::new(&first[first_skip..]);
        parts[1] = IoSlice::new(&second[second_skip..]);
        self.len() - skip
    }
}

impl Cipher {
    fn seal_request(
        &mut self,
        head: &[u8],
        work: &Work,
        out: &mut Vec<u8>,
    ) -> Result<(), crate::handshake::Broken> {
        self.secure.seal(head, out)?;
        if work.verb == Verb::Write {
            for piece in work.buffer.chunks(RECORD) {
                self.secure.seal(piece, out)?;
            }
        }
        Ok(())
    }
}

/// Work that came to nothing.
pub(super) fn failed(work: Work, reason: FabricError) -> Box<Completion> {
    Box::new(Completion {
        id: work.id,
        buffer: work.buffer,
        result: Err(reason),
    })
}
