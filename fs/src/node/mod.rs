//! The memory node (`rdmafs serve`): arena, doors, namespace service and its store.

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
    /// Directory of the durable namespace, if any.
    pub state: Option<PathBuf>,
    /// Key file.
    pub key: PathBuf,
    /// Owner of a new root directory.
    pub root_owner: (u32, u32),
    /// Mode of a new root directory.
    pub root_mode: u16,
    /// Sockets and pid files.
    pub run_dir: PathBuf,
    /// Lease of a session.
    pub lease: Duration,
}

/// Said when the node serves.
#[derive(Clone, Debug)]
pub struct Ready {
    /// Address with the real port.
    pub address: SocketAddr,
    /// The key file was made just now.
    pub key_created: bool,
}

/// Serves until SIGTERM or SIGINT, then drains. `progress` gets bytes of memory prepared so far. Blocking.
///
/// # Errors
/// One line: what failed and how to mend it.
#[allow(unused_variables, clippy::todo, reason = "skeleton")]
pub fn serve(
    config: ServeConfig,
    progress: impl FnMut(u64),
    ready: impl FnOnce(&Ready),
) -> Result<(), String> {
    todo!()
}
