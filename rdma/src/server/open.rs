//! Opening and closing.

use super::acceptor::{Acceptor, Inside};
use super::half_open::HalfOpenQueue;
use super::listen::{Listener, SocketFile};
use super::peer_handler::{PeerHandler, ServerConfig};
use super::registry::Registry;
use super::rejections::RejectionLog;
use crate::arena::Arena;
use crate::clock::SystemClock;
use crate::fabric::FabricKind;
use crate::shm::socket_path;
use crate::stream::Waker;
use crate::verbs::Responder;
use nix::sys::resource::{Resource, getrlimit};
use parking_lot::Mutex;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// Most half-open connections of one listener, where there are descriptors enough.
const MAX_HALF_OPEN: u64 = 1024;
/// Strangers of one listener may have one of so many descriptors of the process.
const OF_DESCRIPTORS: u64 = 8;

/// Doors of a node; closing stops listening and ends all connections.
pub struct Server {
    address: SocketAddr,
    acceptor: Arc<Acceptor>,
    waker: Arc<Waker>,
    socket_file: Mutex<Option<SocketFile>>,
}

impl Server {
    /// Listens and serves on threads of its own until closed or dropped. The TCP port is always there; who comes for a
    /// fabric that is not offered is told so.
    ///
    /// # Errors
    /// As those of [`Server::listen`] and [`Server::begin`].
    pub fn open(
        config: ServerConfig,
        arena: Arc<Arena>,
        peer_handler: Arc<dyn PeerHandler>,
    ) -> io::Result<Self> {
        let server = Self::listen(config)?;
        if let Some(warning) = server.begin(arena, peer_handler)? {
            tracing::warn!("{warning}");
        }
        Ok(server)
    }

    /// Listens. Who comes hears, once he has proved a key, that the memory is being prepared, until [`Server::begin`].
    ///
    /// # Errors
    /// An address or socket cannot be had, or a fabric is unknown here; the message says which.
    pub fn listen(config: ServerConfig) -> io::Result<Self> {
        if config.fabrics.contains(&FabricKind::Sim) {
            let message = "a node cannot offer sim: choose of shm, verbs, tcp";
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        }
        let says = |error: io::Error| {
            let message = format!("cannot listen on {}: {error}", config.listen);
            io::Error::new(error.kind(), message)
        };
        let (tcp, address) = Listener::tcp(config.listen).map_err(says)?;
        let mut listeners = vec![tcp];
        let mut socket_file = None;
        if config.fabrics.contains(&FabricKind::Shm) {
            let (file, listener) = SocketFile::listen(socket_path(&config.run_dir, address.port()))?;
            socket_file = Some(file);
            listeners.push(listener);
        }
        let acceptor = Arc::new(Acceptor {
            config,
            inside: OnceLock::new(),
            prepared: AtomicU8::new(0),
            registry: Arc::new(Registry::default()),
            last_peer: AtomicU64::new(0),
            half_open: half_open(),
            clock: SystemClock::new(),
            rejections: RejectionLog::default(),
            openings: Mutex::default(),
        });
        let server = Self {
            address,
            acceptor,
            waker: Arc::new(Waker::new()?),
            socket_file: Mutex::new(socket_file),
        };
        for listener in listeners {
            server.start(listener)?;
        }
        Ok(server)
    }

    /// How much of the memory is prepared, in percent, for those who come meanwhile.
    pub fn preparing(&self, percent: u8) {
        self.acceptor.prepared.store(percent, Ordering::Relaxed);
    }

    /// Lends the arena to those who come from now on. Gives a line about verbs when an RDMA device does not take the arena and other
    /// fabrics are offered, which then are. Blocking: the device registers it. Once for each server.
    ///
    /// # Errors
    /// There is no such device, or it does not take the arena and nothing else is offered; the message says which.
    pub fn begin(&self, arena: Arc<Arena>, peer_handler: Arc<dyn PeerHandler>) -> io::Result<Option<String>> {
        let fabrics = &self.acceptor.config.fabrics;
        let others: Vec<_> = fabrics
            .iter()
            .filter(|kind| **kind != FabricKind::Verbs)
            .collect();
        let (mut responder, mut warning) = (None, None);
        if fabrics.contains(&FabricKind::Verbs) {
            match Responder::open(self.acceptor.config.device.as_deref(), &arena) {
                Ok(open) => responder = Some(open),
                Err(error) if error.kind() == io::ErrorKind::Unsupported => return Err(error),
                Err(error) if others.is_empty() => {
                    let message = format!("{error}; give less with --memory, or offer tcp and shm too");
                    return Err(io::Error::new(error.kind(), message));
                }
                Err(error) => {
                    let names: Vec<_> = others.iter().map(|kind| kind.name()).collect();
                    warning = Some(format!("{error}; served without it, on {}", names.join(" and ")));
                }
            }
        }
        let inside = Inside {
            arena,
            responder,
            peer_handler,
        };
        if self.acceptor.inside.set(inside).is_err() {
            return Err(io::Error::other("this door has begun already"));
        }
        Ok(warning)
    }

    /// The TCP address, with the port that the system chose for port 0.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops listening, ends all connections, waits for the threads: at most the limit of a step beyond what the peer handler itself takes
    /// calls. Idempotent.
    pub fn close(&self) {
        drop(self.socket_file.lock().take());
        self.acceptor.registry.begin_closing();
        self.waker.wake();
        self.acceptor.registry.finish_closing();
    }

    fn start(&self, listener: Listener) -> io::Result<()> {
        let waker = Arc::clone(&self.waker);
        let half_open = HalfOpenQueue::new(Arc::clone(&self.acceptor), Arc::clone(&self.acceptor.registry))?;
        let thread = std::thread::Builder::new()
            .name("rdmafs-door".into())
            .spawn(move || half_open.run(&listener, &waker))?;
        self.acceptor.registry.keep(thread);
        Ok(())
    }
}

/// How many half-open connections a listener has room for: they must leave descriptors for peers.
fn half_open() -> usize {
    let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((MAX_HALF_OPEN, 0));
    let most = (limit / OF_DESCRIPTORS).clamp(1, MAX_HALF_OPEN);
    usize::try_from(most).unwrap_or(1)
}

impl Drop for Server {
    fn drop(&mut self) {
        self.close();
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}
