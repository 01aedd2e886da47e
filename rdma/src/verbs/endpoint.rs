//! A live link over queue pairs, as the handler sees it.

use super::chunks::Parcel;
use super::completions::Completions;
use super::device::Device;
use super::error::meaning;
use super::events::{self, DeviceEvent};
use super::ffi::{self, ibv_wc};
use super::lane::{Lane, lane_of};
use super::messages::{Kind, Messages, kind};
use crate::fabric::{Completion, Endpoint, Event, FabricError, Facts, Work};
use crate::stream::{Bell, Fate, Received, Socket, ready, watch};
use parking_lot::Mutex;
use std::io::IoSliceMut;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Batches of completions that one poll handles at most.
const ROUNDS: usize = 8;
/// Polls after which the set-up connection is looked at, even when nobody slept.
const GLANCE: u32 = 64;

/// K queue pairs, the first of which carries the messages too. When one of them stops, all end.
pub(super) struct VerbsEndpoint {
    facts: Facts,
    /// Lock order: `polling`, then one lane or the messages at a time.
    lanes: Vec<Lane>,
    messages: Messages,
    completions: Arc<Completions>,
    device: Arc<Device>,
    /// The set-up connection: nothing comes on it but its end.
    socket: Socket,
    fate: Fate,
    bell: Bell,
    /// [`Endpoint::wait`] saw something on the set-up connection or the device: look.
    stirred: AtomicBool,
    /// The node hailed.
    hailed: AtomicBool,
    /// Held while one thread polls, so that events have one order.
    polling: Mutex<Polling>,
}

/// What an endpoint is made of.
pub(super) struct Parts {
    pub(super) facts: Facts,
    pub(super) lanes: Vec<Lane>,
    pub(super) messages: Messages,
    pub(super) completions: Arc<Completions>,
    pub(super) device: Arc<Device>,
    pub(super) socket: Socket,
}

#[derive(Default)]
struct Polling {
    /// Fetched and not handled yet.
    fetched: Vec<ibv_wc>,
    parcels: Vec<Parcel>,
    /// Came while the set-up was still waiting for the hail.
    early: Vec<Event>,
    polls: u32,
}

impl VerbsEndpoint {
    pub(super) fn new(parts: Parts) -> std::io::Result<Self> {
        Ok(Self {
            facts: parts.facts,
            lanes: parts.lanes,
            messages: parts.messages,
            completions: parts.completions,
            device: parts.device,
            socket: parts.socket,
            fate: Fate::default(),
            bell: Bell::new()?,
            stirred: AtomicBool::new(false),
            hailed: AtomicBool::new(false),
            polling: Mutex::default(),
        })
    }

    /// Says that the queue pairs work.
    pub(super) fn hail(&self) -> Result<(), FabricError> {
        self.messages.hail()
    }

    /// True once the node has said so.
    pub(super) fn hailed(&self) -> bool {
        self.hailed.load(Ordering::Acquire)
    }

    /// Gives events back that came together with the hail.
    pub(super) fn keep(&self, events: Vec<Event>) {
        self.polling.lock().early = events;
    }

    /// Declares the endpoint dead; the next poll buries it.
    fn end(&self, reason: FabricError) {
        self.fate.end(reason);
        self.bell.ring();
    }

    fn look(&self, polling: &mut Polling, events: &mut Vec<Event>) -> Result<(), FabricError> {
        for _ in 0..ROUNDS {
            let more = self.completions.poll(&mut polling.fetched);
            let more = more.map_err(|error| FabricError::Disconnected(error.to_string()))?;
            let mut fetched = std::mem::take(&mut polling.fetched);
            for completion in &fetched {
                self.handle(completion, &mut polling.parcels, events)?;
            }
            fetched.clear();
            polling.fetched = fetched;
            if !more {
                break;
            }
        }
        for parcel in polling.parcels.drain(..) {
            match parcel {
                Parcel::Message(message) => events.push(Event::Message(message)),
                Parcel::Hail => self.hailed.store(true, Ordering::Release),
            }
        }
        self.messages.flush()?;
        polling.polls = polling.polls.wrapping_add(1);
        if self.stirred.swap(false, Ordering::Relaxed) || polling.polls.is_multiple_of(GLANCE) {
            self.glance()?;
        }
        Ok(())
    }

    /// Takes one completion. An error ends the endpoint: its queue pair has stopped.
    fn handle(
        &self,
        completion: &ibv_wc,
        parcels: &mut Vec<Parcel>,
        events: &mut Vec<Event>,
    ) -> Result<(), FabricError> {
        let id = completion.wr_id;
        let status = completion.error();
        if status == Some(ffi::IBV_WC_WR_FLUSH_ERR) {
            // What it was of comes back when the endpoint is buried.
            let why = "the queue pair has stopped".to_owned();
            return Err(FabricError::Disconnected(why));
        }
        let result = status.map_or(Ok(()), |status| Err(meaning(status)));
        match kind(id) {
            Kind::Work(id) => {
                let lane = self.lanes.get(lane_of(id));
                let lane = lane.ok_or_else(|| FabricError::Protocol("a completion of no lane".into()))?;
                lane.completed(id, result.clone(), events).and(result)
            }
            Kind::Sent(slot) => result.map(|()| self.messages.sent(slot)),
            Kind::Came(slot) => result.and_then(|()| self.messages.came(slot, completion.len(), parcels)),
        }
        .map_err(|reason| match reason {
            FabricError::AccessRefused => {
                let why = "the node refused an access, which stopped the queue pair".to_owned();
                FabricError::Disconnected(why)
            }
            other => other,
        })
    }

    /// Whether peer and device still live.
    fn glance(&self) -> Result<(), FabricError> {
        while let Some(event) = events::next(&self.device) {
            events::log(&self.device, &event);
            let device = self.device.name();
            match event {
                DeviceEvent::DeviceFailed => {
                    let why = format!("the RDMA device {device} has failed");
                    return Err(FabricError::Disconnected(why));
                }
                // This device was opened for this endpoint: the queue pair is one of it.
                DeviceEvent::QueueFailed(_) => {
                    let why = format!("a queue pair of {device} has failed");
                    return Err(FabricError::Disconnected(why));
                }
                DeviceEvent::PortDown(_) | DeviceEvent::PortUp(_) | DeviceEvent::Other(_) => {}
            }
        }
        match self.socket.try_receive(&mut [IoSliceMut::new(&mut [0; 16])]) {
            Ok(Received::Nothing) => Ok(()),
            Ok(Received::End) => Err(FabricError::Disconnected("the node has closed it".into())),
            Ok(Received::Bytes(_)) => Err(FabricError::Protocol("words after the set-up".into())),
            Err(error) => Err(FabricError::Disconnected(error.to_string())),
        }
    }

    /// Destroys all queue pairs, then gives all work back, and says why, once.
    fn bury(&self, reason: &FabricError, events: &mut Vec<Event>) {
        for lane in &self.lanes {
            lane.close(reason, events);
        }
        // The node learns of it only now: whatever a queue pair of ours could still do has been done.
        self.socket.end();
        if let Some(reason) = self.fate.say_once() {
            events.push(Event::Down(reason));
        }
    }

    /// Makes the channel tell of completions from now on; true when there are some already.
    fn arm(&self) -> Result<bool, FabricError> {
        let gone = |error: super::error::VerbError| FabricError::Disconnected(error.to_string());
        self.completions.arm().map_err(gone)?;
        let mut polling = self.polling.lock();
        self.completions.poll(&mut polling.fetched).map_err(gone)?;
        Ok(!polling.fetched.is_empty() || !polling.early.is_empty())
    }
}

impl Endpoint for VerbsEndpoint {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn post(&self, queue: usize, work: Work) -> Option<Completion> {
        match self.lanes[queue % self.lanes.len()].post(work) {
            Err(completion) => return Some(*completion),
            Ok(Err(reason)) => self.end(reason),
            Ok(Ok(())) => {}
        }
        None
    }

    fn send(&self, message: &[u8]) -> Result<(), FabricError> {
        if let Some(reason) = self.fate.ended() {
            return Err(reason);
        }
        let sent = self.messages.send(message);
        if let Err(reason @ FabricError::Disconnected(_)) = &sent {
            self.end(reason.clone());
        }
        sent
    }

    fn poll(&self, events: &mut Vec<Event>) {
        let Some(mut polling) = self.polling.try_lock() else {
            return;
        };
        events.append(&mut polling.early);
        if self.fate.ended().is_none()
            && let Err(reason) = self.look(&mut polling, events)
        {
            self.fate.end(reason);
        }
        if let Some(reason) = self.fate.ended() {
            self.bury(&reason, events);
        }
    }

    fn wait(&self, timeout: Duration) {
        let mut watched = vec![watch(&self.bell, false)];
        if self.fate.ended().is_none() {
            match self.arm() {
                Ok(true) => return,
                Ok(false) => {}
                Err(reason) => return self.end(reason),
            }
            watched.push(watch(&*self.completions, false));
            watched.push(watch(&self.socket, false));
            watched.push(watch(&*self.device, false));
        }
        if !ready(&mut watched, timeout).unwrap_or(false) {
            return;
        }
        let stirs = |at: usize| watched.get(at).is_some_and(|fd| fd.any().unwrap_or(true));
        if stirs(0) {
            self.bell.silence();
        }
        if stirs(1) {
            self.completions.hush();
        }
        if stirs(2) || stirs(3) {
            self.stirred.store(true, Ordering::Relaxed);
        }
    }

    fn wake(&self) {
        self.bell.ring();
    }

    fn close(&self) {
        self.end(FabricError::Flushed);
    }
}

impl Drop for VerbsEndpoint {
    fn drop(&mut self) {
        // Queue pairs first: see `bury`.
        for lane in &self.lanes {
            lane.queue.destroy();
        }
        self.socket.end();
    }
}
