//! One connection of a simulation.

use super::shared::Shared;
use super::types::{Pace, PeerFn};
use super::world::disconnected;
use crate::fabric::{Completion, Endpoint, Event, FabricError, FabricKind, Facts, MAX_MESSAGE, Work};
use crate::protocol::Negotiated;
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
    pub(super) fn new(
        (shared, index): (Arc<Shared>, usize),
        negotiated: Negotiated,
        pace: Pace,
        peer: PeerFn,
    ) -> Self {
        let queues = match pace {
            Pace::AtOnce => 1,
            Pace::Latency { queues, .. } => queues.max(1),
        };
        let facts = Facts {
            kind: FabricKind::Sim,
            queues,
            device: String::new(),
            encrypted: false,
            negotiated,
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

    /// Breaks the connection, as when the node is gone.
    pub fn disconnect(&self) {
        self.shared.world.lock().break_off(self.index, &disconnected());
        self.shared.changed.notify_all();
    }

    /// Its number in the simulation.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// The user's side dies without a word: it takes and posts nothing any more, but what it posted is on its way.
    pub fn kill(&self) {
        self.shared.world.lock().kill(self.index);
        self.shared.changed.notify_all();
    }

    /// The user's side has died.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.shared.world.lock().is_dead(self.index)
    }

    /// The user's side has heard everything that the node said.
    #[must_use]
    pub fn has_heard_all(&self) -> bool {
        self.shared.world.lock().has_heard_all(self.index)
    }

    /// Nothing passes for so long, in either direction.
    pub fn stall(&self, by: Duration) {
        self.shared.world.lock().stall(self.index, by);
    }

    /// Drops the peer of a connection that has ended.
    pub fn forget_peer(&self) {
        let peer = self.peer.try_lock().and_then(|mut peer| peer.take());
        drop(peer);
    }

    /// Lets arrive at the node what is due there.
    pub fn carry(&self) {
        // Who holds it sends: then what is due is handed over there, or with the next poll, which comes at once.
        if let Some(mut peer) = self.peer.try_lock() {
            self.hand_over(&mut peer);
        }
    }

    /// Gives the node what has come to it.
    fn hand_over(&self, peer: &mut Option<PeerFn>) {
        loop {
            let arrived = self.shared.world.lock().arriving(self.index);
            let Some(message) = arrived else { break };
            let answers = peer.as_mut().map_or_else(Vec::new, |peer| peer(&message));
            let mut world = self.shared.world.lock();
            for answer in answers {
                world.deliver(self.index, answer);
            }
        }
        self.shared.changed.notify_all();
    }

    /// The connection has ended.
    #[must_use]
    pub fn is_down(&self) -> bool {
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
        let sent = self.shared.world.lock().send(self.index, message);
        self.hand_over(&mut peer);
        sent
    }

    fn poll(&self, events: &mut Vec<Event>) {
        self.carry();
        self.shared.world.lock().take_ready(self.index, events);
        self.shared.changed.notify_all();
        if self.is_down() {
            // A peer that is just being called is dropped with the endpoint.
            self.forget_peer();
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
        let mut world = self.shared.world.lock();
        // What the dead left behind is not theirs to take back.
        if !world.is_dead(self.index) {
            world.break_off(self.index, &FabricError::Flushed);
        }
        drop(world);
        self.shared.changed.notify_all();
    }
}
