//! The node's side of a fabric: who was let in, and what they may do.

use crate::arena::Arena;
use crate::fabric::{FabricError, FabricKind, Verb};
use crate::key::{Key, KeyId};
use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Numbers the peers of a door; never reused while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(pub u64);

/// What is known of an authenticated peer.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Number.
    pub id: PeerId,
    /// The key it proved.
    pub key: KeyId,
    /// The host it says it is.
    pub host: String,
    /// How it came.
    pub fabric: FabricKind,
    /// Its process, on shm.
    pub pid: Option<u32>,
}

/// An authenticated peer (a handler's link), as the node sees it.
pub trait Peer: Send + Sync {
    /// Who it is.
    fn identity(&self) -> &Identity;

    /// Sends it a message, in order. Never blocks: a peer that does not read is disconnected once 4 MiB wait for it.
    ///
    /// # Errors
    /// [`FabricError::Disconnected`].
    fn send(&self, message: &[u8]) -> Result<(), FabricError>;

    /// Ends its connection; [`Desk::left`] follows.
    fn close(&self);
}

/// What the node does with its peers. Methods are called from the door's threads, for one peer one at a time.
pub trait Desk: Send + Sync {
    /// A peer was authenticated.
    fn arrived(&self, peer: Arc<dyn Peer>);

    /// It sent a message.
    fn message(&self, peer: PeerId, message: &[u8]);

    /// May it do this to these arena bytes? Asked for each tcp access.
    fn may(&self, peer: PeerId, verb: Verb, range: Range<u64>) -> bool;

    /// It is gone: no work of it is running or will run (on shm: its process has ended or it unmapped the arena).
    fn left(&self, peer: PeerId);
}

/// How to open doors.
#[derive(Clone, Debug)]
pub struct DoorConfig {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Pool name, 1 to 64 of `[A-Za-z0-9._-]`.
    pub pool: String,
    /// Its key.
    pub key: Key,
    /// Fabrics to offer.
    pub fabrics: Vec<FabricKind>,
    /// Time limit of each step of a set-up.
    pub step_timeout: Duration,
    /// Directory of the Unix socket for shm: `RUN_DIR/node-PORT.sock`.
    pub run_dir: PathBuf,
}

/// Open doors of a node; closing stops listening and ends all connections.
#[derive(Debug)]
pub struct Door {
    _private: (),
}

#[allow(unused_variables, clippy::todo, reason = "skeleton")]
impl Door {
    /// Listens and serves on threads of its own until closed or dropped.
    ///
    /// # Errors
    /// An address or socket cannot be had; the message says which.
    pub fn open(config: DoorConfig, arena: Arc<Arena>, desk: Arc<dyn Desk>) -> std::io::Result<Self> {
        todo!()
    }

    /// The TCP address, with the port that the system chose for port 0.
    pub fn address(&self) -> SocketAddr {
        todo!()
    }

    /// Stops listening, ends all connections, waits for the threads.
    pub fn close(&self) {
        todo!()
    }
}
