//! From a new connection to a peer's control or data connection.

use super::desk::{Desk, DoorConfig, Identity, Peer, PeerId};
use super::line::Line;
use super::member::{BACKLOG, Member, Side};
use super::refusals::{Origin, Refusals, Why};
use super::roll::{Place, Roll, Seat};
use crate::arena::Arena;
use crate::clock::{Clock, SystemClock};
use crate::fabric::FabricKind;
use crate::handshake::{Answer, Hello, Refusal, Role, Secure, Token, Welcome};
use crate::key::KeyId;
use crate::shm::send_descriptor;
use crate::stream::{Admitted, Bell, Limits, Mailbox, SetupError, Socket, answer, turn_away};
use crate::verbs::Lender;
use crate::{sys, tcp};
use parking_lot::Mutex;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// Most data connections of a peer.
const MAX_QUEUES: u8 = 16;

/// How a connection came.
#[derive(Clone, Copy, Debug)]
pub(super) enum Arrival {
    /// Over TCP.
    Tcp {
        /// The peer's address.
        from: IpAddr,
    },
    /// Over the Unix socket.
    Local {
        /// The peer's process, 0 when it cannot be seen.
        pid: u32,
    },
}

impl Arrival {
    /// Where it came from.
    pub(super) fn origin(self) -> Origin {
        match self {
            Self::Tcp { from } => Origin::Net(from),
            Self::Local { pid } => Origin::Local(pid),
        }
    }

    /// The fabric that a connection for this purpose, come this way, is of.
    fn fabric(self, role: &Role) -> FabricKind {
        match (self, role) {
            (Self::Local { .. }, _) => FabricKind::Shm,
            (
                Self::Tcp { .. },
                Role::Control {
                    fabric: FabricKind::Verbs,
                    ..
                },
            ) => FabricKind::Verbs,
            (Self::Tcp { .. }, _) => FabricKind::Tcp,
        }
    }
}

/// What all connections of a door share.
pub(super) struct Gate {
    pub(super) config: DoorConfig,
    /// What is lent, once it can be.
    pub(super) inside: OnceLock<Inside>,
    /// Until then: how much of it is prepared, in percent.
    pub(super) prepared: AtomicU8,
    pub(super) roll: Arc<Roll>,
    pub(super) last_peer: AtomicU64,
    /// Most strangers of a listener.
    pub(super) strangers: usize,
    pub(super) clock: SystemClock,
    pub(super) refusals: Refusals,
}

/// What peers come for.
pub(super) struct Inside {
    pub(super) arena: Arc<Arena>,
    /// The device of verbs, if that is offered.
    pub(super) lender: Option<Lender>,
    pub(super) desk: Arc<dyn Desk>,
}

/// A connection whose key is proved and whose Hello is heard.
struct Guest {
    socket: Arc<Socket>,
    secure: Secure,
    key: KeyId,
    hello: Hello,
    arrival: Arrival,
    limits: Limits,
    place: Place,
}

impl Gate {
    /// Takes in a connection whose key is proved: it gets a thread, or hears that there is none. Does not block.
    pub(super) fn enter(self: &Arc<Self>, socket: Arc<Socket>, arrival: Arrival, admitted: Admitted) {
        let Admitted {
            mut secure,
            key,
            hello,
        } = admitted;
        let Some(place) = self.roll.place(&socket) else {
            return self.turn_away(&socket, &mut secure, arrival);
        };
        // Kept here too until the thread has it: who gets none must hear that.
        let guest = Arc::new(Mutex::new(Some(Guest {
            socket,
            secure,
            key,
            hello,
            arrival,
            limits: Limits::start(self.config.step_timeout),
            place,
        })));
        let (gate, taken) = (Arc::clone(self), Arc::clone(&guest));
        let thread = std::thread::Builder::new()
            .name("rdmafs-peer".into())
            .spawn(move || {
                let guest = taken.lock().take();
                guest.into_iter().for_each(|guest| gate.pass(guest));
            });
        match thread {
            Ok(thread) => self.roll.keep(thread),
            Err(error) => {
                self.scarce(format!("no thread for another connection: {error}"));
                if let Some(mut guest) = guest.lock().take() {
                    self.turn_away(&guest.socket, &mut guest.secure, arrival);
                }
            }
        }
    }

    /// Logs, now or as part of a count, that a connection came to nothing. Who just hung up is not worth a warning.
    pub(super) fn refused(&self, from: Origin, why: Why) {
        match why {
            Why::Setup(error @ (SetupError::Ended("key") | SetupError::Io(_))) => {
                tracing::debug!(%from, %error, "a connection ended early");
            }
            Why::Refused(why @ Refusal::Preparing(_)) => {
                tracing::debug!(%from, %why, "a connection came too early");
            }
            why => self.refusals.note(self.clock.now(), from, why),
        }
    }

    /// Logs, now or as part of a count, that this process has no more of something.
    pub(super) fn scarce(&self, what: String) {
        self.refusals.scarce(self.clock.now(), what);
    }

    /// Tells a peer that there is no room. Does not block.
    pub(super) fn turn_away(&self, socket: &Socket, secure: &mut Secure, arrival: Arrival) {
        turn_away(socket, secure, Refusal::NoRoom);
        self.refused(arrival.origin(), Why::Refused(Refusal::NoRoom));
    }

    /// Serves a connection to its end. Blocking.
    fn pass(&self, guest: Guest) {
        let from = guest.arrival.origin();
        match self.receive(guest) {
            Ok(()) => {}
            Err(SetupError::Refused(refusal)) => self.refused(from, Why::Refused(refusal)),
            Err(error) => self.refused(from, Why::Setup(error)),
        }
    }

    fn receive(&self, guest: Guest) -> Result<(), SetupError> {
        let wrong_pool = guest.hello.pool != self.config.pool;
        let served = guest.arrival.fabric(&guest.hello.role);
        if wrong_pool {
            return guest.refuse(Refusal::NoSuchPool);
        }
        let Some(inside) = self.inside.get() else {
            return guest.refuse(Refusal::Preparing(self.prepared.load(Ordering::Relaxed)));
        };
        match (&guest.hello.role, guest.arrival) {
            _ if !self.config.fabrics.contains(&served) => guest.refuse(Refusal::NoSuchFabric),
            (Role::Control { queues, .. }, _) if *queues > MAX_QUEUES => guest.refuse(Refusal::TooManyQueues),
            (Role::Control { fabric, .. }, _) if *fabric != served => guest.refuse(Refusal::NoSuchFabric),
            (Role::Control { queues, .. }, Arrival::Tcp { .. }) if served == FabricKind::Verbs => {
                let queues = *queues;
                self.queues(inside, guest, queues)
            }
            (Role::Control { .. }, Arrival::Tcp { .. }) => self.control(inside, guest, None),
            (Role::Control { .. }, Arrival::Local { pid: 0 }) => guest.refuse(Refusal::ProcessHidden),
            (Role::Control { .. }, Arrival::Local { pid }) => match sys::pidfd(pid) {
                Ok(process) => self.control(inside, guest, Some((pid, process))),
                Err(error) if is_scarcity(&error) => self.no_room(guest, &error),
                Err(_) => guest.refuse(Refusal::ProcessHidden),
            },
            (Role::Data { token, encrypted }, Arrival::Tcp { .. }) => {
                let (token, encrypted) = (*token, *encrypted);
                self.data(inside, guest, (&token, encrypted))
            }
            (Role::Data { .. }, Arrival::Local { .. }) => guest.refuse(Refusal::NoSuchFabric),
        }
    }

    /// A new peer on tcp or shm. On shm, `process` is the pid and what tells its end.
    fn control(
        &self,
        inside: &Inside,
        mut guest: Guest,
        process: Option<(u32, OwnedFd)>,
    ) -> Result<(), SetupError> {
        let Some(seat) = self.roll.seat(self.config.peers) else {
            return guest.refuse(Refusal::TooManySessions(self.config.peers));
        };
        let bell = match Bell::new() {
            Ok(bell) => bell,
            Err(error) => return self.no_room(guest, &error),
        };
        let mut token = Token::default();
        sys::random(&mut token)?;
        guest.welcome(inside.arena.len(), token)?;
        if process.is_some() {
            send_descriptor(&guest.socket, inside.arena.fd())?;
        }
        // From here on the peer may touch the arena: it must arrive, and leave.
        let pid = process.as_ref().map(|(pid, _)| *pid);
        let identity = self.identify(&mut guest, pid);
        let side = match (process, &guest.hello.role) {
            (Some((_, process)), _) => Side::Shm { process },
            (None, Role::Control { queues, .. }) => Side::Tcp {
                queues: usize::from(*queues),
            },
            (None, Role::Data { .. }) => Side::Tcp { queues: 0 },
        };
        let mailbox = Mailbox::new(guest.socket, guest.secure, BACKLOG);
        drop(guest.place);
        let member = Member::new(identity, Line::Stream(Box::new(mailbox)), bell, side);
        self.host(inside, token, (&member, seat));
        Ok(())
    }

    /// A new peer on verbs.
    fn queues(&self, inside: &Inside, mut guest: Guest, queues: u8) -> Result<(), SetupError> {
        let Some(lender) = &inside.lender else {
            return guest.refuse(Refusal::NoSuchFabric);
        };
        let Some(seat) = self.roll.seat(self.config.peers) else {
            return guest.refuse(Refusal::TooManySessions(self.config.peers));
        };
        let bell = match Bell::new() {
            Ok(bell) => bell,
            Err(error) => return self.no_room(guest, &error),
        };
        let mut token = Token::default();
        sys::random(&mut token)?;
        guest.welcome(inside.arena.len(), Token::default())?;
        let identity = self.identify(&mut guest, None);
        let Guest {
            socket,
            secure,
            limits,
            place,
            ..
        } = guest;
        let session = lender.admit(&socket, secure, queues, &limits)?;
        drop(place);
        let member = Member::new(identity, Line::Queues(session), bell, Side::Verbs);
        self.host(inside, token, (&member, seat));
        Ok(())
    }

    fn identify(&self, guest: &mut Guest, pid: Option<u32>) -> Identity {
        Identity {
            id: PeerId(self.last_peer.fetch_add(1, Ordering::Relaxed) + 1),
            key: guest.key,
            fabric: guest.arrival.fabric(&guest.hello.role),
            host: std::mem::take(&mut guest.hello.host),
            pid,
        }
    }

    /// Refuses a peer for want of something.
    fn no_room(&self, guest: Guest, error: &io::Error) -> Result<(), SetupError> {
        self.scarce(format!("no descriptor for another peer: {error}"));
        guest.refuse(Refusal::NoRoom)
    }

    /// Serves a peer from its arrival until it has left.
    fn host(&self, inside: &Inside, token: Token, (member, _seat): (&Arc<Member>, Seat)) {
        inside.desk.arrived(Arc::clone(member) as Arc<dyn Peer>);
        self.roll.add(token, member);
        let gone = member.serve(&*inside.desk, &self.roll, self.config.step_timeout);
        self.roll.remove(&token);
        if gone {
            inside.desk.left(member.identity().id);
        }
    }

    /// A peer's data connection.
    fn data(
        &self,
        inside: &Inside,
        mut guest: Guest,
        (token, encrypted): (&Token, bool),
    ) -> Result<(), SetupError> {
        let Some(member) = self.roll.find(token, self.config.step_timeout) else {
            return guest.refuse(Refusal::NoSuchPeer);
        };
        let joined = match member.join(&guest.socket) {
            Ok(joined) => joined,
            Err(refusal) => return guest.refuse(refusal),
        };
        guest.welcome(inside.arena.len(), Token::default())?;
        let Guest {
            socket,
            secure,
            place,
            ..
        } = guest;
        drop(place);
        let id = member.identity().id;
        let secure = encrypted.then_some(secure);
        let served = tcp::serve(&socket, secure, &inside.arena, &|verb, range| {
            inside.desk.may(id, verb, range)
        });
        if let Err(error) = served {
            tracing::debug!("a data connection of {} failed: {error}", member.identity().host);
        }
        drop(joined);
        Ok(())
    }
}

impl Guest {
    fn refuse(mut self, refusal: Refusal) -> Result<(), SetupError> {
        let answered = answer(
            &self.socket,
            &mut self.secure,
            &Answer::Refused(refusal),
            &self.limits,
        );
        answered.and(Err(SetupError::Refused(refusal)))
    }

    fn welcome(&mut self, arena: u64, token: Token) -> Result<(), SetupError> {
        let welcome = Answer::Welcome(Welcome { arena, token });
        answer(&self.socket, &mut self.secure, &welcome, &self.limits)
    }
}

/// True when the process or the host has no descriptor or memory left.
pub(super) fn is_scarcity(error: &io::Error) -> bool {
    let scarce = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
    error
        .raw_os_error()
        .is_some_and(|number| scarce.contains(&number))
}
