//! The command line's side of the control socket.

use super::descriptor::send;
use super::frame::{FrameError, MAX_REPLY, encode, read};
use super::message::{ControlReply, ControlRequest};
use rdmafs_rdma::shown::shown;
use rdmafs_rdma::trust::{Distrust, check_directory, check_listener};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;

/// How long the handler may take for what needs no node.
const PATIENCE: Duration = Duration::from_secs(15);

/// Why the handler could not be asked.
#[derive(Debug, Error)]
pub enum ControlError {
    /// Nobody listens.
    #[error("no rdmafs handler runs ({}): nothing is mounted", shown(.0))]
    NoHandler(PathBuf),
    /// Nobody listens, and a handler that was stopped or died left mounts behind.
    #[error("the rdmafs handler has ended ({}): 'rdmafs handler' starts it again, with its mounts", shown(.0))]
    Died(PathBuf),
    /// The caller may not use the socket.
    #[error("{}: only root may talk to the rdmafs handler", shown(.0))]
    Denied(PathBuf),
    /// Others may have put the socket there.
    #[error(transparent)]
    Distrust(#[from] Distrust),
    /// It accepted and did not answer in time.
    #[error("the rdmafs handler did not answer within {} s: see {}", .0.as_secs(), shown(.1))]
    TimedOut(Duration, PathBuf),
    /// It went away before it answered: it ended just now (ask again), or crashed.
    #[error("the rdmafs handler ended without an answer: see {}", shown(.0))]
    Closed(PathBuf),
    /// The request cannot be said or the answer cannot be read.
    #[error("cannot talk to the rdmafs handler: {0}")]
    Talk(String),
}

/// Where the handler of a run directory listens.
#[must_use]
pub fn socket_path(run_dir: &Path) -> PathBuf {
    run_dir.join("handler.sock")
}

/// Where the handler of a run directory keeps what it must know of its mounts to make them again.
#[must_use]
pub fn records_folder(run_dir: &Path) -> PathBuf {
    run_dir.join("mounts")
}

/// Asks the handler of `run_dir`; `descriptor` is the open /dev/fuse of a mount request. Blocking: 15 s, and three times the
/// mount's `timeout=` more where the handler must reach a node.
///
/// # Errors
/// The handler could not be asked. What it refused is [`ControlReply::Error`].
pub fn call(
    run_dir: &Path,
    request: &ControlRequest,
    descriptor: Option<BorrowedFd<'_>>,
) -> Result<ControlReply, ControlError> {
    let path = socket_path(run_dir);
    let log = run_dir.join("handler.log");
    let patience = patience(request);
    let explain = |error: FrameError| match error {
        FrameError::TimedOut => ControlError::TimedOut(patience, log.clone()),
        FrameError::Closed => ControlError::Closed(log.clone()),
        other => ControlError::Talk(other.to_string()),
    };
    let line = encode(request).map_err(explain)?;
    let socket = connect(run_dir, path)?;
    let exchange = || {
        socket.set_read_timeout(Some(patience))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        send(&socket, &line, descriptor)?;
        read(&socket, MAX_REPLY)
    };
    exchange().map_err(explain)
}

/// A connection to a listener that is believed: nothing is said to another one.
fn connect(run_dir: &Path, path: PathBuf) -> Result<UnixStream, ControlError> {
    check_directory(run_dir)?;
    let socket = UnixStream::connect(&path);
    if let Ok(socket) = &socket {
        check_listener(socket, &path)?;
    }
    socket.map_err(|source| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused if has_records(run_dir) => {
            ControlError::Died(path)
        }
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ControlError::NoHandler(path),
        io::ErrorKind::PermissionDenied => ControlError::Denied(path),
        _ => ControlError::Talk(format!("{}: {source}", shown(&path))),
    })
}

/// A record's name is a number; a damaged one has another.
fn has_records(run_dir: &Path) -> bool {
    let mut names = std::fs::read_dir(records_folder(run_dir))
        .into_iter()
        .flatten()
        .flatten();
    names.any(|entry| {
        entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.parse::<u64>().is_ok())
    })
}

fn patience(request: &ControlRequest) -> Duration {
    match request {
        ControlRequest::Prepare { options, .. } | ControlRequest::Mount { options, .. } => {
            PATIENCE + Duration::from_millis(options.timeout_ms.saturating_mul(3))
        }
        ControlRequest::Status
        | ControlRequest::Qos { .. }
        | ControlRequest::Times { .. }
        | ControlRequest::Remount { .. } => PATIENCE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn nobody_listening_is_said_plainly() {
        let dir = tempfile::tempdir().unwrap();
        let error = call(dir.path(), &ControlRequest::Status, None).unwrap_err();
        let socket = socket_path(dir.path());
        let expected = format!("no rdmafs handler runs ({}): nothing is mounted", shown(&socket));
        assert_eq!(error.to_string(), expected);
        // A socket that a dead handler left behind.
        drop(UnixListener::bind(&socket).unwrap());
        let error = call(dir.path(), &ControlRequest::Status, None).unwrap_err();
        assert!(matches!(error, ControlError::NoHandler(_)));
        // And its mounts.
        std::fs::create_dir(records_folder(dir.path())).unwrap();
        std::fs::write(records_folder(dir.path()).join("1.damaged"), "").unwrap();
        let error = call(dir.path(), &ControlRequest::Status, None).unwrap_err();
        assert!(matches!(error, ControlError::NoHandler(_)));
        std::fs::write(records_folder(dir.path()).join("1"), "").unwrap();
        let error = call(dir.path(), &ControlRequest::Status, None).unwrap_err();
        assert!(
            error.to_string().contains("'rdmafs handler' starts it again"),
            "{error}"
        );
    }

    #[test]
    fn a_handler_that_ends_is_distinguished_from_one_that_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(socket_path(dir.path())).unwrap();
        let ends = std::thread::spawn(move || drop(listener.accept()));
        let error = call(dir.path(), &ControlRequest::Status, None).unwrap_err();
        ends.join().unwrap();
        assert!(matches!(error, ControlError::Closed(_)), "{error}");
    }
}
