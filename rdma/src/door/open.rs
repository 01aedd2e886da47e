//! Opening and closing.

use super::desk::{Desk, DoorConfig};
use super::gate::Gate;
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
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Most strangers of one listener, where there are descriptors enough.
const MAX_STRANGERS: u64 = 1024;
/// Strangers of one listener may have one of so many descriptors of the process.
const OF_DESCRIPTORS: u64 = 8;

/// Open doors of a node; closing stops listening and ends all connections.
pub struct Door {
    address: SocketAddr,
    roll: Arc<Roll>,
    bell: Arc<Bell>,
    socket_file: Mutex<Option<SocketFile>>,
}

impl Door {
    /// Listens and serves on threads of its own until closed or dropped. The TCP port is always there; who comes for a
    /// fabric that is not offered is told so.
    ///
    /// # Errors
    /// An address or socket cannot be had, or a fabric is unknown here; the message says which.
    pub fn open(config: DoorConfig, arena: Arc<Arena>, desk: Arc<dyn Desk>) -> io::Result<Self> {
        if config.fabrics.contains(&FabricKind::Sim) {
            let message = "a node cannot offer sim: choose of shm, verbs, tcp";
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        }
        let lender = match config.fabrics.contains(&FabricKind::Verbs) {
            true => Some(Lender::open(config.device.as_deref(), &arena)?),
            false => None,
        };
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
        let roll = Arc::new(Roll::default());
        let door = Self {
            address,
            bell: Arc::new(Bell::new()?),
            roll: Arc::clone(&roll),
            socket_file: Mutex::new(socket_file),
        };
        let gate = Arc::new(Gate {
            config,
            arena,
            lender,
            desk,
            roll,
            last_peer: AtomicU64::new(0),
            strangers: strangers(),
            clock: SystemClock::new(),
            refusals: Refusals::default(),
        });
        for listener in listeners {
            door.start(listener, Arc::clone(&gate))?;
        }
        Ok(door)
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
        self.roll.begin_closing();
        self.bell.ring();
        self.roll.finish_closing();
    }

    fn start(&self, listener: Listener, gate: Arc<Gate>) -> io::Result<()> {
        let bell = Arc::clone(&self.bell);
        let porch = Porch::new(gate, Arc::clone(&self.roll))?;
        let thread = std::thread::Builder::new()
            .name("rdmafs-door".into())
            .spawn(move || porch.run(&listener, &bell))?;
        self.roll.keep(thread);
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
