//! `rdmafs drain`: will move a node's bytes to the other nodes of its pool. A pool has one node so far, so there is nowhere to move them.

use crate::failure::Failure;
use std::ffi::OsString;

/// Move the bytes of a memory node to the others of its pool (not in this version)
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Whatever was said: nothing is done
    #[arg(value_name = "NODE", trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

/// Refuses.
///
/// # Errors
/// Always: one line that says what to do instead.
pub(crate) fn run(args: Args) -> Result<(), Failure> {
    drop(args.words);
    Err(Failure::usage(
        "cannot move bytes away: a pool has one memory node in this version; 'rdmafs stop' ends that node, once everything is committed",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_names_what_ends_a_node() {
        let line = run(Args { words: Vec::new() }).unwrap_err().to_string();
        assert!(line.contains("'rdmafs stop'"), "{line}");
    }
}
