//! `rdmafs version`: the same as `rdmafs --version`.

use crate::failure::Failure;
use crate::output;
use clap::Command;

/// Print the version
#[derive(clap::Args)]
pub(crate) struct Args {}

/// Prints it.
///
/// # Errors
/// Standard output cannot be written.
pub(crate) fn run(_args: Args, whole: &Command) -> Result<(), Failure> {
    output::print(whole.render_version().trim_end())
}
