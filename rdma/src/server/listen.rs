//! Listening: sockets that accept.

use super::acceptor::Arrival;
use super::rejections::{Origin, Why};
use crate::shown::shown;
use crate::stream::Socket;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, getsockopt, listen, socket, sockopt,
};
use nix::unistd::geteuid;
use std::fs::{DirBuilder, Permissions};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Connections that the kernel keeps until they are accepted; it caps this at `net.core.somaxconn`.
const QUEUE: i32 = 1024;

/// How a connection came, or why it is refused without a word.
pub(super) type Judged = Result<Arrival, (Origin, Why)>;

/// A socket that accepts without blocking.
pub(super) enum Listener {
    Tcp(TcpListener),
    Local(UnixListener),
}

impl Listener {
    /// Listens on a TCP address; gives the one that it has, for port 0 says any.
    pub(super) fn tcp(address: SocketAddr) -> io::Result<(Self, SocketAddr)> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        // Again, with a longer queue than the standard library's: handlers must find a place in it beside a flood.
        listen(&listener, Backlog::new(QUEUE)?)?;
        let address = listener.local_addr()?;
        Ok((Self::Tcp(listener), address))
    }

    /// The next connection, and how it came or why it is refused. Does not block.
    pub(super) fn accept(&self) -> io::Result<(Socket, Judged)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, from) = listener.accept()?;
                let from = from.ip();
                Ok((Socket::new(stream), Ok(Arrival::Tcp { from })))
            }
            Self::Local(listener) => {
                let stream = listener.accept()?.0;
                let arrival = user(&stream);
                Ok((Socket::new(stream), arrival))
            }
        }
    }
}

/// Who connects over the Unix socket must be root or who runs the node.
fn user(stream: &UnixStream) -> Judged {
    let unknown = |error: nix::Error| (Origin::Local(0), Why::Setup(io::Error::from(error).into()));
    let peer = getsockopt(stream, sockopt::PeerCredentials).map_err(unknown)?;
    let pid = u32::try_from(peer.pid()).unwrap_or(0);
    if peer.uid() == 0 || peer.uid() == geteuid().as_raw() {
        Ok(Arrival::Local { pid })
    } else {
        Err((Origin::Local(pid), Why::User(peer.uid())))
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
            made.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", shown(&path))))?;
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
