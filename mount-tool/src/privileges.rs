//! `rdmafs privileges`: what a daemon keeps once it has started, from the lists that it is held to. For tests, and for who finds a refused
//! call in the kernel's log.

use crate::failure::Failure;
use crate::output;
use rdmafs_fs::process::{Role, describe};

/// A daemon.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Which {
    /// The memory node
    Node,
    /// The handler
    Handler,
    /// The process that mounts for it
    Mounter,
}

/// Print the capabilities and system calls that a daemon keeps
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which daemon
    daemon: Which,
}

/// Prints them.
///
/// # Errors
/// Standard output cannot be written.
pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let role = match args.daemon {
        Which::Node => Role::Node { low_port: false },
        Which::Handler => Role::Handler { hidden_tasks: false },
        Which::Mounter => Role::Mounter,
    };
    output::print(describe(role).trim_end())
}
