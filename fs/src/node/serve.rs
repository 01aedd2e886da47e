//! `rdmafs serve` from its configuration to its end: the edge at which a node meets its process.

use super::config::{Ready, ServeConfig};
use super::running::{Node, Prepared, StartError, StopError};
use crate::process::{
    NotHardened, Role, Signals, abort_on_panic, confine, harden, look_for_roce_rule, notify_manager,
    warn_without_roce_rule,
};
use rdmafs_rdma::fabric::FabricKind;
use rdmafs_rdma::shown::shown;
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// A node that did not serve, or lost something at its end: what failed and how to mend it.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The process cannot be made safe.
    #[error(transparent)]
    Harden(#[from] NotHardened),
    /// A path of the configuration leads nowhere.
    #[error("{}: {source}", shown(.path))]
    Path {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Signals cannot be held back.
    #[error("cannot block signals: {0}")]
    BlockSignals(#[source] io::Error),
    /// Signals cannot be heard.
    #[error("cannot wait for signals: {0}")]
    AwaitSignals(#[source] io::Error),
    /// It did not come to serve.
    #[error(transparent)]
    Start(#[from] StartError),
    /// It lost something at its end.
    #[error(transparent)]
    Stop(#[from] StopError),
}

/// Serves until SIGTERM, SIGINT or SIGHUP, then drains: no session begins any more, the handlers are asked to commit what their programs
/// wrote, and that is made durable. A second signal ends the wait for the handlers, a third one the process. `progress` gets bytes of memory prepared so far. Blocking.
///
/// It hardens and confines the process and makes every panic end it, so it is for the node's own process only. It listens before its memory is
/// prepared: who comes meanwhile hears how far that is, and a signal ends it at once. The service manager is told of readiness and of the end,
/// where there is one (`NOTIFY_SOCKET`). With a state directory, a call that was answered
/// survives a crash only if it was an fsync or came before one; a drain keeps them all.
///
/// # Errors
/// What failed and how to mend it.
pub fn serve(
    mut config: ServeConfig,
    mut progress: impl FnMut(u64),
    ready: impl FnOnce(&Ready),
) -> Result<(), ServeError> {
    let mut left_out = harden()?;
    abort_on_panic();
    // A daemon works in `/`, whatever directory the paths were named from.
    for path in [&mut config.key, &mut config.run_dir]
        .into_iter()
        .chain(config.state.as_mut())
    {
        *path = std::path::absolute(&*path).map_err(|source| {
            let path = path.clone();
            ServeError::Path { path, source }
        })?;
    }
    let verbs = config.fabrics.contains(&FabricKind::Verbs);
    if verbs {
        look_for_roce_rule();
    }
    let low_port = (1..1024).contains(&config.listen.port());
    confine(Role::Node { low_port }, &mut left_out);
    let drain = config.drain;
    let signals = Signals::block().map_err(ServeError::BlockSignals)?;
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
    let signal = signals.first().map_err(ServeError::AwaitSignals)?;
    notify_manager("STOPPING=1");
    node.drain(signal, drain, &|| signals.another());
    signals.unblock().map_err(ServeError::AwaitSignals)?;
    Ok(node.stop()?)
}
