//! From a new connection to a peer's control or data connection.

use super::channel::Channel;
use super::connection::{BACKLOG, PeerConnection, Side};
use super::openings::Openings;
use super::peer_handler::{Identity, Peer, PeerHandler, PeerId, ServerConfig};
use super::registry::{PeerPermit, Registry, SetupPermit};
use super::rejections::{Origin, RejectionLog, Why};
use crate::arena::Arena;
use crate::clock::{Clock, SystemClock};
use crate::fabric::FabricKind;
use crate::handshake::{Answer, Hello, OPENING, Protection, Refusal, Role, Secure, Token, Welcome};
use crate::key::{Key, KeyId};
use crate::protocol::{Negotiated, NoCommonVersion};
use crate::shm::send_descriptor;
use crate::stream::{Admitted, Keys, Limits, Mailbox, SetupError, Socket, Waker, answer, turn_away};
use crate::verbs::Responder;
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

/// What all connections of a server share.
pub(super) struct Acceptor {
    pub(super) config: ServerConfig,
    /// What is lent, once it can be.
    pub(super) inside: OnceLock<Inside>,
    /// Until then: how much of it is prepared, in percent.
    pub(super) prepared: AtomicU8,
    pub(super) registry: Arc<Registry>,
    pub(super) last_peer: AtomicU64,
    /// Most half-open connections of a listener.
    pub(super) half_open: usize,
    pub(super) clock: SystemClock,
    pub(super) rejections: RejectionLog,
    /// Held for a look only.
    pub(super) openings: Mutex<Openings>,
}

/// What peers come for.
pub(super) struct Inside {
    pub(super) arena: Arc<Arena>,
    /// The device of verbs, if that is offered.
    pub(super) responder: Option<Responder>,
    pub(super) peer_handler: Arc<dyn PeerHandler>,
}

/// A connection whose key is proved and whose Hello is heard.
struct Setup {
    socket: Arc<Socket>,
    secure: Secure,
    key: KeyId,
    hello: Hello,
    arrival: Arrival,
    limits: Limits,
    setup_permit: SetupPermit,
    /// What it and this node speak with each other.
    negotiated: Negotiated,
}

impl Keys for &Acceptor {
    fn find(&self, id: KeyId) -> Option<Key> {
        let key = &self.config.key;
        (id == key.id).then(|| key.clone())
    }

    fn is_repeated(&self, opening: &[u8; OPENING]) -> bool {
        self.openings.lock().has(opening)
    }

    fn answered(&self, opening: &[u8; OPENING]) {
        self.openings.lock().add(opening);
    }
}

impl Acceptor {
    /// Takes in a connection whose key is proved: it gets a thread, or hears that there is none. Does not block.
    pub(super) fn enter(self: &Arc<Self>, socket: Arc<Socket>, arrival: Arrival, admitted: Admitted) {
        let Admitted {
            mut secure,
            key,
            hello,
        } = admitted;
        let Some(setup_permit) = self.registry.setup_permit(&socket) else {
            return self.turn_away(&socket, &mut secure, arrival);
        };
        // Kept here too until the thread has it: who gets none must hear that.
        let setup = Arc::new(Mutex::new(Some(Setup {
            socket,
            secure,
            key,
            hello,
            arrival,
            limits: Limits::start(self.config.step_timeout),
            setup_permit,
            negotiated: Negotiated::FIRST,
        })));
        let (acceptor, taken) = (Arc::clone(self), Arc::clone(&setup));
        let thread = std::thread::Builder::new()
            .name("rdmafs-peer".into())
            .spawn(move || {
                let setup = taken.lock().take();
                setup.into_iter().for_each(|setup| acceptor.finish(setup));
            });
        match thread {
            Ok(thread) => self.registry.keep(thread),
            Err(error) => {
                self.scarce(format!("no thread for another connection: {error}"));
                if let Some(mut setup) = setup.lock().take() {
                    self.turn_away(&setup.socket, &mut setup.secure, arrival);
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
            why => self.rejections.note(self.clock.now(), from, why),
        }
    }

    /// Logs, now or as part of a count, that this process has no more of something.
    pub(super) fn scarce(&self, what: String) {
        self.rejections.scarce(self.clock.now(), what);
    }

    /// Tells a peer that there is no room. Does not block.
    pub(super) fn turn_away(&self, socket: &Socket, secure: &mut Secure, arrival: Arrival) {
        turn_away(socket, secure, Refusal::NoRoom);
        self.refused(arrival.origin(), Why::Refused(Refusal::NoRoom));
    }

    /// Serves a connection to its end. Blocking.
    fn finish(&self, setup: Setup) {
        let from = setup.arrival.origin();
        match self.receive(setup) {
            Ok(()) => {}
            Err(SetupError::Refused(refusal)) => self.refused(from, Why::Refused(refusal)),
            Err(error) => self.refused(from, Why::Setup(error)),
        }
    }

    fn receive(&self, mut setup: Setup) -> Result<(), SetupError> {
        // Before all else: what else is said depends on the version.
        match self.config.protocol.negotiate(setup.hello.speaks()) {
            Ok(negotiated) => setup.negotiated = negotiated,
            Err(differ) => return setup.refuse_versions(differ),
        }
        let wrong_pool = setup.hello.pool != self.config.pool;
        let served = setup.arrival.fabric(&setup.hello.role);
        if wrong_pool {
            return setup.refuse(Refusal::NoSuchPool);
        }
        let Some(inside) = self.inside.get() else {
            return setup.refuse(Refusal::Preparing(self.prepared.load(Ordering::Relaxed)));
        };
        match (&setup.hello.role, setup.arrival) {
            _ if !self.config.fabrics.contains(&served) => setup.refuse(Refusal::NoSuchFabric),
            (Role::Control { queues, .. }, _) if *queues > MAX_QUEUES => setup.refuse(Refusal::TooManyQueues),
            (Role::Control { fabric, .. }, _) if *fabric != served => setup.refuse(Refusal::NoSuchFabric),
            (Role::Control { queues, .. }, Arrival::Tcp { .. }) if served == FabricKind::Verbs => {
                let queues = *queues;
                self.queues(inside, setup, queues)
            }
            (Role::Control { .. }, Arrival::Tcp { .. }) => self.control(inside, setup, None),
            (Role::Control { .. }, Arrival::Local { pid: 0 }) => setup.refuse(Refusal::ProcessHidden),
            (Role::Control { .. }, Arrival::Local { pid }) => match sys::pidfd(pid) {
                Ok(process) => self.control(inside, setup, Some((pid, process))),
                Err(error) if is_scarcity(&error) => self.no_room(setup, &error),
                Err(_) => setup.refuse(Refusal::ProcessHidden),
            },
            (Role::Data { token, encrypted }, Arrival::Tcp { .. }) => {
                let (token, encrypted) = (*token, *encrypted);
                match encrypted {
                    true => self.data(inside, setup, (&token, Protection::Encrypted)),
                    // An older handler's, which cannot be shown what is wrong.
                    false if self.config.encrypted => setup.refuse(Refusal::NoSuchFabric),
                    false => self.data(inside, setup, (&token, Protection::Kernel)),
                }
            }
            (Role::ProtectedData { .. }, Arrival::Tcp { .. }) => self.protected_data(inside, setup),
            (Role::Data { .. } | Role::ProtectedData { .. }, Arrival::Local { .. }) => {
                setup.refuse(Refusal::NoSuchFabric)
            }
        }
    }

    /// A new peer on tcp or shm. On shm, `process` is the pid and what tells its end.
    fn control(
        &self,
        inside: &Inside,
        mut setup: Setup,
        process: Option<(u32, OwnedFd)>,
    ) -> Result<(), SetupError> {
        let Some(peer_permit) = self.registry.peer_permit(self.config.peers) else {
            return setup.refuse(Refusal::TooManySessions(self.config.peers));
        };
        let waker = match Waker::new() {
            Ok(waker) => waker,
            Err(error) => return self.no_room(setup, &error),
        };
        let mut token = Token::default();
        sys::random(&mut token)?;
        setup.welcome(inside.arena.len(), token)?;
        if process.is_some() {
            send_descriptor(&setup.socket, inside.arena.fd())?;
        }
        // From here on the peer may touch the arena: it must arrive, and leave.
        let pid = process.as_ref().map(|(pid, _)| *pid);
        let identity = self.identify(&mut setup, pid);
        let side = match (process, &setup.hello.role) {
            (Some((_, process)), _) => Side::Shm { process },
            (None, Role::Control { queues, .. }) => Side::Tcp {
                queues: usize::from(*queues),
            },
            (None, Role::Data { .. } | Role::ProtectedData { .. }) => Side::Tcp { queues: 0 },
        };
        let mailbox = Mailbox::new(setup.socket, setup.secure, BACKLOG);
        drop(setup.setup_permit);
        let connection = PeerConnection::new(identity, Channel::Stream(Box::new(mailbox)), waker, side);
        self.host(inside, token, (&connection, peer_permit));
        Ok(())
    }

    /// A new peer on verbs.
    fn queues(&self, inside: &Inside, mut setup: Setup, queues: u8) -> Result<(), SetupError> {
        let Some(responder) = &inside.responder else {
            return setup.refuse(Refusal::NoSuchFabric);
        };
        let Some(peer_permit) = self.registry.peer_permit(self.config.peers) else {
            return setup.refuse(Refusal::TooManySessions(self.config.peers));
        };
        let waker = match Waker::new() {
            Ok(waker) => waker,
            Err(error) => return self.no_room(setup, &error),
        };
        let mut token = Token::default();
        sys::random(&mut token)?;
        setup.welcome(inside.arena.len(), Token::default())?;
        let identity = self.identify(&mut setup, None);
        let Setup {
            socket,
            secure,
            limits,
            setup_permit,
            ..
        } = setup;
        let session = responder.admit(&socket, secure, queues, &limits)?;
        drop(setup_permit);
        let connection = PeerConnection::new(identity, Channel::Queues(session), waker, Side::Verbs);
        self.host(inside, token, (&connection, peer_permit));
        Ok(())
    }

    fn identify(&self, setup: &mut Setup, pid: Option<u32>) -> Identity {
        Identity {
            id: PeerId(self.last_peer.fetch_add(1, Ordering::Relaxed) + 1),
            key: setup.key,
            fabric: setup.arrival.fabric(&setup.hello.role),
            host: std::mem::take(&mut setup.hello.host),
            pid,
            negotiated: setup.negotiated,
        }
    }

    /// Refuses a peer for want of something.
    fn no_room(&self, setup: Setup, error: &io::Error) -> Result<(), SetupError> {
        self.scarce(format!("no descriptor for another peer: {error}"));
        setup.refuse(Refusal::NoRoom)
    }

    /// Serves a peer from its arrival until it has left.
    fn host(
        &self,
        inside: &Inside,
        token: Token,
        (connection, _peer_permit): (&Arc<PeerConnection>, PeerPermit),
    ) {
        inside
            .peer_handler
            .arrived(Arc::clone(connection) as Arc<dyn Peer>);
        self.registry.add(token, connection);
        let gone = connection.serve(
            &*inside.peer_handler,
            self.registry.closing(),
            self.config.step_timeout,
        );
        self.registry.remove(&token);
        if gone {
            inside.peer_handler.left(connection.identity().id);
        }
    }

    /// A data connection whose handler says what protects it, and what it sees of it.
    fn protected_data(&self, inside: &Inside, setup: Setup) -> Result<(), SetupError> {
        let Role::ProtectedData {
            token,
            protection,
            ends,
        } = setup.hello.role
        else {
            return setup.refuse(Refusal::NoSuchPeer);
        };
        let proven = || {
            let own = setup.socket.ends();
            own.zip(ends).is_some_and(|(own, theirs)| own.matches(&theirs))
        };
        match protection {
            Protection::Encrypted => {}
            _ if self.config.encrypted => return setup.refuse(Refusal::EncryptionDemanded),
            Protection::Kernel if !proven() => return setup.refuse(Refusal::NotProven),
            Protection::Kernel | Protection::Authenticated(_) => {}
        }
        self.data(inside, setup, (&token, protection))
    }

    /// A peer's data connection.
    fn data(
        &self,
        inside: &Inside,
        mut setup: Setup,
        (token, protection): (&Token, Protection),
    ) -> Result<(), SetupError> {
        let Some(connection) = self.registry.find(token, self.config.step_timeout) else {
            return setup.refuse(Refusal::NoSuchPeer);
        };
        if connection.identity().negotiated != setup.negotiated {
            // All connections of a peer speak alike.
            return setup.refuse(Refusal::NoSuchPeer);
        }
        let joined = match connection.join(&setup.socket) {
            Ok(joined) => joined,
            Err(refusal) => return setup.refuse(refusal),
        };
        setup.welcome(inside.arena.len(), Token::default())?;
        let Setup {
            socket,
            secure,
            setup_permit,
            ..
        } = setup;
        drop(setup_permit);
        let id = connection.identity().id;
        let secure = match protection {
            Protection::Kernel => None,
            Protection::Authenticated(key) => Some(Secure::authenticated(&key, false)),
            Protection::Encrypted => Some(secure),
        };
        let served = tcp::serve(&socket, secure, &inside.arena, &|verb, range| {
            inside.peer_handler.may(id, verb, range)
        });
        if let Err(error) = served {
            tracing::debug!(
                "a data connection of {} failed: {error}",
                connection.identity().host
            );
        }
        drop(joined);
        Ok(())
    }
}

impl Setup {
    fn refuse(mut self, refusal: Refusal) -> Result<(), SetupError> {
        self.say(&Answer::Refused(refusal))?;
        Err(SetupError::Refused(refusal))
    }

    fn refuse_versions(mut self, differ: NoCommonVersion) -> Result<(), SetupError> {
        let (oldest, newest) = (differ.ours.oldest(), differ.ours.newest());
        self.say(&Answer::Refused(Refusal::NoCommonVersion(oldest, newest)))?;
        Err(differ.into())
    }

    fn say(&mut self, word: &Answer) -> Result<(), SetupError> {
        answer(&self.socket, &mut self.secure, word, &self.limits)
    }

    /// Who says nothing of versions hears nothing of them.
    fn welcome(&mut self, arena: u64, token: Token) -> Result<(), SetupError> {
        let chosen = self.hello.protocol.map(|_| self.negotiated);
        let welcome = Answer::Welcome(Welcome { arena, token, chosen });
        self.say(&welcome)
    }
}

/// True when the process or the host has no descriptor or memory left.
pub(super) fn is_scarcity(error: &io::Error) -> bool {
    let scarce = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
    error
        .raw_os_error()
        .is_some_and(|number| scarce.contains(&number))
}
