//! A data connection, as the endpoint sees it: a queue of work that is sent in order and answered in order.
//!
//! Nothing here blocks: what the socket does not take stays in the queue, whose length the link's window bounds.

use super::cipher::Cipher;
use super::queue::{Posted, RequestQueue};
use super::reply::Incoming;
use super::wire::DataRequest;
use crate::fabric::{Completion, Event, FabricError, Work};
use crate::handshake::Secure;
use crate::stream::Socket;
use std::io::IoSlice;
use std::sync::Arc;

/// Requests that go out with one system call.
const GATHER: usize = 8;

/// One data connection.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) socket: Arc<Socket>,
    cipher: Option<Cipher>,
    queue: RequestQueue,
    incoming: Incoming,
    /// Set once, when the endpoint has died and the queue was emptied: nothing is posted after that.
    closed: Option<FabricError>,
}

impl Lane {
    pub(super) fn new(socket: Socket, secure: Option<Secure>) -> Self {
        Self {
            socket: Arc::new(socket),
            cipher: secure.map(Cipher::new),
            queue: RequestQueue::default(),
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
        let request = DataRequest {
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
        self.queue.push(Posted { work, head, sealed });
        Ok(())
    }

    /// Sends what the socket takes: true when some still waits.
    pub(super) fn flush(&mut self) -> Result<bool, FabricError> {
        while self.queue.is_waiting() {
            let mut parts = [IoSlice::new(&[]); 2 * GATHER];
            self.queue.gather(&mut parts);
            match self.socket.try_send(&parts) {
                Ok(0) => return Ok(true),
                Ok(more) => self.queue.advance(more),
                Err(error) => return Err(FabricError::Disconnected(error.to_string())),
            }
        }
        Ok(false)
    }

    /// Moves the work whose replies have come into `events`. Never blocks.
    ///
    /// # Errors
    /// The connection has ended, or the node broke the protocol. Work completed before that is in `events`.
    pub(super) fn receive(&mut self, events: &mut Vec<Event>) -> Result<(), FabricError> {
        let cipher = self.cipher.as_mut();
        self.incoming
            .receive(&self.socket, cipher, &mut self.queue, events)
    }

    /// True when work waits to be sent.
    pub(super) fn is_waiting(&self) -> bool {
        self.queue.is_waiting()
    }

    /// True when nothing waits for an answer.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// Ends the lane: all work comes back with this error, and so does all that is posted later.
    pub(super) fn close(&mut self, reason: &FabricError, events: &mut Vec<Event>) {
        self.socket.end();
        let closed = self.closed.get_or_insert_with(|| reason.clone());
        for work in self.queue.drain() {
            events.push(Event::Done(*failed(work, closed.clone())));
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::BufferPool;
    use crate::fabric::Verb;
    use proptest::prelude::*;
    use std::os::unix::net::UnixStream;

    fn lane(sealed: bool) -> (Lane, Socket) {
        let (a, b) = UnixStream::pair().unwrap();
        let secure = sealed.then(|| crate::handshake::tests::pair().0);
        (Lane::new(Socket::new(a), secure), Socket::new(b))
    }

    fn post(lane: &mut Lane, id: u64, verb: Verb) -> DataRequest {
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
        DataRequest {
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
        let request = |id, len| DataRequest {
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
