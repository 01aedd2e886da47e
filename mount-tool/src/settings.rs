//! What the environment decides: where daemons have their sockets, and what they log.

use std::io::IsTerminal;
use std::path::PathBuf;
use tracing_subscriber::EnvFilter;

/// Moves [`run_dir`].
pub(crate) const RUN_DIR_VARIABLE: &str = "RDMAFS_RUN_DIR";

/// `/run/rdmafs`, unless `RDMAFS_RUN_DIR` says otherwise. Absolute, because daemons work in `/`.
pub(crate) fn run_dir() -> PathBuf {
    let chosen = std::env::var_os(RUN_DIR_VARIABLE).filter(|dir| !dir.is_empty());
    let dir = chosen.map_or_else(|| PathBuf::from("/run/rdmafs"), PathBuf::from);
    std::path::absolute(&dir).unwrap_or(dir)
}

/// fuser warns of each request that this program leaves to the kernel, and of each answer whose caller was killed: any user can
/// cause either at will.
const DEFAULT_LOG: &str = "info,fuser=off";

/// A daemon logs to its standard error (a terminal, the journal, or the log file of a detached one): `info`, unless `RUST_LOG` says otherwise.
pub(crate) fn start_logging() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_LOG));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // Only a second call could fail, and the first one's settings would be the same.
    let _ = subscriber.try_init();
}
