//! Receiving the node's replies into the buffers that wait for them.

use super::cipher::Cipher;
use super::queue::RequestQueue;
use super::wire::{REPLY, Reply};
use crate::fabric::{Completion, Event, FabricError, Verb, Work};
use crate::stream::{Received, Socket};
use std::io::{self, IoSliceMut};

/// How far the reply to the oldest work has come.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    head: [u8; REPLY],
    /// Bytes of head and body that are here.
    got: usize,
    refused: bool,
}

impl Incoming {
    /// Moves the work of `queue` whose replies have come into `events`. Never blocks.
    ///
    /// # Errors
    /// The connection has ended, or the node broke the protocol. Work completed before that is in `events`.
    pub(super) fn receive(
        &mut self,
        socket: &Socket,
        cipher: Option<&mut Cipher>,
        queue: &mut RequestQueue,
        events: &mut Vec<Event>,
    ) -> Result<(), FabricError> {
        if let Some(cipher) = cipher {
            return self.receive_sealed(socket, cipher, queue, events);
        }
        while let Some(work) = queue.oldest() {
            let body = body(work);
            let room = REPLY + body.len() - self.got;
            let more = received(socket.try_receive(&mut self.parts(body)))?;
            self.took(more, queue, events)?;
            // Less than there was room for: the socket is empty, which the next call would only confirm.
            if more < room {
                return Ok(());
            }
        }
        expect_nothing(socket)
    }

    fn receive_sealed(
        &mut self,
        socket: &Socket,
        cipher: &mut Cipher,
        queue: &mut RequestQueue,
        events: &mut Vec<Event>,
    ) -> Result<(), FabricError> {
        loop {
            while let Some(plain) = self.open_next(cipher, queue)? {
                self.took(plain, queue, events)?;
            }
            if received(cipher.records.try_fill(socket))? == 0 {
                return Ok(());
            }
        }
    }

    /// Decrypts the next record to its place and gives its length.
    fn open_next(
        &mut self,
        cipher: &mut Cipher,
        queue: &mut RequestQueue,
    ) -> Result<Option<usize>, FabricError> {
        let Cipher { secure, records } = cipher;
        let Some(record) = records.next() else {
            return Ok(None);
        };
        let work = queue.oldest().ok_or_else(unasked)?;
        let opened = match self.got.checked_sub(REPLY) {
            Some(got) => secure.open(record, &mut body(work)[got..]),
            None => secure.open(record, &mut self.head[self.got..]),
        };
        opened
            .map(Some)
            .map_err(|error| FabricError::Protocol(error.to_string()))
    }

    /// Takes note of `more` bytes of the oldest work's reply, which are in their place.
    fn took(
        &mut self,
        more: usize,
        queue: &mut RequestQueue,
        events: &mut Vec<Event>,
    ) -> Result<(), FabricError> {
        let before = self.got;
        self.got += more;
        if before < REPLY && self.got >= REPLY {
            self.check_head(queue)?;
        }
        let work = queue.oldest().ok_or_else(unasked)?;
        if self.got < REPLY + body(work).len() {
            return Ok(());
        }
        let refused = self.refused;
        *self = Self::default();
        if let Some(work) = queue.answered() {
            events.push(Event::Done(Completion {
                id: work.id,
                buffer: work.buffer,
                result: if refused {
                    Err(FabricError::AccessRefused)
                } else {
                    Ok(())
                },
            }));
        }
        Ok(())
    }

    /// The head must answer the oldest work, all of which was sent.
    fn check_head(&mut self, queue: &RequestQueue) -> Result<(), FabricError> {
        let reply = Reply::decode(&self.head)
            .ok_or_else(|| FabricError::Protocol("a reply makes no sense".into()))?;
        let work = queue.oldest_sent().ok_or_else(unasked)?;
        if reply.id != work.id || reply.len as usize != work.buffer.len() {
            return Err(unasked());
        }
        self.refused = reply.refused;
        Ok(())
    }

    /// Where the rest of a reply with this body goes.
    fn parts<'a>(&'a mut self, body: &'a mut [u8]) -> [IoSliceMut<'a>; 2] {
        let head = self.got.min(REPLY);
        [
            IoSliceMut::new(&mut self.head[head..]),
            IoSliceMut::new(&mut body[self.got - head..]),
        ]
    }
}

/// With nothing posted, only the end can come.
fn expect_nothing(socket: &Socket) -> Result<(), FabricError> {
    let mut byte = [0];
    match received(socket.try_receive(&mut [IoSliceMut::new(&mut byte)]))? {
        0 => Ok(()),
        _ => Err(unasked()),
    }
}

/// Where the bytes after the head go.
fn body(work: &mut Work) -> &mut [u8] {
    match work.verb {
        Verb::Read => &mut work.buffer,
        Verb::Write => &mut [],
    }
}

/// Bytes received, possibly none.
fn received(result: io::Result<Received>) -> Result<usize, FabricError> {
    match result {
        Ok(Received::Bytes(more)) => Ok(more),
        Ok(Received::Nothing) => Ok(0),
        Ok(Received::End) => Err(FabricError::Disconnected("the node has closed it".into())),
        Err(error) => Err(FabricError::Disconnected(error.to_string())),
    }
}

fn unasked() -> FabricError {
    FabricError::Protocol("a reply answers nothing that was asked".into())
}
