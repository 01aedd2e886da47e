//! `rdmafs serve` from its configuration to its end: the edge at which a node meets its process.

use super::running::{Node, Prepared};
use crate::process::{Signals, abort_on_panic, harden, notify_manager, warn_without_roce_rule};
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
    /// The state directory in which a new pool began just now.
    pub new_pool: Option<PathBuf>,
    /// What does not work all the same, in a line.
    pub warning: Option<String>,
}

/// Serves until SIGTERM, SIGINT or SIGHUP, then drains: no session begins any more, the handlers are asked to commit what their programs
/// wrote, and that is made durable. A second signal ends the wait for the handlers, a third one the process. `progress` gets bytes of memory prepared so far. Blocking.
///
/// It hardens the process and makes every panic end it, so it is for the node's own process only. It listens before its memory is
/// prepared: who comes meanwhile hears how far that is, and a signal ends it at once. The service manager is told of readiness and of the end,
/// where there is one (`NOTIFY_SOCKET`). With a state directory, a call that was answered
/// survives a crash only if it was an fsync or came before one; a drain keeps them all.
///
/// # Errors
/// One line: what failed and how to mend it.
pub fn serve(
    mut config: ServeConfig,
    mut progress: impl FnMut(u64),
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
    let signals = Signals::block().map_err(|error| format!("cannot block signals: {error}"))?;
    let prepared = Prepared::new(config, |bytes| {
        progress(bytes);
        !signals.another()
    })?;
    let node = Node::start(prepared)?;
    if verbs {
        warn_without_roce_rule();
    }
    if let Some(warning) = &node.ready().warning {
        tracing::warn!("{warning}");
    }
    ready(node.ready());
    notify_manager("READY=1");
    left_out.log();
    let no_signals = |error| format!("cannot wait for signals: {error}");
    let signal = signals.first().map_err(no_signals)?;
    notify_manager("STOPPING=1");
    node.drain(signal, drain, &|| signals.another());
    signals.unblock().map_err(no_signals)?;
    node.stop()
}
