//! A live link to a node of this host: its arena, mapped.

use crate::arena::Arena;
use crate::fabric::{Completion, Endpoint, Event, FabricError, FabricKind, Facts, Verb, Work};
use crate::handshake::Secure;
use crate::protocol::Negotiated;
use crate::stream::{EndpointState, Frame, Mailbox, Socket, ready, watch};
use parking_lot::{Mutex, RwLock};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

/// Most bytes of messages that may wait for a node that does not read.
const BACKLOG: usize = 1 << 20;

/// The arena is there while the node lives and the endpoint is open. A copy runs under the read lock, so that who
/// takes the arena away, under the write lock, knows that no copy runs and none will.
pub(super) struct ShmEndpoint {
    facts: Facts,
    /// Lock order: `polling`, then `arena` or the mailbox.
    arena: RwLock<Option<Arena>>,
    mailbox: Mailbox,
    /// Readable once the node's process has ended.
    process: OwnedFd,
    state: EndpointState,
    /// Held while one thread polls, so that events have one order.
    polling: Mutex<Vec<Frame>>,
}

impl ShmEndpoint {
    pub(super) fn new(
        (control, secure): (Socket, Secure),
        arena: Arena,
        process: OwnedFd,
        negotiated: Negotiated,
    ) -> io::Result<Self> {
        let facts = Facts {
            kind: FabricKind::Shm,
            queues: 1,
            device: String::new(),
            encrypted: false,
            negotiated,
            spin: Duration::ZERO,
        };
        Ok(Self {
            facts,
            arena: RwLock::new(Some(arena)),
            mailbox: Mailbox::new(Arc::new(control), secure, BACKLOG),
            process,
            state: EndpointState::new()?,
            polling: Mutex::new(Vec::new()),
        })
    }

    /// Declares the endpoint dead: waits for the copies that run (each at most 1 MiB), unmaps the arena, and only then tells
    /// the node. If the node does not hear the goodbye, it waits for the end of this process.
    fn end(&self, reason: FabricError) {
        if !self.state.end_quietly(reason) {
            return;
        }
        drop(self.arena.write().take());
        let _ = self.mailbox.say_goodbye();
        self.mailbox.socket().end_sending();
        self.state.wake();
    }

    fn copy(&self, work: &mut Work) -> Result<(), FabricError> {
        let arena = self.arena.read();
        let Some(arena) = &*arena else {
            return Err(self.state.ended().unwrap_or(FabricError::Flushed));
        };
        let done = match work.verb {
            Verb::Read => arena.read(work.remote, &mut work.buffer),
            Verb::Write => arena.write(work.remote, &work.buffer),
        };
        done.ok_or(FabricError::AccessRefused)
    }

    fn poll_mailbox(&self, frames: &mut Vec<Frame>, events: &mut Vec<Event>) -> Result<(), FabricError> {
        let mut watched = [watch(self.mailbox.socket(), false), watch(&self.process, false)];
        let anything = ready(&mut watched, Duration::ZERO);
        let process_ended = watched[1].any().unwrap_or(false);
        let mut done = self.mailbox.flush().map(|_| ());
        if anything.unwrap_or(true) {
            done = done.and(self.mailbox.receive(frames));
        }
        let messages = frames.drain(..).filter_map(|frame| match frame {
            Frame::Message(message) => Some(Event::Message(message)),
            Frame::Goodbye => None,
        });
        events.extend(messages);
        if process_ended {
            return Err(FabricError::Disconnected("the node's process has ended".into()));
        }
        done
    }
}

impl Endpoint for ShmEndpoint {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn post(&self, _queue: usize, mut work: Work) -> Option<Completion> {
        let result = self.copy(&mut work);
        Some(Completion {
            id: work.id,
            buffer: work.buffer,
            result,
        })
    }

    fn send(&self, message: &[u8]) -> Result<(), FabricError> {
        self.state.check()?;
        let sent = self.mailbox.send(message);
        match &sent {
            Ok(true) => self.state.wake(),
            Err(reason @ FabricError::Disconnected(_)) => self.end(reason.clone()),
            _ => {}
        }
        sent.map(|_| ())
    }

    fn poll(&self, events: &mut Vec<Event>) {
        let Some(mut frames) = self.polling.try_lock() else {
            return;
        };
        if self.state.ended().is_none()
            && let Err(reason) = self.poll_mailbox(&mut frames, events)
        {
            self.end(reason);
        }
        if let Some(reason) = self.state.say_once() {
            events.push(Event::Down(reason));
        }
    }

    fn wait(&self, timeout: Duration) {
        let mut watched = vec![self.state.watched()];
        if self.state.ended().is_none() {
            watched.push(watch(self.mailbox.socket(), self.mailbox.is_waiting()));
            watched.push(watch(&self.process, false));
        }
        self.state.sleep(&mut watched, timeout);
    }

    fn wake(&self) {
        self.state.wake();
    }

    fn close(&self) {
        self.end(FabricError::Flushed);
    }
}

impl Drop for ShmEndpoint {
    fn drop(&mut self) {
        self.end(FabricError::Flushed);
    }
}
