//! `rdmafs mounter`: the process that mounts for the handler, which starts it with a socket as its standard input. Nobody else does.

use crate::failure::Failure;
use crate::settings::start_logging;
use rdmafs_fs::mounter;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

/// Mount for the handler that started this
#[derive(clap::Args)]
pub(crate) struct Args {}

/// Serves until the handler ends. Blocking.
///
/// # Errors
/// Standard input is no socket of a handler.
pub(crate) fn run(_args: Args) -> Result<(), Failure> {
    start_logging();
    let socket = std::io::stdin().as_fd().try_clone_to_owned();
    let socket = socket.map_err(|error| Failure::system(format!("cannot hear the handler: {error}")))?;
    mounter::serve(UnixStream::from(socket)).map_err(Failure::system)
}
