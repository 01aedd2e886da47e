//! A memory node's control socket, `RUN_DIR/node-PORT.control`, mode 0600: what may be asked of a node on its own host, and how.
//!
//! Who may write to a node's memory may ask it: root, and who runs it (SO_PEERCRED is checked too). One request and one reply per
//! connection, as on the handler's socket. The JSON of [`NodeStatus`] and [`LockStatus`] is also what `rdmafs status --json` prints:
//! fields are only ever added.

use super::frame::{FrameError, MAX_REPLY, encode, read};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket, sockopt::SendTimeout,
};
use nix::sys::time::TimeVal;
use rdmafs_rdma::shown::shown;
use rdmafs_rdma::trust::{Distrust, check_directory, check_listener};
use serde::{Deserialize, Serialize};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use thiserror::Error;

/// How long a node may take to answer. It never waits for a handler.
pub const NODE_PATIENCE: Duration = Duration::from_secs(5);

/// What may be asked of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeRequest {
    /// Answer: [`NodeReply::Status`].
    Status,
    /// Who holds and who waits for which locks. Answer: [`NodeReply::Locks`].
    Locks,
    /// End in good order. Answer: [`NodeReply::Stopping`], or [`NodeReply::InUse`] and nothing is changed.
    Stop {
        /// Also when sessions or bytes are lost by it.
        yes: bool,
        /// Handlers are not waited for: what they have not committed is lost.
        hurry: bool,
    },
}

/// What a node answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeReply {
    /// The state of the node.
    Status(NodeStatus),
    /// Locks.
    Locks(LockList),
    /// It ends, within so many milliseconds at most.
    Stopping {
        /// Until then its handlers may commit what programs wrote, and 6 s more.
        limit_ms: u64,
    },
    /// It was not told to end all the same.
    InUse(NodeStatus),
    /// The request failed; the line says why.
    Error(String),
}

/// A node and its pool, as it sees itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Where it listens, `ADDRESS:PORT`.
    pub node: String,
    /// The name of the pool.
    pub pool: String,
    /// The id of the node's process.
    pub pid: u32,
    /// `preparing` (its memory: nobody is let in yet), `serving`, or `stopping`.
    pub state: String,
    /// How much of its memory is prepared, in percent.
    pub prepared: u8,
    /// Since its start, in milliseconds.
    pub for_ms: u64,
    /// Bytes lent.
    pub total: u64,
    /// Bytes in files.
    pub used: u64,
    /// Bytes that are free or being cleaned.
    pub free: u64,
    /// Inodes, the root directory among them.
    pub inodes: u64,
    /// Names that there may be: 1 KiB of `serve --metadata` each, and so for extended attributes and link targets.
    #[serde(default)]
    pub names: u64,
    /// Names of them that can be made.
    #[serde(default)]
    pub names_free: u64,
    /// Files of which bytes are lost, with an earlier life of the node.
    pub lost_files: u64,
    /// Bytes of them that are lost.
    pub lost_bytes: u64,
    /// Fabrics that it serves.
    pub fabrics: Vec<String>,
    /// Where the namespace is kept, or `null`: names end with the node.
    pub state_dir: Option<PathBuf>,
    /// How long a silent handler keeps what it holds, in milliseconds.
    pub lease_ms: u64,
    /// Most sessions at once.
    pub most_sessions: u32,
    /// Handlers that are connected.
    pub sessions: Vec<NodeSession>,
    /// What does not work, each in a line.
    pub warnings: Vec<String>,
}

/// A handler at a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeSession {
    /// The host it says it is.
    pub host: String,
    /// Fabric.
    pub fabric: String,
    /// Number, also in the node's log; `null` before it began one.
    pub session: Option<u64>,
    /// Its process, where the node can see it (shm).
    pub pid: Option<u32>,
    /// Since its last call, in milliseconds.
    pub silent_ms: u64,
    /// The version of the protocol that is spoken with it; 0 from a node that does not say.
    #[serde(default)]
    pub protocol: u16,
    /// While the node ends: it has committed what its programs wrote.
    pub committed: bool,
}

/// Locks, and how many more there are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LockList {
    /// In the order of inodes; of one inode the holders first, then who waits in the order of arrival.
    pub locks: Vec<LockStatus>,
    /// Locks and waiters that are left out.
    pub more: u64,
}

/// A lock that is held or waited for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LockStatus {
    /// The name of the pool.
    pub pool: String,
    /// Inode.
    pub inode: u64,
    /// A path to it in the pool; `null` where no name leads there any more.
    pub path: Option<String>,
    /// The host that holds it or waits.
    pub host: String,
    /// The process, in the numbers of its host; `null` where it cannot be told.
    pub pid: Option<u32>,
    /// `flock`, `posix`, `ofd`, or `unknown`.
    pub kind: String,
    /// Nobody else may have these bytes, too.
    pub exclusive: bool,
    /// The first byte of the range, counted from the beginning of the file.
    pub start: u64,
    /// Last byte; `null` for the end of the file, wherever that comes to be.
    pub last: Option<u64>,
    /// The lock is waited for, not held.
    pub waiting: bool,
    /// Since when it waits, in milliseconds.
    pub waits_ms: u64,
}

/// Why a node could not be asked.
#[derive(Debug, Error)]
pub enum NodeError {
    /// Nobody listens.
    #[error("no memory node answers at {}", shown(.0))]
    None(PathBuf),
    /// The caller may not use the socket.
    #[error("{}: only root and who runs the node may talk to it (try sudo)", shown(.0))]
    Denied(PathBuf),
    /// Others may have put the socket there.
    #[error(transparent)]
    Distrust(#[from] Distrust),
    /// It accepted and did not answer in time.
    #[error("the node at {} did not answer within {:?}", shown(.0), .1)]
    Silent(PathBuf, Duration),
    /// The node's answer cannot be had or read.
    #[error("cannot talk to the node at {}: {}", shown(.0), .1)]
    Talk(PathBuf, String),
}

/// Where the node on a port is asked.
#[must_use]
pub fn node_socket_path(run_dir: &Path, port: u16) -> PathBuf {
    run_dir.join(format!("node-{port}.control"))
}

/// The ports of nodes that have, or had, a control socket in the run directory, in order.
///
/// # Errors
/// Others may have put them there.
pub fn node_ports(run_dir: &Path) -> Result<Vec<u16>, Distrust> {
    check_directory(run_dir)?;
    let entries = std::fs::read_dir(run_dir).into_iter().flatten().flatten();
    let mut ports: Vec<u16> = entries
        .filter_map(|entry| {
            let name = entry.file_name();
            let port = name.to_str()?.strip_prefix("node-")?.strip_suffix(".control")?;
            port.parse().ok()
        })
        .collect();
    ports.sort_unstable();
    Ok(ports)
}

/// Asks the node on a port. Blocking, for [`NODE_PATIENCE`].
///
/// # Errors
/// The node could not be asked. What it refused is [`NodeReply::Error`].
pub fn ask_node(run_dir: &Path, port: u16, request: &NodeRequest) -> Result<NodeReply, NodeError> {
    ask_node_within(run_dir, port, request, NODE_PATIENCE)
}

/// Asks the node on a port. Blocking, no longer than `patience` where the node does not answer.
///
/// # Errors
/// The node could not be asked. What it refused is [`NodeReply::Error`].
#[expect(
    clippy::disallowed_methods,
    reason = "the time that is left of a wait in the kernel"
)]
pub fn ask_node_within(
    run_dir: &Path,
    port: u16,
    request: &NodeRequest,
    patience: Duration,
) -> Result<NodeReply, NodeError> {
    let path = node_socket_path(run_dir, port);
    let explain = |error: FrameError| match error {
        FrameError::TimedOut => NodeError::Silent(path.clone(), patience),
        other => NodeError::Talk(path.clone(), other.to_string()),
    };
    let line = encode(request).map_err(explain)?;
    check_directory(run_dir)?;
    let begun = Instant::now();
    let mut socket = call(&path, patience).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => NodeError::None(path.clone()),
        io::ErrorKind::PermissionDenied => NodeError::Denied(path.clone()),
        io::ErrorKind::WouldBlock => NodeError::Silent(path.clone(), patience),
        _ => NodeError::Talk(path.clone(), error.to_string()),
    })?;
    check_listener(&socket, &path)?;
    let mut exchange = || {
        socket.write_all(&line)?;
        let left = patience.saturating_sub(begun.elapsed());
        socket.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        read(&socket, MAX_REPLY)
    };
    exchange().map_err(explain)
}

/// A connection on which neither connect(2), which waits while the callers of a stopped node fill its queue, nor write(2) takes longer.
fn call(path: &Path, patience: Duration) -> io::Result<UnixStream> {
    let socket = socket(
        AddressFamily::Unix,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    let limit = TimeVal::new(
        i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
        patience.subsec_micros().into(),
    );
    setsockopt(&socket, SendTimeout, &limit)?;
    connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(UnixStream::from(socket))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn nobody_and_a_node_that_died_are_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let ask = || ask_node(dir.path(), 7, &NodeRequest::Status).unwrap_err();
        assert!(matches!(ask(), NodeError::None(_)));
        assert!(node_ports(dir.path()).unwrap().is_empty());
        drop(UnixListener::bind(node_socket_path(dir.path(), 7)).unwrap());
        assert!(matches!(ask(), NodeError::None(_)));
        for other in ["node-x.control", "node-99999.control", "node-8.sock", "9.control"] {
            std::fs::write(dir.path().join(other), "").unwrap();
        }
        assert_eq!(node_ports(dir.path()).unwrap(), [7]);
    }

    #[test]
    fn a_node_that_ends_in_the_middle_is_said_so() {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(node_socket_path(dir.path(), 7)).unwrap();
        let ends = std::thread::spawn(move || drop(listener.accept()));
        let error = ask_node(dir.path(), 7, &NodeRequest::Locks).unwrap_err();
        ends.join().unwrap();
        assert!(
            error.to_string().starts_with("cannot talk to the node at "),
            "{error}"
        );
    }
    #[test]
    #[expect(clippy::disallowed_methods, reason = "it is about waiting")]
    fn a_node_that_is_stopped_is_not_waited_for_however_many_asked_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = node_socket_path(dir.path(), 7);
        // It listens and never accepts.
        let _listener = UnixListener::bind(&path).unwrap();
        let patience = Duration::from_millis(50);
        let silent = || {
            let begun = Instant::now();
            let error = ask_node_within(dir.path(), 7, &NodeRequest::Status, patience).unwrap_err();
            assert!(matches!(error, NodeError::Silent(..)), "{error}");
            assert!(begun.elapsed() < Duration::from_secs(5));
        };
        silent();
        let mut waiting = Vec::new();
        while let Ok(caller) = call(&path, patience) {
            waiting.push(caller);
        }
        silent();
    }
}
