//! A live link over queue pairs, as the handler sees it.

use super::chunks::VerbsFrame;
use super::completions::Completions;
use super::device::Device;
use super::error::meaning;
use super::events::{self, DeviceEvent};
use super::ffi::{self, ibv_wc};
use super::lane::{Lane, lane_of};
use super::messages::{Kind, Messages, kind};
use crate::fabric::{Completion, Endpoint, Event, FabricError, Facts, Work};
use crate::stream::{EndpointState, Received, Socket, watch};
use parking_lot::Mutex;
use std::io::IoSliceMut;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Batches of completions that one poll handles at most.
const ROUNDS: usize = 8;
/// Polls after which the set-up connection is looked at, even when nobody slept.
const HEALTH_CHECK: u32 = 64;

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
    state: EndpointState,
    /// [`Endpoint::wait`] saw something on the set-up connection or the device: look.
    stirred: AtomicBool,
    /// The node's ready frame has come.
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
    frames: Vec<VerbsFrame>,
    /// Came while the set-up was still waiting for ready.
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
            state: EndpointState::new()?,
            stirred: AtomicBool::new(false),
            hailed: AtomicBool::new(false),
            polling: Mutex::default(),
        })
    }

    /// Says that the queue pairs work.
    pub(super) fn send_ready(&self) -> Result<(), FabricError> {
        self.messages.send_ready()
    }

    /// True once the node has said so.
    pub(super) fn hailed(&self) -> bool {
        self.hailed.load(Ordering::Acquire)
    }

    /// Gives events back that came together with ready.
    pub(super) fn keep(&self, events: Vec<Event>) {
        self.polling.lock().early = events;
    }

    fn look(&self, polling: &mut Polling, events: &mut Vec<Event>) -> Result<(), FabricError> {
        for _ in 0..ROUNDS {
            let more = self.completions.poll(&mut polling.fetched);
            let more = more.map_err(|error| FabricError::Disconnected(error.to_string()))?;
            let mut fetched = std::mem::take(&mut polling.fetched);
            for completion in &fetched {
                self.handle(completion, &mut polling.frames, events)?;
            }
            fetched.clear();
            polling.fetched = fetched;
            if !more {
                break;
            }
        }
        for frame in polling.frames.drain(..) {
            match frame {
                VerbsFrame::Message(message) => events.push(Event::Message(message)),
                VerbsFrame::Ready => self.hailed.store(true, Ordering::Release),
            }
        }
        self.messages.flush()?;
        polling.polls = polling.polls.wrapping_add(1);
        if self.stirred.swap(false, Ordering::Relaxed) || polling.polls.is_multiple_of(HEALTH_CHECK) {
            self.health_check()?;
        }
        Ok(())
    }

    /// Takes one completion. An error ends the endpoint: its queue pair has stopped.
    fn handle(
        &self,
        completion: &ibv_wc,
        frames: &mut Vec<VerbsFrame>,
        events: &mut Vec<Event>,
    ) -> Result<(), FabricError> {
        let id = completion.wr_id;
        let status = completion.error();
        if status == Some(ffi::IBV_WC_WR_FLUSH_ERR) {
            // What it was of comes back when the endpoint is torn down.
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
            Kind::Came(slot) => result.and_then(|()| self.messages.came(slot, completion.len(), frames)),
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
    fn health_check(&self) -> Result<(), FabricError> {
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
    fn tear_down(&self, reason: &FabricError, events: &mut Vec<Event>) {
        for lane in &self.lanes {
            lane.close(reason, events);
        }
        // The node learns of it only now: whatever a queue pair of ours could still do has been done.
        self.socket.end();
        if let Some(reason) = self.state.say_once() {
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
            Ok(Err(reason)) => self.state.end(reason),
            Ok(Ok(())) => {}
        }
        None
    }

    fn send(&self, message: &[u8]) -> Result<(), FabricError> {
        self.state.check()?;
        let sent = self.messages.send(message);
        if let Err(reason @ FabricError::Disconnected(_)) = &sent {
            self.state.end(reason.clone());
        }
        sent
    }

    fn poll(&self, events: &mut Vec<Event>) {
        let Some(mut polling) = self.polling.try_lock() else {
            return;
        };
        events.append(&mut polling.early);
        if self.state.ended().is_none()
            && let Err(reason) = self.look(&mut polling, events)
        {
            self.state.end_quietly(reason);
        }
        if let Some(reason) = self.state.ended() {
            self.tear_down(&reason, events);
        }
    }

    fn wait(&self, timeout: Duration) {
        let mut watched = vec![self.state.watched()];
        if self.state.ended().is_none() {
            match self.arm() {
                Ok(true) => return,
                Ok(false) => {}
                Err(reason) => return self.state.end(reason),
            }
            watched.push(watch(&*self.completions, false));
            watched.push(watch(&self.socket, false));
            watched.push(watch(&*self.device, false));
        }
        if !self.state.sleep(&mut watched, timeout) {
            return;
        }
        let stirs = |at: usize| watched.get(at).is_some_and(|fd| fd.any().unwrap_or(true));
        if stirs(1) {
            self.completions.drain_events();
        }
        if stirs(2) || stirs(3) {
            self.stirred.store(true, Ordering::Relaxed);
        }
    }

    fn wake(&self) {
        self.state.wake();
    }

    fn close(&self) {
        self.state.end(FabricError::Flushed);
    }
}

impl Drop for VerbsEndpoint {
    fn drop(&mut self) {
        // Queue pairs first: see `tear_down`.
        for lane in &self.lanes {
            lane.queue.destroy();
        }
        self.socket.end();
    }
}
