//! Opening and closing.

use super::desk::{Desk, DoorConfig};
use super::gate::{Gate, Inside};
use super::listen::{Listener, SocketFile};
use super::porch::Porch;
use super::refusals::Refusals;
use super::roll::Roll;
use crate::arena::Arena;
use crate::clock::SystemClock;
use crate::fabric::FabricKind;
use crate::shm::socket_path;
use crate::stream::Bell;
use crate::verbs::Lender;
use nix::sys::resource::{Resource, getrlimit};
use parking_lot::Mutex;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// Most strangers of one listener, where there are descriptors enough.
const MAX_STRANGERS: u64 = 1024;
/// Strangers of one listener may have one of so many descriptors of the process.
const OF_DESCRIPTORS: u64 = 8;

/// Doors of a node; closing stops listening and ends all connections.
pub struct Door {
    address: SocketAddr,
    gate: Arc<Gate>,
    bell: Arc<Bell>,
    socket_file: Mutex<Option<SocketFile>>,
}

impl Door {
    /// Listens and serves on threads of its own until closed or dropped. The TCP port is always there; who comes for a
    /// fabric that is not offered is told so.
    ///
    /// # Errors
    /// As those of [`Door::listen`] and [`Door::begin`].
    pub fn open(config: DoorConfig, arena: Arc<Arena>, desk: Arc<dyn Desk>) -> io::Result<Self> {
        let door = Self::listen(config)?;
        if let Some(warning) = door.begin(arena, desk)? {
            tracing::warn!("{warning}");
        }
        Ok(door)
    }

    /// Listens. Who comes hears, once he has proved a key, that the memory is being prepared, until [`Door::begin`].
    ///
    /// # Errors
    /// An address or socket cannot be had, or a fabric is unknown here; the message says which.
    pub fn listen(config: DoorConfig) -> io::Result<Self> {
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
        let gate = Arc::new(Gate {
            config,
            inside: OnceLock::new(),
            prepared: AtomicU8::new(0),
            roll: Arc::new(Roll::default()),
            last_peer: AtomicU64::new(0),
            strangers: strangers(),
            clock: SystemClock::new(),
            refusals: Refusals::default(),
        });
        let door = Self {
            address,
            gate,
            bell: Arc::new(Bell::new()?),
            socket_file: Mutex::new(socket_file),
        };
        for listener in listeners {
            door.start(listener)?;
        }
        Ok(door)
    }

    /// How much of the memory is prepared, in percent, for those who come meanwhile.
    pub fn preparing(&self, percent: u8) {
        self.gate.prepared.store(percent, Ordering::Relaxed);
    }

    /// Lends the arena to those who come from now on. Gives a line about verbs when an RDMA device does not take the arena and other
    /// fabrics are offered, which then are. Blocking: the device registers it. Once for each door.
    ///
    /// # Errors
    /// There is no such device, or it does not take the arena and nothing else is offered; the message says which.
    pub fn begin(&self, arena: Arc<Arena>, desk: Arc<dyn Desk>) -> io::Result<Option<String>> {
        let fabrics = &self.gate.config.fabrics;
        let others: Vec<_> = fabrics
            .iter()
            .filter(|kind| **kind != FabricKind::Verbs)
            .collect();
        let (mut lender, mut warning) = (None, None);
        if fabrics.contains(&FabricKind::Verbs) {
            match Lender::open(self.gate.config.device.as_deref(), &arena) {
                Ok(open) => lender = Some(open),
                Err(error) if error.kind() == io::ErrorKind::Unsupported => return Err(error),
                Err(error) if others.is_empty() => {
                    let line = format!("{error}; give less with --memory, or offer tcp and shm too");
                    return Err(io::Error::new(error.kind(), line));
                }
                Err(error) => {
                    let names: Vec<_> = others.iter().map(|kind| kind.name()).collect();
                    warning = Some(format!("{error}; served without it, on {}", names.join(" and ")));
                }
            }
        }
        let inside = Inside { arena, lender, desk };
        if self.gate.inside.set(inside).is_err() {
            return Err(io::Error::other("this door has begun already"));
        }
        Ok(warning)
    }

    /// The TCP address, with the port that the system chose for port 0.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops listening, ends all connections, waits for the threads: at most the limit of a step beyond the desk's own
    /// calls. Idempotent.
    pub fn close(&self) {
        drop(self.socket_file.lock().take());
        self.gate.roll.begin_closing();
        self.bell.ring();
        self.gate.roll.finish_closing();
    }

    fn start(&self, listener: Listener) -> io::Result<()> {
        let bell = Arc::clone(&self.bell);
        let porch = Porch::new(Arc::clone(&self.gate), Arc::clone(&self.gate.roll))?;
        let thread = std::thread::Builder::new()
            .name("rdmafs-door".into())
            .spawn(move || porch.run(&listener, &bell))?;
        self.gate.roll.keep(thread);
        Ok(())
    }
}

/// How many strangers a listener has room for: they must leave descriptors for peers.
fn strangers() -> usize {
    let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((MAX_STRANGERS, 0));
    let most = (limit / OF_DESCRIPTORS).clamp(1, MAX_STRANGERS);
    usize::try_from(most).unwrap_or(1)
}

impl Drop for Door {
    fn drop(&mut self) {
        self.close();
    }
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}
