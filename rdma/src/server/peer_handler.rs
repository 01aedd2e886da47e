//! What a server and the node that opens it say to each other.

use crate::fabric::{FabricError, FabricKind, Verb};
use crate::key::{Key, KeyId};
use crate::protocol::{Negotiated, Protocol};
use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Numbers the peers of a server; never reused while it runs.
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
    /// What the node and the peer speak with each other.
    pub negotiated: Negotiated,
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

    /// Ends its connection; [`PeerHandler::left`] follows.
    fn close(&self);
}

/// What the node does with its peers. Methods are called from the server's threads: for one peer first `arrived`, then
/// `message` in order, then `left`, one at a time; `may` at any time between `arrived` and `left`, by up to 16 threads at once.
/// None of them may close the server.
pub trait PeerHandler: Send + Sync {
    /// A peer was authenticated.
    fn arrived(&self, peer: Arc<dyn Peer>);

    /// It sent a message. A peer's messages come one after the other, and [`PeerHandler::left`] comes after the last one is served: what this call
    /// does itself is work of the peer.
    fn message(&self, peer: PeerId, message: &[u8]);

    /// May it do this to these arena bytes? Asked for each tcp access.
    fn may(&self, peer: PeerId, verb: Verb, range: Range<u64>) -> bool;

    /// It is gone: no work of it is running or will run (on shm: its process has ended or it unmapped the arena). Not called
    /// for a peer that still maps the arena when the server has closed.
    fn left(&self, peer: PeerId);
}

/// How to open servers.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Pool name, 1 to 64 of `[A-Za-z0-9._-]`.
    pub pool: String,
    /// Its key.
    pub key: Key,
    /// Fabrics to offer.
    pub fabrics: Vec<FabricKind>,
    /// RDMA device to offer verbs on, as `rdma link` shows it. `None` is one with an active port.
    pub device: Option<String>,
    /// Most peers at once.
    pub peers: u32,
    /// Time limit of a set-up until the key is proved and the Hello heard, and of each step after that; also how long closing waits
    /// for peers on shm to let go.
    pub step_timeout: Duration,
    /// Directory of the Unix socket for shm: `RUN_DIR/node-PORT.sock`.
    pub run_dir: PathBuf,
    /// Data on tcp must be encrypted.
    pub encrypted: bool,
    /// What this node speaks.
    pub protocol: Protocol,
}
