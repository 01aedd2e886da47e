//! One connection of a simulation.

use super::simulator::Shared;
use super::world::{Pace, PeerFn, disconnected};
use crate::fabric::{Completion, Endpoint, Event, FabricError, FabricKind, Facts, MAX_MESSAGE, Work};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// An endpoint whose node is a closure.
pub struct SimEndpoint {
    shared: Arc<Shared>,
    index: usize,
    facts: Facts,
    /// Taken before the world's lock, never after it.
    peer: Mutex<Option<PeerFn>>,
}

impl SimEndpoint {
    pub(super) fn new(shared: Arc<Shared>, index: usize, pace: Pace, peer: PeerFn) -> Self {
        let queues = match pace {
            Pace::AtOnce => 1,
            Pace::Latency { queues, .. } => queues.max(1),
        };
        let facts = Facts {
            kind: FabricKind::Sim,
            queues,
            device: String::new(),
            encrypted: false,
            spin: Duration::ZERO,
        };
        Self {
            shared,
            index,
            facts,
            peer: Mutex::new(Some(peer)),
        }
    }

    /// The node says something of its own accord. May be called from a peer.
    pub fn deliver(&self, message: Vec<u8>) {
        self.shared.world.lock().deliver(self.index, message);
        self.shared.changed.notify_all();
    }

    /// The node is gone.
    pub fn disconnect(&self) {
        self.shared.world.lock().break_off(self.index, &disconnected());
        self.shared.changed.notify_all();
    }

    fn is_down(&self) -> bool {
        self.shared.world.lock().ends[self.index].down
    }
}

impl Endpoint for SimEndpoint {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn post(&self, queue: usize, work: Work) -> Option<Completion> {
        let completion = self.shared.world.lock().post(self.index, queue, work);
        self.shared.changed.notify_all();
        completion
    }

    fn send(&self, message: &[u8]) -> Result<(), FabricError> {
        if message.len() > MAX_MESSAGE {
            return Err(FabricError::Full);
        }
        let mut peer = self.peer.lock();
        let arrives = self.shared.world.lock().send(self.index);
        let answers = match (arrives, peer.as_mut()) {
            (Ok(true), Some(peer)) => peer(message),
            (Ok(_), _) => Vec::new(),
            (Err(error), _) => {
                self.shared.changed.notify_all();
                return Err(error);
            }
        };
        let mut world = self.shared.world.lock();
        for answer in answers {
            world.deliver(self.index, answer);
        }
        drop(world);
        self.shared.changed.notify_all();
        Ok(())
    }

    fn poll(&self, events: &mut Vec<Event>) {
        self.shared.world.lock().take_ready(self.index, events);
        self.shared.changed.notify_all();
        if self.is_down() {
            // A peer that is just being called is dropped with the endpoint.
            let peer = self.peer.try_lock().and_then(|mut peer| peer.take());
            drop(peer);
        }
    }

    fn wait(&self, timeout: Duration) {
        let mut world = self.shared.world.lock();
        let until = world.now.saturating_add(timeout);
        world.ends[self.index].waiting = Some(until);
        self.shared.changed.notify_all();
        loop {
            let ready = world.has_ready(self.index);
            if ready || world.ends[self.index].woken || world.now >= until {
                break;
            }
            let due = world.next_due(self.index);
            let moves = match world.advance_on_wait {
                Some(idle) => timeout < idle || due.is_some() || world.owes(self.index),
                None => false,
            };
            if moves {
                let to = due.map_or(until, |due| due.min(until));
                world.now = world.now.max(to);
                self.shared.changed.notify_all();
            } else {
                self.shared.changed.wait(&mut world);
            }
        }
        let end = &mut world.ends[self.index];
        end.waiting = None;
        end.woken = false;
    }

    fn wake(&self) {
        self.shared.world.lock().ends[self.index].woken = true;
        self.shared.changed.notify_all();
    }

    fn close(&self) {
        self.shared
            .world
            .lock()
            .break_off(self.index, &FabricError::Flushed);
        self.shared.changed.notify_all();
    }
}
