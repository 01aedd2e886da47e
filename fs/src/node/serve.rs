//! `rdmafs serve` from its configuration to its end: the edge at which a node meets its process.

use super::running::{Node, Prepared};
use crate::process::{Signals, abort_on_panic, harden, warn_without_roce_rule};
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
    /// Most sessions at once.
    pub sessions: u32,
    /// How long a drain waits for handlers to commit what they have.
    pub drain: Duration,
}

/// Said when the node serves.
#[derive(Clone, Debug)]
pub struct Ready {
    /// Address with the real port.
    pub address: SocketAddr,
    /// The key file was made just now.
    pub key_created: bool,
}

/// Serves until SIGTERM, SIGINT or SIGHUP, then drains: no session begins any more, the handlers are asked to commit what their programs
/// wrote, and that is made durable. A second signal ends the wait for the handlers, a third one the process. `progress` gets bytes of memory prepared so far. Blocking.
///
/// It hardens the process and makes every panic end it, so it is for the node's own process only. While memory is being
/// prepared the signals still end the process at once: nothing is served yet. With a state directory, a call that was answered
/// survives a crash only if it was an fsync or came before one; a drain keeps them all.
///
/// # Errors
/// One line: what failed and how to mend it.
pub fn serve(
    mut config: ServeConfig,
    progress: impl FnMut(u64),
    ready: impl FnOnce(&Ready),
) -> Result<(), String> {
    let left_out = harden()?;
    abort_on_panic();
    // A daemon works in `/`, whatever directory the paths were named from.
    for path in [&mut config.key, &mut config.run_dir]
        .into_iter()
        .chain(config.state.as_mut())
    {
        *path = std::path::absolute(&*path).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let verbs = config.fabrics.contains(&FabricKind::Verbs);
    let drain = config.drain;
    let prepared = Prepared::new(config, progress)?;
    let signals = Signals::block().map_err(|error| format!("cannot block signals: {error}"))?;
    let node = Node::start(prepared)?;
    if verbs {
        warn_without_roce_rule();
    }
    ready(node.ready());
    left_out.log();
    let no_signals = |error| format!("cannot wait for signals: {error}");
    let signal = signals.first().map_err(no_signals)?;
    node.drain(signal, drain, &|| signals.another());
    signals.unblock().map_err(no_signals)?;
    node.stop()
}
