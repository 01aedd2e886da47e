//! What an operator asks a node to serve, and what the operator is told when the node does.

use rdmafs_rdma::fabric::FabricKind;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What to serve.
#[derive(Clone, Debug)]
pub struct ServeConfig {
    /// Pool name, 1 to 64 of `[A-Za-z0-9._-]`.
    pub pool: String,
    /// Bytes to lend, a multiple of 4 KiB.
    pub memory: u64,
    /// Address and port.
    pub listen: SocketAddr,
    /// Fabrics to offer.
    pub fabrics: Vec<FabricKind>,
    /// RDMA device to offer verbs on (`--device`). `None` is one with an active port.
    pub device: Option<String>,
    /// Directory of the durable namespace, if any.
    pub state: Option<PathBuf>,
    /// A new pool may begin in a state directory that keeps none (`--new`), and must not in one that does.
    pub new: bool,
    /// Key file.
    pub key: PathBuf,
    /// Owner of a new root directory.
    pub root_owner: (u32, u32),
    /// Mode of a new root directory.
    pub root_mode: u16,
    /// Bytes that names and what belongs to them may take: 1 KiB for each name, and the lengths of extended attributes and link targets
    /// ([`default_metadata`] where nobody says).
    pub metadata: u64,
    /// Sockets and pid files.
    pub run_dir: PathBuf,
    /// Lease of a session.
    pub lease: Duration,
    /// Most sessions at once.
    pub sessions: u32,
    /// Data on tcp only encrypted (`--encrypt`).
    pub encrypted: bool,
    /// How long a drain waits for handlers to commit what they have.
    pub drain: Duration,
}

/// The least that names of a pool may take, where nobody says.
const LEAST_METADATA: u64 = 256 << 20;

/// What names may take in a pool of so much memory where nobody says: an eighth, a name for each 8 KiB (as tmpfs has it), and never less than
/// 256 MiB.
#[must_use]
pub fn default_metadata(memory: u64) -> u64 {
    (memory / 8).max(LEAST_METADATA)
}

/// Said when the node serves.
#[derive(Clone, Debug)]
pub struct Ready {
    /// Address with the real port.
    pub address: SocketAddr,
    /// The key file was made just now.
    pub key_created: bool,
    /// The state directory in which a new pool began just now.
    pub new_pool: Option<PathBuf>,
    /// What does not work all the same, in a line.
    pub warning: Option<String>,
}
