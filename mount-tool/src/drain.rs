//! `rdmafs drain`: ends a memory node of this host in good order, and waits until it has ended.
//!
//! The node is known by the pid file that it holds in the run directory; the process id is believed only while that process has
//! the node's socket or port, that is, while it is an rdmafs serving there: the file may be left from a node that was killed.

use crate::failure::Failure;
use crate::output::{self, Progress};
use crate::settings::run_dir;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  rdmafs drain                  the node on port 7470
  rdmafs drain 7471 --force     the node on port 7471, without waiting for its handlers

The node takes no new sessions, asks its handlers to commit what their programs wrote, makes that durable (with --state) and ends,
within 'serve --drain' (5s) plus 6 s. Its memory goes with it: bytes in the pool are lost.";

/// Steps in which the node's end is waited for.
const LOOK: Duration = Duration::from_millis(50);
/// With `--force`: how long a node may take before it is killed.
const PATIENCE: Duration = Duration::from_secs(10);

/// End a memory node of this host in good order
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Port that the node listens on
    #[arg(value_name = "PORT", default_value_t = 7470)]
    port: u16,
    /// Do not wait for handlers; kill a node that does not end within 10 s
    #[arg(long)]
    force: bool,
}

/// Drains. Blocking, as long as the node takes.
pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let node = find(&run_dir(), args.port)?;
    signal(node, Signal::SIGTERM)?;
    let mut line = Progress::new();
    line.show("draining");
    let mut waited = Duration::ZERO;
    while is_alive(node) {
        thread::sleep(LOOK);
        let before = waited;
        waited += LOOK;
        if args.force && before.is_zero() {
            // The second one ends its wait for the handlers.
            let _gone = signal(node, Signal::SIGTERM);
        }
        if args.force && waited >= PATIENCE {
            signal(node, Signal::SIGKILL)?;
            drop(line);
            return output::print(&format!("killed process {node}: it did not end in {PATIENCE:?}"));
        }
    }
    drop(line);
    output::print(&format!("the node on port {} has ended", args.port))
}

/// The process of the node on this port.
fn find(run_dir: &Path, port: u16) -> Result<Pid, Failure> {
    let path = run_dir.join(format!("node-{port}.pid"));
    let none = || {
        Failure::system(format!(
            "no memory node of this host serves on port {port} ({} names none): give the port of its --listen",
            path.display()
        ))
    };
    let text = fs::read_to_string(&path).map_err(|_| none())?;
    let pid: i32 = text.trim().parse().map_err(|_| none())?;
    let pid = Pid::from_raw(pid);
    if pid.as_raw() > 1 && is_node(pid, port) {
        Ok(pid)
    } else {
        Err(none())
    }
}

/// True for an `rdmafs serve` that was told to listen on this port, or on the default one.
fn is_node(pid: Pid, port: u16) -> bool {
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<_> = words
        .split(|byte| *byte == 0)
        .map(String::from_utf8_lossy)
        .collect();
    let serves = words.iter().any(|word| word == "serve");
    let listen = words.iter().position(|word| word == "--listen");
    let given = listen
        .and_then(|at| words.get(at + 1))
        .map(|address| address.to_string());
    let joined = words
        .iter()
        .find_map(|word| word.strip_prefix("--listen=").map(str::to_owned));
    let address = given.or(joined).unwrap_or_else(|| "127.0.0.1:7470".to_owned());
    serves && (address.ends_with(&format!(":{port}")) || address.ends_with(":0"))
}

fn signal(node: Pid, signal: Signal) -> Result<(), Failure> {
    match kill(node, signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(Errno::EPERM) => Err(Failure::usage("only root may end the node (try sudo)".to_owned())),
        Err(error) => Err(Failure::system(format!(
            "cannot signal process {node}: {}",
            error.desc()
        ))),
    }
}

/// A zombie has ended: only its parent has not asked yet.
fn is_alive(node: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{node}/stat")).unwrap_or_default();
    let state = status.rsplit(") ").next().and_then(|rest| rest.chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_that_names_another_process_is_no_node() {
        let dir = tempfile::tempdir().unwrap();
        let missing = find(dir.path(), 7470).unwrap_err().to_string();
        assert!(
            missing.contains("port 7470") && missing.contains("--listen"),
            "{missing}"
        );
        for text in ["1", "", "-1", "x", "99999999999", &std::process::id().to_string()] {
            fs::write(dir.path().join("node-7470.pid"), text).unwrap();
            assert!(find(dir.path(), 7470).is_err(), "{text}");
        }
        assert!(is_alive(Pid::this()));
    }
}
