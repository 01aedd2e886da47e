//! `rdmafs stop`: ends a memory node of this host in good order, and waits until it has ended.
//!
//! The node decides: it is asked over its control socket, and refuses while somebody uses its pool, unless told to end all the same. Only
//! a node that does not answer is known by its pid file; the process id there is believed only while that process is an rdmafs that
//! serves on that port, for the file may be left from a node that was killed.

use crate::failure::Failure;
use crate::nodes::{Node, meant, nodes, unexpected};
use crate::output::{self, Progress};
use crate::settings::run_dir;
use crate::units::{count, show_size};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rdmafs_fs::control::{NODE_PATIENCE, NodeReply, NodeRequest, NodeSession, NodeStatus, ask_node};
use rdmafs_fs::shown::shown;
use std::fs;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::thread;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  rdmafs stop                   the memory node of this host
  rdmafs stop 7471              the one on port 7471, where there are several
  rdmafs stop --yes             also while its pool is in use
  rdmafs stop --yes --force     without waiting for its handlers

A pool in which files lie, or that is mounted somewhere, is ended only with --yes, or when a person says so: its memory goes with the node, and the
bytes in it are lost. Names and attributes stay where the node has a --state directory.
The node takes no new sessions, asks its handlers to commit what their programs wrote, makes that durable (with --state) and ends,
within 'serve --drain' (5s) plus 6 s.";

/// Steps in which the node's end is waited for.
const LOOK: Duration = Duration::from_millis(50);
/// Between two requests to a node that ends.
const ASK: Duration = Duration::from_millis(500);
/// What a node may take beyond the wait for its handlers.
const CLOSING: Duration = Duration::from_secs(6);
/// With `--force`: how long a node may take before it is killed.
const PATIENCE: Duration = Duration::from_secs(10);
/// Hosts that are named at most.
const MOST_HOSTS: usize = 8;

/// End a memory node of this host in good order
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Its port, or ADDRESS:PORT, or NODE:/POOL as it is mounted [default: the only node of this host]
    #[arg(value_name = "NODE")]
    node: Option<String>,
    /// Also when sessions or bytes are lost by it
    #[arg(long, short)]
    yes: bool,
    /// Do not wait for handlers; kill a node that does not end within 10 s, or does not answer
    #[arg(long)]
    force: bool,
}

/// Ends it. Blocking, as long as the node takes.
///
/// # Errors
/// One line: there is no such node, its pool is in use, or it cannot be ended.
pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let run_dir = run_dir();
    let node = meant(nodes(&run_dir, NODE_PATIENCE)?, args.node.as_deref(), &run_dir)?;
    let Some(status) = &node.status else {
        return end_silent(&run_dir, &node, &args);
    };
    let limit = ask_to_stop(&run_dir, node.port, &args)?;
    wait_for_end(&run_dir, status, (node.port, limit), args.force)
}

/// Asks the node to end, and a person when the node does not because it is in use. Says how long it waits for its handlers.
fn ask_to_stop(run_dir: &Path, port: u16, args: &Args) -> Result<Duration, Failure> {
    let stop = |yes| {
        let hurry = args.force;
        let reply = ask_node(run_dir, port, &NodeRequest::Stop { yes, hurry });
        reply.map_err(|error| Failure::system(error.to_string()))
    };
    let mut reply = stop(args.yes)?;
    if let NodeReply::InUse(status) = &reply {
        let line = in_use(status);
        if !asked(&line) {
            return Err(Failure::usage(format!(
                "{line}; unmount it and copy away what is worth it, or give --yes"
            )));
        }
        reply = stop(true)?;
    }
    match reply {
        NodeReply::Stopping { limit_ms } => Ok(Duration::from_millis(limit_ms)),
        other => Err(Failure::system(unexpected(&other))),
    }
}

/// Whether a person at a terminal says yes.
fn asked(line: &str) -> bool {
    let (input, mut err) = (std::io::stdin(), std::io::stderr());
    if !input.is_terminal() || !err.is_terminal() {
        return false;
    }
    let said = write!(err, "{}. End it all the same? [y/N] ", shown(line)).and_then(|()| err.flush());
    let mut answer = String::new();
    let read = said.and_then(|()| input.read_line(&mut answer));
    read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

/// Who and what a pool has, and what becomes of it.
fn in_use(status: &NodeStatus) -> String {
    let mut has = Vec::new();
    let hosts: Vec<&NodeSession> = status
        .sessions
        .iter()
        .filter(|client| client.session.is_some())
        .collect();
    if !hosts.is_empty() {
        has.push(format!(
            "{} ({})",
            count(hosts.len() as u64, "session"),
            names(&hosts)
        ));
    }
    let files = status.inodes.saturating_sub(1);
    if files > 0 {
        has.push(count(files, "file"));
    }
    if status.used > 0 {
        has.push(format!("{} in them", show_size(status.used)));
    }
    let lost = match &status.state_dir {
        Some(dir) => format!("bytes are lost with the node, names stay in {}", shown(&dir)),
        None => "names and bytes are lost with the node".to_owned(),
    };
    format!(
        "pool '{}' at {} is in use: {}; {lost}",
        status.pool,
        status.node,
        has.join(", ")
    )
}

fn names(hosts: &[&NodeSession]) -> String {
    let mut names: Vec<&str> = hosts.iter().map(|client| client.host.as_str()).collect();
    names.dedup();
    let left_out = names.len().saturating_sub(MOST_HOSTS);
    names.truncate(MOST_HOSTS);
    let more = if left_out > 0 {
        format!(" and {left_out} more")
    } else {
        String::new()
    };
    format!("{}{more}", shown(&names.join(", ")))
}

/// Shows whom the node waits for until its process is gone.
fn wait_for_end(
    run_dir: &Path,
    status: &NodeStatus,
    (port, limit): (u16, Duration),
    force: bool,
) -> Result<(), Failure> {
    let node = pid(status.pid)?;
    let mut line = Progress::new();
    line.say(&format!(
        "stopping pool '{}' at {} (process {node}): at most {} s",
        status.pool,
        status.node,
        (limit + CLOSING).as_secs()
    ));
    let (mut waited, mut owing) = (Duration::ZERO, String::new());
    while is_alive(node) {
        if waited.as_millis().is_multiple_of(ASK.as_millis())
            && let Ok(NodeReply::Status(now)) = ask_node(run_dir, port, &NodeRequest::Status)
        {
            owing = owed_by(&now);
        }
        if !owing.is_empty() {
            line.show(&format!(
                "waiting for {owing} to commit what programs wrote: {} s of at most {} s",
                waited.as_secs(),
                limit.as_secs()
            ));
        }
        if force && waited >= PATIENCE {
            signal(node, Signal::SIGKILL)?;
            drop(line);
            return output::print(&format!("killed process {node}: it did not end in {PATIENCE:?}"));
        }
        thread::sleep(LOOK);
        waited += LOOK;
    }
    drop(line);
    let lost = if owing.is_empty() || (waited < limit && !force) {
        String::new()
    } else {
        format!("; what {owing} had not committed is lost")
    };
    output::print(&format!(
        "pool '{}' at {} has ended{lost}",
        status.pool, status.node
    ))
}

/// The hosts that have not committed yet.
fn owed_by(status: &NodeStatus) -> String {
    let owes = |client: &&NodeSession| client.session.is_some() && !client.committed;
    names(&status.sessions.iter().filter(owes).collect::<Vec<_>>())
}

/// A node that does not answer: nobody knows what it has.
fn end_silent(run_dir: &Path, node: &Node, args: &Args) -> Result<(), Failure> {
    if !(args.yes && args.force) {
        return Err(Failure::system(format!(
            "the node on port {} does not answer: it hangs or is stopped; 'rdmafs stop {} --yes --force' kills it, with all that is in its memory",
            node.port, node.port
        )));
    }
    let process = by_pid_file(run_dir, node.port)?;
    let mut line = Progress::new();
    line.say(&format!(
        "process {process} does not answer: it has {} s to end",
        PATIENCE.as_secs()
    ));
    signal(process, Signal::SIGTERM)?;
    let mut waited = Duration::ZERO;
    while is_alive(process) {
        if waited >= PATIENCE {
            signal(process, Signal::SIGKILL)?;
            drop(line);
            return output::print(&format!(
                "killed process {process}: it did not end in {PATIENCE:?}"
            ));
        }
        thread::sleep(LOOK);
        waited += LOOK;
    }
    drop(line);
    output::print(&format!("the node on port {} has ended", node.port))
}

/// The process of the node on this port, by its pid file.
fn by_pid_file(run_dir: &Path, port: u16) -> Result<Pid, Failure> {
    let path = run_dir.join(format!("node-{port}.pid"));
    let none = || {
        Failure::system(format!(
            "{} names no memory node: end its process by hand",
            shown(&path)
        ))
    };
    let text = fs::read_to_string(&path).map_err(|_| none())?;
    let number: i32 = text.trim().parse().map_err(|_| none())?;
    let process = Pid::from_raw(number);
    if process.as_raw() > 1 && is_node(process, port) {
        Ok(process)
    } else {
        Err(none())
    }
}

/// True for an `rdmafs serve` that was told to listen on this port, or on the default one.
fn is_node(process: Pid, port: u16) -> bool {
    let words = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
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

fn pid(number: u32) -> Result<Pid, Failure> {
    let number = i32::try_from(number).ok().filter(|number| *number > 1);
    let number = number.ok_or_else(|| Failure::system("the node told no process id"))?;
    Ok(Pid::from_raw(number))
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
        let missing = by_pid_file(dir.path(), 7470).unwrap_err().to_string();
        assert!(
            missing.contains("node-7470.pid names no memory node"),
            "{missing}"
        );
        for text in ["1", "", "-1", "x", "99999999999", &std::process::id().to_string()] {
            fs::write(dir.path().join("node-7470.pid"), text).unwrap();
            assert!(by_pid_file(dir.path(), 7470).is_err(), "{text}");
        }
        assert!(is_alive(Pid::this()));
    }

    #[test]
    fn what_is_lost_is_named() {
        let client = |host: &str, session| NodeSession {
            host: host.to_owned(),
            session,
            ..NodeSession::default()
        };
        let mut status = NodeStatus {
            node: "127.0.0.1:7470".to_owned(),
            pool: "p".to_owned(),
            used: 3 << 20,
            inodes: 13,
            sessions: vec![client("a", Some(1)), client("b", Some(2)), client("c", None)],
            ..NodeStatus::default()
        };
        assert_eq!(
            in_use(&status),
            "pool 'p' at 127.0.0.1:7470 is in use: 2 sessions (a, b), 12 files, 3.0 MiB in them; names and bytes are lost with the node"
        );
        status.state_dir = Some("/s".into());
        status.sessions = (0..10).map(|n| client(&format!("h{n}"), Some(n))).collect();
        let line = in_use(&status);
        assert!(
            line.contains("h7 and 2 more)") && line.ends_with("names stay in /s"),
            "{line}"
        );
        status.sessions[9].committed = true;
        assert!(owed_by(&status).ends_with("and 1 more"));
    }
}
