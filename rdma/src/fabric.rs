//! The contract of a fabric: what moves bytes between a handler and one memory node.
//!
//! A [`Fabric`] sets up; the [`Endpoint`] it gives is used by one [`Link`](crate::link::Link). Work is posted and completes
//! later (or at once, where a fabric can); nothing on an endpoint blocks except [`Endpoint::wait`]. Work of one queue
//! completes in order; nothing orders two queues. The buffer of a work request belongs to the endpoint until its completion,
//! which always comes: after [`Endpoint::close`] or the peer's death as an error.

use crate::buffer::{Buffer, BufferPool};
use crate::key::Key;
use crate::protocol::{Negotiated, Protocol, Versions};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// The fabrics there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FabricKind {
    /// The node's arena mapped into the handler; same host.
    Shm,
    /// RDMA verbs.
    Verbs,
    /// The node's threads, over TCP.
    Tcp,
    /// In-process, deterministic; tests only.
    Sim,
}

impl FabricKind {
    /// The word of the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Shm => "shm",
            Self::Verbs => "verbs",
            Self::Tcp => "tcp",
            Self::Sim => "sim",
        }
    }
}

/// Whether tcp data is encrypted (RPCs always are).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Crypt {
    /// Tcp data is encrypted unless the peer is a loopback address.
    #[default]
    Auto,
    /// Tcp data is always encrypted.
    On,
    /// Tcp data is never encrypted.
    Off,
}

/// Which RDMA resources to use; `None` is chosen from what the device reports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct VerbsOptions {
    /// Name of the device, as `rdma link` shows it. Default: one with an active port.
    pub device: Option<String>,
    /// Port, 1 to the device's number of ports. Default: the first active one.
    pub port: Option<u8>,
    /// Index in the port's GID table. Default: RoCE v2 with the IPv4 address that leads to the peer, if there is one.
    pub gid_index: Option<u8>,
    /// Traffic class of all packets, 0 to 255. Default: 0.
    pub tclass: Option<u8>,
}

/// Names the connections that replace one another: of one client owner, a node serves only the last, and takes the queue pairs of
/// those before away first. Random, and known to nobody else.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ClientOwner([u8; 16]);

impl ClientOwner {
    /// A new random client owner.
    ///
    /// # Errors
    /// The kernel gave no random bytes.
    pub fn random() -> std::io::Result<Self> {
        let mut bytes = [0; 16];
        crate::sys::random(&mut bytes)?;
        Ok(Self(bytes))
    }
}

impl ClientOwner {
    /// Its bytes: a secret of the two ends.
    #[must_use]
    pub fn bytes(self) -> [u8; 16] {
        self.0
    }
}

impl std::fmt::Debug for ClientOwner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lineage").finish_non_exhaustive()
    }
}

/// Where to connect, and how.
#[derive(Clone, Debug)]
pub struct Target {
    /// Host name or address.
    pub host: String,
    /// TCP port of the node's server.
    pub port: u16,
    /// The pool.
    pub pool: String,
    /// The pool's key.
    pub key: Key,
    /// This host, for the node's logs and `status`.
    pub host_id: String,
    /// Time limit of each step of the set-up.
    pub step_timeout: Duration,
    /// Queue pairs (K): 1 to 16.
    pub queues: usize,
    /// Encryption of tcp data.
    pub crypt: Crypt,
    /// Of which connection it takes the place, on verbs.
    pub client_owner: ClientOwner,
    /// RDMA resources, on verbs.
    pub verbs: VerbsOptions,
    /// Where servers on this host have their sockets (`/run/rdmafs`).
    pub run_dir: PathBuf,
    /// Memory that buffers of this endpoint come from.
    pub buffers: BufferPool,
    /// What this side speaks.
    pub protocol: Protocol,
}

impl Target {
    /// `host:port` as the user would write it, for messages.
    #[must_use]
    pub fn address(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

/// Why a connection could not be set up. Each message names what failed and the remedy.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The name has no address.
    #[error("cannot resolve {host}: {source} (is the name right? an address works, too)")]
    Resolve {
        /// The name.
        host: String,
        /// The cause.
        source: std::io::Error,
    },
    /// Nobody answers there.
    #[error("no memory node answers at {address}: {source} (is 'rdmafs serve' running there?)")]
    Unreachable {
        /// Address and port.
        address: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The peer did not go on in time.
    #[error("{address} did not answer the {step} step of the set-up within {seconds} s")]
    TimedOut {
        /// Address and port.
        address: String,
        /// The step of the set-up that was waited for.
        step: &'static str,
        /// The time limit of the step in seconds.
        seconds: u64,
    },
    /// The peer does not hold our key, or is no memory node.
    #[error(
        "{address} refused the key: another pool than '{pool}' is served there, or it has another key: use the key file that 'rdmafs serve' wrote there (option key=FILE)"
    )]
    BadKey {
        /// Address and port.
        address: String,
        /// What was asked for: without the key a node does not say what it serves.
        pool: String,
    },
    /// The node serves another pool.
    #[error("{address} serves no pool '{pool}': the name after ':/' must be that of its --pool")]
    NoSuchPool {
        /// Address and port.
        address: String,
        /// The pool that was asked for.
        pool: String,
    },
    /// The node has as many sessions as it takes.
    #[error(
        "{address} has as many sessions as it takes ({most}): unmount on a host that can do without, or start it with a larger --sessions"
    )]
    TooManySessions {
        /// Address and port.
        address: String,
        /// How many sessions the node takes at most.
        most: u32,
    },
    /// The node does not serve yet.
    #[error("{address} is preparing its memory, {percent} %: try again in a moment")]
    Preparing {
        /// Address and port.
        address: String,
        /// How much of it is prepared.
        percent: u8,
    },
    /// The node has no descriptor or thread for another connection.
    #[error(
        "{address} has no descriptor or thread left for another connection: its log says which (LimitNOFILE, TasksMax of its service)"
    )]
    NoRoom {
        /// Address and port.
        address: String,
    },
    /// The peers' versions do not fit.
    #[error("{address} speaks protocol version {theirs}, this host {ours}: install the same rdmafs on both")]
    Version {
        /// Address and port.
        address: String,
        /// The version that the node speaks.
        theirs: u16,
        /// The version that this program speaks.
        ours: u16,
    },
    /// The peers have no version of the protocol in common.
    #[error("{address} speaks protocol {theirs}, this host {ours}: upgrade rdmafs {}", older_host(.ours, .theirs))]
    NoCommonVersion {
        /// Address and port.
        address: String,
        /// Theirs.
        theirs: Versions,
        /// Ours.
        ours: Versions,
    },
    /// This fabric cannot reach that node: the reason, for `fabric=auto` to show.
    #[error("{0}")]
    NotHere(String),
    /// The set-up failed for another reason.
    #[error("set-up with {address} failed: {source}")]
    Io {
        /// Address and port.
        address: String,
        /// The cause.
        source: std::io::Error,
    },
}

/// Where the older program of two that have no version in common runs.
fn older_host(ours: &Versions, theirs: &Versions) -> &'static str {
    if ours.newest() < theirs.oldest() {
        "on this host"
    } else {
        "on the node's host"
    }
}

/// Why work or an endpoint failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FabricError {
    /// The peer is gone or unreachable.
    #[error("the connection to the node is gone: {0}")]
    Disconnected(String),
    /// The node refused the access (bounds or permission).
    #[error("the node refused the access")]
    AccessRefused,
    /// The endpoint was closed before the work was done.
    #[error("the endpoint was closed")]
    Flushed,
    /// More is queued than the peer takes.
    #[error("the send queue is full")]
    Full,
    /// The peer broke the protocol.
    #[error("the peer broke the protocol: {0}")]
    Protocol(String),
}

/// What a work request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Arena to buffer.
    Read,
    /// Buffer to arena.
    Write,
}

/// A one-sided operation on `buffer.len()` bytes of the node's arena from `remote` on.
#[derive(Debug)]
pub struct Work {
    /// Comes back in the completion; chosen by the poster, unique among outstanding work.
    pub id: u64,
    /// The direction in which bytes move.
    pub verb: Verb,
    /// Offset in the node's arena.
    pub remote: u64,
    /// Local memory, from [`Target::buffers`].
    pub buffer: Buffer,
}

/// A finished work request.
#[derive(Debug)]
pub struct Completion {
    /// The id of the work request.
    pub id: u64,
    /// The local memory, given back. After an error its contents are unspecified.
    pub buffer: Buffer,
    /// Whether the bytes were moved.
    pub result: Result<(), FabricError>,
}

/// What comes out of an endpoint.
#[derive(Debug)]
pub enum Event {
    /// Work is done.
    Done(Completion),
    /// The node sent a message.
    Message(Vec<u8>),
    /// The endpoint is dead; said once, after the completions of all work.
    Down(FabricError),
}

/// What an endpoint is.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The fabric that moves the endpoint's bytes.
    pub kind: FabricKind,
    /// Queue pairs that carry data.
    pub queues: usize,
    /// The device, or "" where there is none.
    pub device: String,
    /// Data bytes on the wire are encrypted.
    pub encrypted: bool,
    /// What this side and the node speak with each other.
    pub negotiated: Negotiated,
    /// How long a poster should poll before it parks; zero where completions come at once or late.
    pub spin: Duration,
}

/// A live connection to one node. Threads may share it.
pub trait Endpoint: Send + Sync {
    /// What the endpoint is: its fabric, device and limits.
    fn facts(&self) -> &Facts;

    /// Posts work on queue `queue % facts().queues`. Never blocks; may complete at once and then returns the completion.
    ///
    /// # Errors
    /// The work is not posted and never will be; a failed post comes back as a completion with an error.
    fn post(&self, queue: usize, work: Work) -> Option<Completion>;

    /// Sends a message of at most [`MAX_MESSAGE`] bytes, in order with other messages. Never blocks.
    ///
    /// # Errors
    /// [`FabricError::Full`], [`FabricError::Disconnected`].
    fn send(&self, message: &[u8]) -> Result<(), FabricError>;

    /// Moves what happened since into `events`. Never blocks. While another thread polls it finds nothing: events come out
    /// in one order, to be handled in that order.
    fn poll(&self, events: &mut Vec<Event>);

    /// Sleeps until [`Endpoint::poll`] may have something, [`Endpoint::wake`] is called, or `timeout` is over. May return early.
    fn wait(&self, timeout: Duration);

    /// Ends a [`Endpoint::wait`] of another thread; remembered if none is waiting.
    fn wake(&self);

    /// Ends the connection. Outstanding work comes out of [`Endpoint::poll`] as [`FabricError::Flushed`], then `Down`. Idempotent.
    fn close(&self);
}

/// The longest message, in bytes.
pub const MAX_MESSAGE: usize = 62 * 1024;

/// A way to reach nodes.
pub trait Fabric: Send + Sync {
    /// Which fabric this is.
    fn kind(&self) -> FabricKind;

    /// Sets up an authenticated endpoint. Blocking, each step limited by [`Target::step_timeout`].
    ///
    /// # Errors
    /// See [`ConnectError`].
    fn connect(&self, target: &Target) -> Result<Arc<dyn Endpoint>, ConnectError>;
}
