//! A node's device: its arena registered once, and the sessions that use it.

use super::addressing::{best, ip_of, source_towards};
use super::chunks::VerbsFrame;
use super::completions::Completions;
use super::connect::{Way, WayError, first_sequence};
use super::device::{Device, DeviceError};
use super::domain::Domain;
use super::error::VerbError;
use super::events::{self, DeviceEvent};
use super::messages::{DEPTH, Messages, SLOT, listen_all};
use super::queue::{QueuePair, Shape};
use super::region::Region;
use super::session::{MessageSlot, Parts, VerbsSession};
use super::setup::{Deal, Offer, decode_offer};
use crate::arena::Arena;
use crate::clock::{Clock, SystemClock};
use crate::fabric::{FabricError, VerbsOptions};
use crate::handshake::Secure;
use crate::stream::{Limits, SetupError, Socket, Waker, ready, watch};
use parking_lot::Mutex;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;
use thiserror::Error;

/// Sessions at once: their messages share one registered piece of memory, 256 KiB each.
const SESSIONS: usize = 64;
/// Most bytes of messages that may wait for a peer that does not read.
const BACKLOG: usize = 4 << 20;

/// A node's device. It holds three memory regions, however many sessions there are: the arena to read and write, the arena
/// to read only, and the messages.
pub(crate) struct Responder {
    device: Arc<Device>,
    domain: Arc<Domain>,
    lent: Arc<Region>,
    /// For sessions that may only read; no session asks for that yet.
    _lent_to_read: Region,
    message_buffers: Arc<Region>,
    slots: Arc<Mutex<Vec<usize>>>,
    sessions: Arc<Mutex<Vec<Weak<VerbsSession>>>>,
    waker: Arc<Waker>,
    watcher: Option<JoinHandle<()>>,
}

impl Responder {
    /// Opens the device and registers the arena: about 0.1 s per GiB.
    ///
    /// # Errors
    /// One line: no device ([`io::ErrorKind::Unsupported`]), or it does not take the arena (any other kind).
    pub(crate) fn open(device: Option<&str>, arena: &Arc<Arena>) -> io::Result<Self> {
        let said = |why: DeviceError| {
            io::Error::new(io::ErrorKind::Unsupported, format!("cannot offer verbs: {why}"))
        };
        let device = Device::open_active(device).map_err(said)?.remove(0);
        let name = device.name().to_owned();
        let of_device = |error: io::Error| {
            let line = format!(
                "cannot offer verbs: RDMA device {name} does not take {} bytes of memory ({error}; soft-RoCE takes 1 GiB at most)",
                arena.len()
            );
            let kind = match error.kind() {
                io::ErrorKind::Unsupported => io::ErrorKind::Other,
                kind => kind,
            };
            io::Error::new(kind, line)
        };
        Self::on(device, arena).map_err(of_device)
    }

    fn on(device: Arc<Device>, arena: &Arc<Arena>) -> io::Result<Self> {
        let domain = Domain::new(Arc::clone(&device))?;
        let lent = Arc::new(Region::of_arena(&domain, Arc::clone(arena), true)?);
        let lent_to_read = Region::of_arena(&domain, Arc::clone(arena), false)?;
        let message_buffers = Arc::new(Region::fresh(&domain, SESSIONS * SLOT)?);
        let sessions = Arc::new(Mutex::new(Vec::new()));
        let waker = Arc::new(Waker::new()?);
        let (watched, theirs, rung) = (Arc::clone(&device), Arc::clone(&sessions), Arc::clone(&waker));
        let watcher = std::thread::Builder::new()
            .name("rdmafs-verbs".into())
            .spawn(move || watch_device(&watched, &theirs, &rung))?;
        Ok(Self {
            device,
            domain,
            lent,
            _lent_to_read: lent_to_read,
            message_buffers,
            slots: Arc::new(Mutex::new((0..SESSIONS).rev().collect())),
            sessions,
            waker,
            watcher: Some(watcher),
        })
    }

    /// Makes a session for a peer whose key is proved: hears its offer, takes away what older sessions of its client owner have,
    /// makes and connects queue pairs, and waits for a ready over them. Blocking, within `limits`.
    pub(crate) fn admit(
        &self,
        socket: &Arc<Socket>,
        mut secure: Secure,
        queues: u8,
        limits: &Limits,
    ) -> Result<Arc<VerbsSession>, SetupError> {
        let step = "queue pair";
        let offer = decode_offer(&limits.open(socket, &mut secure, step)?);
        let offer = offer.filter(|offer| offer.ends.queues.len() == usize::from(queues));
        let offer = offer.ok_or(SetupError::Ended(step))?;
        self.replace(&offer);
        let made = self.make(&offer);
        let (deal, half) = match made {
            Ok((deal, half)) => (deal, Ok(half)),
            Err(why) => (Deal::Refused(why.to_string()), Err(io::Error::other(why))),
        };
        limits.seal(socket, &mut secure, &deal, step)?;
        let half = half?;
        let first = Arc::clone(&half.queues[0]);
        let start = half.slot.number * SLOT;
        let session = Arc::new(VerbsSession::new(Parts {
            client_owner: offer.client_owner,
            messages: Messages::new(first, Arc::clone(&self.message_buffers), start, secure, BACKLOG),
            queues: half.queues,
            completions: half.completions,
            socket: Arc::clone(socket),
            slot: half.slot,
        }));
        let mut sessions = self.sessions.lock();
        sessions.retain(|session| session.strong_count() > 0);
        sessions.push(Arc::downgrade(&session));
        drop(sessions);
        meet(&session, limits)?;
        Ok(session)
    }

    /// Invariant: of one client owner only the last session has queue pairs.
    fn replace(&self, offer: &Offer) {
        let sessions: Vec<_> = self.sessions.lock().iter().filter_map(Weak::upgrade).collect();
        for old in sessions
            .iter()
            .filter(|old| old.client_owner == offer.client_owner)
        {
            old.end(FabricError::Disconnected("the handler has connected anew".into()));
        }
    }

    /// Makes queue pairs and connects them to the peer's.
    fn make(&self, offer: &Offer) -> Result<(Deal, Half), NoDeal> {
        let way = self.way(offer)?;
        let number = self.slots.lock().pop().ok_or(NoDeal::Full)?;
        let slot = MessageSlot {
            number,
            free: Arc::clone(&self.slots),
        };
        let refused = |source: io::Error| NoDeal::Queues {
            way: way.name(),
            source,
        };
        let queues = self
            .queues(&way, offer.ends.queues.len(), number)
            .map_err(refused)?;
        let (completions, queues) = queues;
        // From here on packets of the peer are answered.
        let nowhere = |source| NoDeal::Nowhere {
            way: way.name(),
            index: way.gid.index,
            ours: ip_of(way.gid.gid),
            theirs: ip_of(offer.ends.gid),
            source,
        };
        way.connect(&queues, &offer.ends, 0).map_err(nowhere)?;
        let deal = Deal::Accepted {
            ends: way.ends(&queues),
            base: self.lent.start(),
            key: self.lent.remote_key(),
        };
        let half = Half {
            queues: queues.into_iter().map(|(queue, _)| queue).collect(),
            completions,
            slot,
        };
        Ok((deal, half))
    }

    /// The port and GID that lead to the peer's GID.
    fn way(&self, offer: &Offer) -> Result<Way, WayError> {
        let from = source_towards(ip_of(offer.ends.gid));
        let port = self.device.ports.iter().max_by_key(|port| {
            let gid = best(&port.gids, from);
            gid.map(|gid| gid.fitness(from))
        });
        let options = VerbsOptions {
            port: port.map(|port| port.number),
            ..VerbsOptions::default()
        };
        Way::choose(vec![Arc::clone(&self.device)], &options, from)
    }

    fn queues(&self, way: &Way, count: usize, slot: usize) -> io::Result<Numbered> {
        let completions = Arc::new(Completions::new(&self.device, 2 * DEPTH + 16)?);
        let regions = vec![Arc::clone(&self.lent), Arc::clone(&self.message_buffers)];
        let mut queues = Vec::new();
        for number in 0..count {
            let room = if number == 0 { DEPTH } else { 1 };
            let shape = Shape {
                sends: room,
                receives: room,
                port: way.port.number,
                lends: true,
            };
            let queue = QueuePair::new(&self.domain, &completions, shape, regions.clone())?;
            if number == 0 {
                listen_all(&queue, &self.message_buffers, slot * SLOT)?;
            }
            queues.push((queue, first_sequence()?));
        }
        Ok((completions, queues))
    }
}

/// The node makes no queue pairs for a peer. The peer gets the line, and shows it to its user.
#[derive(Debug, Error)]
enum NoDeal {
    #[error(transparent)]
    Way(#[from] WayError),
    #[error("the node has {SESSIONS} sessions over verbs already")]
    Full,
    #[error("the node cannot make queue pairs on {way}: {source}")]
    Queues { way: String, source: io::Error },
    #[error(
        "the node finds no way from its RDMA address {ours} ({way}, GID {index}) to {theirs}: {source}; choose with gid_index= or device="
    )]
    Nowhere {
        way: String,
        index: u8,
        ours: IpAddr,
        theirs: IpAddr,
        source: VerbError,
    },
}

type Numbered = (Arc<Completions>, Vec<(Arc<QueuePair>, u32)>);

/// A session's parts before its messages.
struct Half {
    queues: Vec<Arc<QueuePair>>,
    completions: Arc<Completions>,
    /// Dropped last.
    slot: MessageSlot,
}

/// Waits for the peer's ready over the queue pairs and answers it.
fn meet(session: &VerbsSession, limits: &Limits) -> Result<(), SetupError> {
    let clock = SystemClock::new();
    let patience = limits.step_left();
    let mut frames = Vec::new();
    while frames.is_empty() {
        let left = patience.saturating_sub(clock.now());
        if left.is_zero() {
            return Err(SetupError::TimedOut("hail"));
        }
        if !session.rest() {
            ready(&mut [watch(session, false), watch(session.socket(), false)], left)?;
        }
        session.take(&mut frames).map_err(io::Error::other)?;
        session.health_check().map_err(io::Error::other)?;
    }
    if frames != [VerbsFrame::Ready] {
        return Err(SetupError::Ended("hail"));
    }
    session
        .send_ready()
        .map_err(|error| io::Error::other(error).into())
}

/// Logs what the device says, and ends the sessions that it concerns, until the waker wakes it.
fn watch_device(device: &Device, sessions: &Mutex<Vec<Weak<VerbsSession>>>, waker: &Waker) {
    loop {
        let mut watched = [watch(waker, false), watch(device, false)];
        let woken = ready(&mut watched, Duration::MAX).unwrap_or(false);
        if woken && watched[0].any().unwrap_or(true) {
            return;
        }
        while let Some(event) = events::next(device) {
            events::log(device, &event);
            let sessions: Vec<_> = sessions.lock().iter().filter_map(Weak::upgrade).collect();
            let concerned = |session: &VerbsSession| match event {
                DeviceEvent::DeviceFailed => true,
                DeviceEvent::QueueFailed(number) => session.has_queue(number),
                DeviceEvent::PortDown(_) | DeviceEvent::PortUp(_) | DeviceEvent::Other(_) => false,
            };
            for session in sessions.iter().filter(|session| concerned(session)) {
                session.end(FabricError::Disconnected("its queue pair has failed".into()));
            }
        }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.waker.wake();
        if let Some(watcher) = self.watcher.take() {
            let _ = watcher.join();
        }
    }
}

impl std::fmt::Debug for Responder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lender")
            .field("device", &self.device.name())
            .finish_non_exhaustive()
    }
}
