//! A node's device: its arena registered once, and the sessions that use it.

use super::addressing::{best, ip_of, source_towards};
use super::chunks::Parcel;
use super::completions::Completions;
use super::connect::{Way, first_sequence};
use super::device::Device;
use super::domain::Domain;
use super::events::{self, DeviceEvent};
use super::messages::{DEPTH, Messages, PLACE, listen_all};
use super::queue::{Queue, Shape};
use super::region::Region;
use super::session::{Parts, Place, Session};
use super::words::{Deal, Offer, decode_offer};
use crate::arena::Arena;
use crate::clock::{Clock, SystemClock};
use crate::fabric::{FabricError, VerbsOptions};
use crate::handshake::Secure;
use crate::stream::{Bell, Limits, SetupError, Socket, ready, watch};
use parking_lot::Mutex;
use std::io;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

/// Sessions at once: their messages share one registered piece of memory, 256 KiB each.
const SESSIONS: usize = 64;
/// Most bytes of messages that may wait for a peer that does not read.
const BACKLOG: usize = 4 << 20;

/// A node's device. It holds three memory regions, however many sessions there are: the arena to read and write, the arena
/// to read only, and the messages.
pub(crate) struct Lender {
    device: Arc<Device>,
    domain: Arc<Domain>,
    lent: Arc<Region>,
    /// For sessions that may only read; no session asks for that yet.
    _lent_to_read: Region,
    letters: Arc<Region>,
    places: Arc<Mutex<Vec<usize>>>,
    sessions: Arc<Mutex<Vec<Weak<Session>>>>,
    bell: Arc<Bell>,
    watcher: Option<JoinHandle<()>>,
}

impl Lender {
    /// Opens the device and registers the arena: about 0.1 s per GiB.
    ///
    /// # Errors
    /// One line: no device ([`io::ErrorKind::Unsupported`]), or it does not take the arena (any other kind).
    pub(crate) fn open(device: Option<&str>, arena: &Arc<Arena>) -> io::Result<Self> {
        let said =
            |why: String| io::Error::new(io::ErrorKind::Unsupported, format!("cannot offer verbs: {why}"));
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
        let letters = Arc::new(Region::fresh(&domain, SESSIONS * PLACE)?);
        let sessions = Arc::new(Mutex::new(Vec::new()));
        let bell = Arc::new(Bell::new()?);
        let (watched, theirs, rung) = (Arc::clone(&device), Arc::clone(&sessions), Arc::clone(&bell));
        let watcher = std::thread::Builder::new()
            .name("rdmafs-verbs".into())
            .spawn(move || watch_device(&watched, &theirs, &rung))?;
        Ok(Self {
            device,
            domain,
            lent,
            _lent_to_read: lent_to_read,
            letters,
            places: Arc::new(Mutex::new((0..SESSIONS).rev().collect())),
            sessions,
            bell,
            watcher: Some(watcher),
        })
    }

    /// Makes a session for a peer whose key is proved: hears its offer, takes away what older sessions of its lineage have,
    /// makes and connects queue pairs, and waits for a hail over them. Blocking, within `limits`.
    pub(crate) fn admit(
        &self,
        socket: &Arc<Socket>,
        mut secure: Secure,
        queues: u8,
        limits: &Limits,
    ) -> Result<Arc<Session>, SetupError> {
        let step = "queue pair";
        let offer = decode_offer(&limits.open(socket, &mut secure, step)?);
        let offer = offer.filter(|offer| offer.ends.queues.len() == usize::from(queues));
        let offer = offer.ok_or(SetupError::Ended(step))?;
        self.replace(&offer);
        let made = self.make(&offer);
        let (deal, half) = match made {
            Ok((deal, half)) => (deal, Ok(half)),
            Err(why) => (Deal::Refused(why.clone()), Err(io::Error::other(why))),
        };
        limits.seal(socket, &mut secure, &deal, step)?;
        let half = half?;
        let first = Arc::clone(&half.queues[0]);
        let start = half.place.number * PLACE;
        let session = Arc::new(Session::new(Parts {
            lineage: offer.lineage,
            messages: Messages::new(first, Arc::clone(&self.letters), start, secure, BACKLOG),
            queues: half.queues,
            completions: half.completions,
            socket: Arc::clone(socket),
            place: half.place,
        }));
        let mut sessions = self.sessions.lock();
        sessions.retain(|session| session.strong_count() > 0);
        sessions.push(Arc::downgrade(&session));
        drop(sessions);
        meet(&session, limits)?;
        Ok(session)
    }

    /// Invariant: of one lineage only the last session has queue pairs.
    fn replace(&self, offer: &Offer) {
        let sessions: Vec<_> = self.sessions.lock().iter().filter_map(Weak::upgrade).collect();
        for old in sessions.iter().filter(|old| old.lineage == offer.lineage) {
            old.end(FabricError::Disconnected("the handler has connected anew".into()));
        }
    }

    /// Makes queue pairs and connects them to the peer's. The error is for the peer to show.
    fn make(&self, offer: &Offer) -> Result<(Deal, Half), String> {
        let way = self.way(offer)?;
        let full = || format!("the node has {SESSIONS} sessions over verbs already");
        let number = self.places.lock().pop().ok_or_else(full)?;
        let place = Place {
            number,
            free: Arc::clone(&self.places),
        };
        let refused =
            |error: io::Error| format!("the node cannot make queue pairs on {}: {error}", way.name());
        let queues = self
            .queues(&way, offer.ends.queues.len(), number)
            .map_err(refused)?;
        let (completions, queues) = queues;
        // From here on packets of the peer are answered.
        let nowhere = |error| {
            let (ours, theirs) = (ip_of(way.gid.gid), ip_of(offer.ends.gid));
            let (name, index) = (way.name(), way.gid.index);
            format!(
                "the node finds no way from its RDMA address {ours} ({name}, GID {index}) to {theirs}: {error}; choose with gid_index= or device="
            )
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
            place,
        };
        Ok((deal, half))
    }

    /// The port and GID that lead to the peer's GID.
    fn way(&self, offer: &Offer) -> Result<Way, String> {
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

    fn queues(&self, way: &Way, count: usize, place: usize) -> io::Result<Numbered> {
        let completions = Arc::new(Completions::new(&self.device, 2 * DEPTH + 16)?);
        let regions = vec![Arc::clone(&self.lent), Arc::clone(&self.letters)];
        let mut queues = Vec::new();
        for number in 0..count {
            let room = if number == 0 { DEPTH } else { 1 };
            let shape = Shape {
                sends: room,
                receives: room,
                port: way.port.number,
                lends: true,
            };
            let queue = Queue::new(&self.domain, &completions, shape, regions.clone())?;
            if number == 0 {
                listen_all(&queue, &self.letters, place * PLACE)?;
            }
            queues.push((queue, first_sequence()?));
        }
        Ok((completions, queues))
    }
}

type Numbered = (Arc<Completions>, Vec<(Arc<Queue>, u32)>);

/// A session's parts before its messages.
struct Half {
    queues: Vec<Arc<Queue>>,
    completions: Arc<Completions>,
    /// Dropped last.
    place: Place,
}

/// Waits for the peer's hail over the queue pairs and answers it.
fn meet(session: &Session, limits: &Limits) -> Result<(), SetupError> {
    let clock = SystemClock::new();
    let patience = limits.step_left();
    let mut parcels = Vec::new();
    while parcels.is_empty() {
        let left = patience.saturating_sub(clock.now());
        if left.is_zero() {
            return Err(SetupError::TimedOut("hail"));
        }
        if !session.rest() {
            ready(&mut [watch(session, false), watch(session.socket(), false)], left)?;
        }
        session.take(&mut parcels).map_err(io::Error::other)?;
        session.glance().map_err(io::Error::other)?;
    }
    if parcels != [Parcel::Hail] {
        return Err(SetupError::Ended("hail"));
    }
    session.hail().map_err(|error| io::Error::other(error).into())
}

/// Logs what the device says, and ends the sessions that it concerns, until the bell rings.
fn watch_device(device: &Device, sessions: &Mutex<Vec<Weak<Session>>>, bell: &Bell) {
    loop {
        let mut watched = [watch(bell, false), watch(device, false)];
        let woken = ready(&mut watched, Duration::MAX).unwrap_or(false);
        if woken && watched[0].any().unwrap_or(true) {
            return;
        }
        while let Some(event) = events::next(device) {
            events::log(device, &event);
            let sessions: Vec<_> = sessions.lock().iter().filter_map(Weak::upgrade).collect();
            let concerned = |session: &Session| match event {
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

impl Drop for Lender {
    fn drop(&mut self) {
        self.bell.ring();
        if let Some(watcher) = self.watcher.take() {
            let _ = watcher.join();
        }
    }
}

impl std::fmt::Debug for Lender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lender")
            .field("device", &self.device.name())
            .finish_non_exhaustive()
    }
}
