//! What the environment decides: where daemons have their sockets, and what they log.

use rdmafs_fs::shown::shown;
use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
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
        .with_writer(|| LogLines)
        // What is escaped cannot be coloured as well.
        .with_ansi(false);
    // Only a second call could fail, and the first one's settings would be the same.
    let _ = subscriber.try_init();
}

/// Standard error, an event at a time: one line each, whatever names and reasons of others are in it.
struct LogLines;

impl Write for LogLines {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        io::stderr().write_all(log_line(event).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

fn log_line(event: &[u8]) -> String {
    let event = event.strip_suffix(b"\n").unwrap_or(event);
    format!("{}\n", shown(OsStr::from_bytes(event)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_without_controls() {
        assert_eq!(log_line(b"plain\n"), "plain\n");
        assert_eq!(
            log_line(b"a\nFORGED line\x1b[2J\xff\n"),
            "a\\nFORGED line\\u{1b}[2J\\xff\n"
        );
    }
}
