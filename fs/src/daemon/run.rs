//! The handler daemon: its control socket, its mounts, its end.

use std::path::PathBuf;

/// Runs the handler until its last mount is gone (or, never mounted, until it has been idle for 10 s), or SIGTERM. `ready` is
/// called once the control socket accepts. Blocking.
///
/// # Errors
/// One line: another handler runs, or a directory or socket cannot be had.
#[allow(unused_variables, clippy::todo, reason = "skeleton")]
pub fn run(run_dir: PathBuf, ready: impl FnOnce()) -> Result<(), String> {
    todo!()
}
