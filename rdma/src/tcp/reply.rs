//! Receiving the node's replies into the buffers that wait for them.

use super::lane::{Cipher, Lane};
use super::wire::{REPLY, Reply};
use crate::fabric::{Completion, Event, FabricError, Verb, Work};
use crate::stream::Received;
use std::io::{self, IoSliceMut};

/// How far the reply to the oldest work has come.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    head: [u8; REPLY],
    /// Bytes of head and body that are here.
    got: usize,
    refused: bool,
}

impl Lane {
    /// Moves the work whose replies have come into `events`. Never blocks.
    ///
    /// # Errors
    /// The connection has ended, or the node broke the protocol. Work completed before that is in `events`.
    pub(super) fn receive(&mut self, events: &mut Vec<Event>) -> Result<(), FabricError> {
        if self.cipher.is_some() {
            return self.receive_sealed(events);
        }
        while let Some(posted) = self.posted.front_mut() {
            let body = body(&mut posted.work);
            let room = REPLY + body.len() - self.incoming.got;
            let more = received(self.socket.try_receive(&mut self.incoming.parts(body)))?;
            self.took(more, events)?;
            // Less than there was room for: the socket is empty, which the next call would only confirm.
            if more < room {
                return Ok(());
            }
        }
        self.expect_nothing()
    }

    fn receive_sealed(&mut self, events: &mut Vec<Event>) -> Result<(), FabricError> {
        loop {
            while let Some(plain) = self.open_next()? {
                self.took(plain, events)?;
            }
            let Some(cipher) = &mut self.cipher else {
                return Ok(());
            };
            let filled = cipher.records.try_fill(&self.socket);
            if received(filled)? == 0 {
                return Ok(());
            }
        }
    }

    /// Decrypts the next record to its place and gives its length.
    fn open_next(&mut self) -> Result<Option<usize>, FabricError> {
        let Some(Cipher { secure, records }) = &mut self.cipher else {
            return Ok(None);
        };
        let Some(record) = records.next() else {
            return Ok(None);
        };
        let posted = self.posted.front_mut().ok_or_else(unasked)?;
        let incoming = &mut self.incoming;
        let opened = match incoming.got.checked_sub(REPLY) {
            Some(got) => secure.open(record, &mut body(&mut posted.work)[got..]),
            None => secure.open(record, &mut incoming.head[incoming.got..]),
        };
        opened
            .map(Some)
            .map_err(|error| FabricError::Protocol(error.to_string()))
    }

    /// Takes note of `more` bytes of the oldest work's reply, which are in their place.
    fn took(&mut self, more: usize, events: &mut Vec<Event>) -> Result<(), FabricError> {
        let before = self.incoming.got;
        self.incoming.got += more;
        if before < REPLY && self.incoming.got >= REPLY {
            self.check_head()?;
        }
        let Some(posted) = self.posted.front_mut() else {
            return Err(unasked());
        };
        if self.incoming.got < REPLY + body(&mut posted.work).len() {
            return Ok(());
        }
        let refused = self.incoming.refused;
        self.incoming = Incoming::default();
        self.sent -= 1;
        if let Some(posted) = self.posted.pop_front() {
            events.push(Event::Done(Completion {
                id: posted.work.id,
                buffer: posted.work.buffer,
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
    fn check_head(&mut self) -> Result<(), FabricError> {
        let reply = Reply::decode(&self.incoming.head)
            .ok_or_else(|| FabricError::Protocol("a reply makes no sense".into()))?;
        let posted = self
            .posted
            .front()
            .filter(|_| self.sent > 0)
            .ok_or_else(unasked)?;
        if reply.id != posted.work.id || reply.len as usize != posted.work.buffer.len() {
            return Err(unasked());
        }
        self.incoming.refused = reply.refused;
        Ok(())
    }

    /// With nothing posted, only the end can come.
    fn expect_nothing(&self) -> Result<(), FabricError> {
        let mut byte = [0];
        match received(self.socket.try_receive(&mut [IoSliceMut::new(&mut byte)]))? {
            0 => Ok(()),
            _ => Err(unasked()),
        }
    }
}

impl Incoming {
    /// Where the rest of a reply with this body goes.
    fn parts<'a>(&'a mut self, body: &'a mut [u8]) -> [IoSliceMut<'a>; 2] {
        let head = self.got.min(REPLY);
        [
            IoSliceMut::new(&mut self.head[head..]),
            IoSliceMut::new(&mut body[self.got - head..]),
        ]
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::BufferPool;
    use crate::stream::Socket;
    use crate::tcp::wire::Request;
    use proptest::prelude::*;
    use std::os::unix::net::UnixStream;

    fn lane(sealed: bool) -> (Lane, Socket) {
        let (a, b) = UnixStream::pair().unwrap();
        let secure = sealed.then(|| crate::handshake::tests::pair().0);
        (Lane::new(Socket::new(a), secure), Socket::new(b))
    }

    fn post(lane: &mut Lane, id: u64, verb: Verb) -> Request {
        let pool = BufferPool::new(0, 1).unwrap();
        let buffer = pool.try_get(100).unwrap();
        let remote = 0;
        let work = Work {
            id,
            verb,
            remote,
            buffer,
        };
        lane.post(work).unwrap();
        let len = 100;
        Request {
            id,
            verb,
            remote,
            len,
        }
    }

    #[test]
    fn a_reply_may_come_byte_by_byte() {
        let (mut lane, node) = lane(false);
        let (read, write) = (post(&mut lane, 5, Verb::Read), post(&mut lane, 6, Verb::Write));
        assert_eq!(lane.flush(), Ok(false));
        let stream = [&read.reply(false)[..], &[9; 100], &write.reply(true)].concat();
        let mut events = Vec::new();
        for byte in stream {
            node.send_all(&[byte]).unwrap();
            lane.receive(&mut events).unwrap();
        }
        let results: Vec<_> = events
            .iter()
            .map(|event| match event {
                Event::Done(done) => (done.id, done.result.clone(), done.buffer[99]),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(results[0], (5, Ok(()), 9));
        assert_eq!(results[1], (6, Err(FabricError::AccessRefused), 0));
    }

    #[test]
    fn a_reply_to_nothing_ends_it() {
        let request = |id, len| Request {
            id,
            verb: Verb::Write,
            remote: 0,
            len,
        };
        for wrong in [request(2, 100), request(1, 99)] {
            let (mut lane, node) = lane(false);
            post(&mut lane, 1, Verb::Write);
            lane.flush().unwrap();
            node.send_all(&wrong.reply(false)).unwrap();
            assert!(matches!(
                lane.receive(&mut Vec::new()),
                Err(FabricError::Protocol(_))
            ));
        }
        let (mut early, node) = lane(false);
        let posted = post(&mut early, 1, Verb::Write);
        node.send_all(&posted.reply(false)).unwrap();
        assert!(matches!(
            early.receive(&mut Vec::new()),
            Err(FabricError::Protocol(_))
        ));
        let (mut idle, node) = lane(false);
        assert_eq!(idle.receive(&mut Vec::new()), Ok(()));
        node.send_all(&[0]).unwrap();
        assert!(matches!(
            idle.receive(&mut Vec::new()),
            Err(FabricError::Protocol(_))
        ));
    }

    proptest! {
        #[test]
        fn random_bytes_never_complete_work_and_never_panic(
            bytes in proptest::collection::vec(any::<u8>(), 16..400),
            sealed: bool,
        ) {
            let (mut lane, node) = lane(sealed);
            post(&mut lane, 77, Verb::Read);
            post(&mut lane, 78, Verb::Write);
            lane.flush().unwrap();
            node.send_all(&bytes).unwrap();
            drop(node);
            let mut events = Vec::new();
            while lane.receive(&mut events).is_ok() {}
            prop_assert!(events.is_empty());
            lane.close(&FabricError::Flushed, &mut events);
            prop_assert_eq!(events.len(), 2);
        }
    }
}
