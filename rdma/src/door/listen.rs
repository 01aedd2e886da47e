//! Listening: sockets that accept, and the thread of each.

use super::gate::{Arrival, Gate};
use super::roll::Roll;
use crate::stream::{Bell, Socket, ready, watch};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, getsockopt, listen, socket, sockopt,
};
use nix::unistd::geteuid;
use parking_lot::Mutex;
use std::fs::{DirBuilder, Permissions};
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long accepting pauses when it fails, for want of descriptors say.
const PAUSE: Duration = Duration::from_millis(100);

/// A socket that accepts without blocking.
pub(super) enum Listener {
    Tcp(TcpListener),
    Local(UnixListener),
}

impl Listener {
    /// Accepts until the door closes. Blocking.
    pub(super) fn run(&self, gate: &Arc<Gate>, roll: &Arc<Roll>, bell: &Bell) {
        let strangers = Arc::new(Mutex::new(0));
        while !roll.is_closing() {
            let mut watched = [watch(self, false), watch(bell, false)];
            if !ready(&mut watched, Duration::MAX).unwrap_or(false) {
                continue;
            }
            match self.accept() {
                Ok(fd) => self.greet(fd, gate, roll, &strangers),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    tracing::debug!("a connection was not accepted: {error}");
                    let _ = ready(&mut [watch(bell, false)], PAUSE);
                }
            }
        }
    }

    fn accept(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Tcp(listener) => Ok(listener.accept()?.0.into()),
            Self::Local(listener) => Ok(listener.accept()?.0.into()),
        }
    }

    fn greet(&self, fd: OwnedFd, gate: &Arc<Gate>, roll: &Arc<Roll>, strangers: &Arc<Mutex<usize>>) {
        let Some(arrival) = self.arrival(&fd) else {
            return;
        };
        let socket = Arc::new(Socket::new(fd));
        let Some(place) = roll.place(&socket, strangers) else {
            return;
        };
        let gate = Arc::clone(gate);
        let thread = std::thread::Builder::new()
            .name("rdmafs-peer".into())
            .spawn(move || gate.pass(socket, arrival, place));
        match thread {
            Ok(thread) => roll.keep(thread),
            Err(error) => tracing::warn!("no thread for a connection: {error}"),
        }
    }

    /// Who connects over the Unix socket must be root or who runs the node.
    fn arrival(&self, fd: &OwnedFd) -> Option<Arrival> {
        if matches!(self, Self::Tcp(_)) {
            return Some(Arrival::Tcp);
        }
        let peer = getsockopt(fd, sockopt::PeerCredentials).ok()?;
        let known = peer.uid() == 0 || peer.uid() == geteuid().as_raw();
        known.then(|| Arrival::Local {
            pid: u32::try_from(peer.pid()).unwrap_or(0),
        })
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Local(listener) => listener.as_fd(),
        }
    }
}

/// The Unix socket's file, removed when dropped unless another node has put its own in its place.
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    made: (u64, u64),
}

impl SocketFile {
    /// Listens at `path`, mode 0600, in place of a socket that nobody listens on any more.
    pub(super) fn listen(path: PathBuf) -> io::Result<(Self, Listener)> {
        let made = make_room(&path).and_then(|()| bind_private(&path));
        let (fd, made) =
            made.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
        Ok((Self { path, made }, Listener::Local(UnixListener::from(fd))))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if inode(&self.path).is_ok_and(|found| found == self.made) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The mode is set before anybody can connect.
fn bind_private(path: &Path) -> io::Result<(OwnedFd, (u64, u64))> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    bind(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
    listen(&fd, Backlog::new(128)?)?;
    Ok((fd, inode(path)?))
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    let found = std::fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

fn make_room(path: &Path) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    let in_use = |what| Err(io::Error::new(io::ErrorKind::AddrInUse, what));
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            return in_use("it is there and is no socket: remove it");
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(_) => in_use("another memory node uses this socket: choose another port with --listen"),
    }
}
