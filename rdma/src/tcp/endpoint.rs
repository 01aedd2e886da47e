//! A live link over TCP, as the handler sees it.

use super::lane::{Lane, failed};
use crate::fabric::{Completion, Endpoint, Event, FabricError, FabricKind, Facts, Work};
use crate::handshake::Secure;
use crate::protocol::Negotiated;
use crate::stream::{EndpointState, Frame, Mailbox, Socket, watch};
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Most bytes of messages that may wait for a node that does not read.
const BACKLOG: usize = 1 << 20;
/// A reply over loopback takes about as long; over a network this is little against the way.
const SPIN: Duration = Duration::from_micros(20);

/// K data connections and one for messages. When one of them fails, all end.
pub(super) struct TcpEndpoint {
    facts: Facts,
    /// Lock order: `polling`, then one lane or the mailbox at a time.
    lanes: Vec<Shared>,
    mailbox: Mailbox,
    state: EndpointState,
    /// Held while one thread polls, so that events have one order.
    polling: Mutex<Vec<Frame>>,
}

struct Shared {
    lane: Mutex<Lane>,
    /// [`Endpoint::wait`] saw something on it: look, even when nothing is expected.
    stirred: AtomicBool,
    /// The lane's, to be watched without its lock.
    socket: Arc<Socket>,
}

impl TcpEndpoint {
    pub(super) fn new(
        (control, secure): (Socket, Secure),
        lanes: Vec<Lane>,
        encrypted: bool,
        negotiated: Negotiated,
    ) -> io::Result<Self> {
        let facts = Facts {
            kind: FabricKind::Tcp,
            queues: lanes.len(),
            device: String::new(),
            encrypted,
            negotiated,
            spin: SPIN,
        };
        let lanes = lanes.into_iter().map(|lane| Shared {
            socket: Arc::clone(&lane.socket),
            lane: Mutex::new(lane),
            stirred: AtomicBool::new(false),
        });
        Ok(Self {
            facts,
            lanes: lanes.collect(),
            mailbox: Mailbox::new(Arc::new(control), secure, BACKLOG),
            state: EndpointState::new()?,
            polling: Mutex::new(Vec::new()),
        })
    }

    fn poll_lanes(&self, events: &mut Vec<Event>) -> Result<(), FabricError> {
        for shared in &self.lanes {
            let mut lane = shared.lane.lock();
            lane.flush()?;
            if shared.stirred.swap(false, Ordering::Relaxed) || !lane.is_idle() {
                lane.receive(events)?;
            }
        }
        Ok(())
    }

    fn poll_mailbox(&self, frames: &mut Vec<Frame>, events: &mut Vec<Event>) -> Result<(), FabricError> {
        let done = self.mailbox.flush().and_then(|_| self.mailbox.receive(frames));
        let messages = frames.drain(..).filter_map(|frame| match frame {
            Frame::Message(message) => Some(Event::Message(message)),
            Frame::Goodbye => None,
        });
        events.extend(messages);
        done
    }

    /// Gives all work back, and says why, once.
    fn tear_down(&self, reason: &FabricError, events: &mut Vec<Event>) {
        for shared in &self.lanes {
            shared.lane.lock().close(reason, events);
        }
        self.mailbox.socket().end();
        if let Some(reason) = self.state.say_once() {
            events.push(Event::Down(reason));
        }
    }
}

impl Endpoint for TcpEndpoint {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn post(&self, queue: usize, work: Work) -> Option<Completion> {
        if let Some(reason) = self.state.ended() {
            return Some(*failed(work, reason));
        }
        let mut lane = self.lanes[queue % self.lanes.len()].lane.lock();
        if let Err(completion) = lane.post(work) {
            return Some(*completion);
        }
        match lane.flush() {
            Ok(false) => {}
            // Who waits must now watch for room.
            Ok(true) => self.state.wake(),
            Err(reason) => self.state.end(reason),
        }
        None
    }

    fn send(&self, message: &[u8]) -> Result<(), FabricError> {
        self.state.check()?;
        let sent = self.mailbox.send(message);
        match &sent {
            Ok(true) => self.state.wake(),
            Err(reason @ FabricError::Disconnected(_)) => self.state.end(reason.clone()),
            _ => {}
        }
        sent.map(|_| ())
    }

    fn poll(&self, events: &mut Vec<Event>) {
        let Some(mut frames) = self.polling.try_lock() else {
            return;
        };
        if self.state.ended().is_none() {
            let lanes = self.poll_lanes(events);
            let messages = self.poll_mailbox(&mut frames, events);
            if let Err(reason) = lanes.and(messages) {
                self.state.end_quietly(reason);
            }
        }
        if let Some(reason) = self.state.ended() {
            self.tear_down(&reason, events);
        }
    }

    fn wait(&self, timeout: Duration) {
        let mut watched = vec![self.state.watched()];
        if self.state.ended().is_none() {
            watched.push(watch(self.mailbox.socket(), self.mailbox.is_waiting()));
            for shared in &self.lanes {
                let waiting = shared.lane.lock().is_waiting();
                watched.push(watch(&*shared.socket, waiting));
            }
        }
        if !self.state.sleep(&mut watched, timeout) {
            return;
        }
        for (watched, shared) in watched.iter().skip(2).zip(&self.lanes) {
            if watched.any().unwrap_or(true) {
                shared.stirred.store(true, Ordering::Relaxed);
            }
        }
    }

    fn wake(&self) {
        self.state.wake();
    }

    fn close(&self) {
        self.state.end(FabricError::Flushed);
    }
}
