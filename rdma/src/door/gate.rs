//! From a new connection to a peer's control or data connection.

use super::desk::{Desk, DoorConfig, Identity, Peer, PeerId};
use super::line::Line;
use super::member::{BACKLOG, Member, Side};
use super::roll::{Place, Roll};
use crate::arena::Arena;
use crate::fabric::FabricKind;
use crate::handshake::{Answer, Hello, Refusal, Role, Secure, Token, Welcome};
use crate::key::KeyId;
use crate::shm::send_descriptor;
use crate::stream::{Bell, Limits, Mailbox, SetupError, Socket, admit, answer};
use crate::verbs::Lender;
use crate::{sys, tcp};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Most data connections of a peer.
const MAX_QUEUES: u8 = 16;

/// How a connection came.
#[derive(Clone, Copy, Debug)]
pub(super) enum Arrival {
    /// Over TCP.
    Tcp,
    /// Over the Unix socket.
    Local {
        /// The peer's process, 0 when it cannot be seen.
        pid: u32,
    },
}

impl Arrival {
    /// The fabric that a connection for this purpose, come this way, is of.
    fn fabric(self, role: &Role) -> FabricKind {
        match (self, role) {
            (Self::Local { .. }, _) => FabricKind::Shm,
            (
                Self::Tcp,
                Role::Control {
                    fabric: FabricKind::Verbs,
                    ..
                },
            ) => FabricKind::Verbs,
            (Self::Tcp, _) => FabricKind::Tcp,
        }
    }
}

/// What all connections of a door share.
pub(super) struct Gate {
    pub(super) config: DoorConfig,
    pub(super) arena: Arc<Arena>,
    /// The device of verbs, if that is offered.
    pub(super) lender: Option<Lender>,
    pub(super) desk: Arc<dyn Desk>,
    pub(super) roll: Arc<Roll>,
    pub(super) last_peer: AtomicU64,
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
    /// Serves a connection from its first byte to its last. Blocking.
    pub(super) fn pass(&self, socket: Arc<Socket>, arrival: Arrival, place: Place) {
        if matches!(arrival, Arrival::Tcp)
            && let Err(error) = socket.tune_tcp()
        {
            tracing::debug!("a connection ended early: {error}");
            return;
        }
        let limits = Limits::start(self.config.step_timeout);
        let key = &self.config.key;
        let find = |id| (id == key.id).then(|| key.clone());
        let (secure, key, hello) = match admit(&socket, find, &limits) {
            Ok(admitted) => admitted,
            Err(error) => {
                tracing::debug!("a connection was not let in: {error}");
                return;
            }
        };
        let guest = Guest {
            socket,
            secure,
            key,
            hello,
            arrival,
            limits,
            place,
        };
        if let Err(error) = self.receive(guest) {
            tracing::debug!("a connection ended in its set-up: {error}");
        }
    }

    fn receive(&self, guest: Guest) -> Result<(), SetupError> {
        let wrong_pool = guest.hello.pool != self.config.pool;
        let served = guest.arrival.fabric(&guest.hello.role);
        match (&guest.hello.role, guest.arrival) {
            _ if wrong_pool => guest.refuse(Refusal::NoSuchPool),
            _ if !self.config.fabrics.contains(&served) => guest.refuse(Refusal::NoSuchFabric),
            (Role::Control { queues, .. }, _) if *queues > MAX_QUEUES => guest.refuse(Refusal::TooManyQueues),
            (Role::Control { fabric, .. }, _) if *fabric != served => guest.refuse(Refusal::NoSuchFabric),
            (Role::Control { queues, .. }, Arrival::Tcp) if served == FabricKind::Verbs => {
                let queues = *queues;
                self.queues(guest, queues)
            }
            (Role::Control { .. }, Arrival::Tcp) => self.control(guest, None),
            (Role::Control { .. }, Arrival::Local { pid }) => match sys::pidfd(pid) {
                Ok(process) if pid != 0 => self.control(guest, Some((pid, process))),
                _ => guest.refuse(Refusal::ProcessHidden),
            },
            (Role::Data { token, encrypted }, Arrival::Tcp) => {
                let (token, encrypted) = (*token, *encrypted);
                self.data(guest, &token, encrypted)
            }
            (Role::Data { .. }, Arrival::Local { .. }) => guest.refuse(Refusal::NoSuchFabric),
        }
    }

    /// A new peer on tcp or shm. On shm, `process` is the pid and what tells its end.
    fn control(&self, mut guest: Guest, process: Option<(u32, OwnedFd)>) -> Result<(), SetupError> {
        let bell = Bell::new()?;
        let mut token = Token::default();
        sys::random(&mut token)?;
        guest.welcome(self.arena.len(), token)?;
        if process.is_some() {
            send_descriptor(&guest.socket, self.arena.fd())?;
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
        self.host(token, &member);
        Ok(())
    }

    /// A new peer on verbs.
    fn queues(&self, mut guest: Guest, queues: u8) -> Result<(), SetupError> {
        let Some(lender) = &self.lender else {
            return guest.refuse(Refusal::NoSuchFabric);
        };
        let bell = Bell::new()?;
        let mut token = Token::default();
        sys::random(&mut token)?;
        guest.welcome(self.arena.len(), Token::default())?;
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
        self.host(token, &member);
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

    /// Serves a peer from its arrival until it has left.
    fn host(&self, token: Token, member: &Arc<Member>) {
        self.desk.arrived(Arc::clone(member) as Arc<dyn Peer>);
        self.roll.add(token, member);
        let gone = member.serve(&*self.desk, &self.roll, self.config.step_timeout);
        self.roll.remove(&token);
        if gone {
            self.desk.left(member.identity().id);
        }
    }

    /// A peer's data connection.
    fn data(&self, mut guest: Guest, token: &Token, encrypted: bool) -> Result<(), SetupError> {
        let Some(member) = self.roll.find(token, self.config.step_timeout) else {
            return guest.refuse(Refusal::NoSuchPeer);
        };
        let joined = match member.join(&guest.socket) {
            Ok(joined) => joined,
            Err(refusal) => return guest.refuse(refusal),
        };
        guest.welcome(self.arena.len(), Token::default())?;
        let Guest {
            socket,
            secure,
            place,
            ..
        } = guest;
        drop(place);
        let id = member.identity().id;
        let secure = encrypted.then_some(secure);
        let served = tcp::serve(&socket, secure, &self.arena, &|verb, range| {
            self.desk.may(id, verb, range)
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
