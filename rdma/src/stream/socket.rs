//! A connected stream socket, of either family.
//!
//! Whether a call blocks is chosen call by call (`MSG_DONTWAIT`), so that one type serves the endpoints, which never
//! block, and the node's data threads, which do.

use crate::handshake::Ends;
use crate::sys;
use nix::errno::Errno;
use nix::sys::socket::{self, MsgFlags, Shutdown, SockaddrStorage, setsockopt, sockopt};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// What a receive call that does not block found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// So many bytes, above 0.
    Bytes(usize),
    /// No bytes have come.
    Nothing,
    /// The peer has ended its side.
    End,
}

/// A connected stream socket; closed when dropped.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
}

impl Socket {
    pub(crate) fn new(fd: impl Into<OwnedFd>) -> Self {
        Self { fd: fd.into() }
    }

    /// Sets a TCP socket up for small requests and silent deaths. Buffers stay with the kernel: its tuning goes beyond
    /// the size that may be asked for here.
    pub(crate) fn tune_tcp(&self) -> io::Result<()> {
        setsockopt(&self.fd, sockopt::TcpNoDelay, &true)?;
        setsockopt(&self.fd, sockopt::KeepAlive, &true)?;
        setsockopt(&self.fd, sockopt::TcpKeepIdle, &10)?;
        setsockopt(&self.fd, sockopt::TcpKeepInterval, &5)?;
        setsockopt(&self.fd, sockopt::TcpKeepCount, &4)?;
        setsockopt(&self.fd, sockopt::TcpUserTimeout, &30_000)?;
        Ok(())
    }

    /// What this end sees of the connection; `None` where it is no TCP connection, or the kernel does not say.
    pub(crate) fn ends(&self) -> Option<Ends> {
        let own: SockaddrStorage = socket::getsockname(self.fd.as_raw_fd()).ok()?;
        let other: SockaddrStorage = socket::getpeername(self.fd.as_raw_fd()).ok()?;
        let namespace = sys::network_namespace(self.fd.as_fd()).ok()?;
        Some(Ends {
            boot: sys::boot_id().ok()?,
            namespace: (namespace != 0).then_some(namespace)?,
            own: address(&own)?,
            other: address(&other)?,
        })
    }

    /// Receives into the parts in turn. Never blocks. The parts have room for a byte at least.
    pub(crate) fn try_receive(&self, parts: &mut [IoSliceMut<'_>]) -> io::Result<Received> {
        let flags = MsgFlags::MSG_DONTWAIT;
        loop {
            return match socket::recvmsg::<()>(self.fd.as_raw_fd(), parts, None, flags) {
                Ok(message) if message.bytes == 0 => Ok(Received::End),
                Ok(message) => Ok(Received::Bytes(message.bytes)),
                Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN) => Ok(Received::Nothing),
                Err(error) => Err(error.into()),
            };
        }
    }

    /// Sends what the kernel takes of the parts, in turn, possibly nothing. Never blocks.
    pub(crate) fn try_send(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.send(parts, MsgFlags::MSG_DONTWAIT)
    }

    /// Receives at least a byte, or gives 0 at the end. Blocks.
    pub(crate) fn receive(&self, to: &mut [u8]) -> io::Result<usize> {
        loop {
            match socket::recv(self.fd.as_raw_fd(), to, MsgFlags::empty()) {
                Err(Errno::EINTR) => {}
                done => return Ok(done?),
            }
        }
    }

    /// Sends everything. Blocks.
    pub(crate) fn send_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let sent = self.send(&[IoSlice::new(bytes)], MsgFlags::empty())?;
            bytes = &bytes[sent..];
        }
        Ok(())
    }

    /// Ends both directions: the peer sees the end, and a blocked thread of ours returns. Idempotent.
    pub(crate) fn end(&self) {
        let _ = socket::shutdown(self.fd.as_raw_fd(), Shutdown::Both);
    }

    /// Ends our direction: the peer sees the end after all that was sent. Idempotent.
    pub(crate) fn end_sending(&self) {
        let _ = socket::shutdown(self.fd.as_raw_fd(), Shutdown::Write);
    }

    fn send(&self, parts: &[IoSlice<'_>], flags: MsgFlags) -> io::Result<usize> {
        let flags = flags | MsgFlags::MSG_NOSIGNAL;
        loop {
            match socket::sendmsg::<()>(self.fd.as_raw_fd(), parts, &[], flags, None) {
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) if flags.contains(MsgFlags::MSG_DONTWAIT) => return Ok(0),
                done => return Ok(done?),
            }
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn address(of: &SockaddrStorage) -> Option<SocketAddr> {
    let four = of.as_sockaddr_in().map(|four| SocketAddr::V4((*four).into()));
    four.or_else(|| of.as_sockaddr_in6().map(|six| SocketAddr::V6((*six).into())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    fn pair() -> (Socket, Socket) {
        let (a, b) = UnixStream::pair().unwrap();
        (Socket::new(a), Socket::new(b))
    }

    #[test]
    fn nothing_bytes_and_the_end_are_distinguished() {
        let (a, b) = pair();
        let mut to = [0; 8];
        let mut receive = || b.try_receive(&mut [IoSliceMut::new(&mut to)]).unwrap();
        assert_eq!(receive(), Received::Nothing);
        a.send_all(b"five!").unwrap();
        assert_eq!(receive(), Received::Bytes(5));
        a.end_sending();
        assert_eq!(receive(), Received::End);
        b.send_all(b"still").unwrap();
        assert_eq!(a.receive(&mut [0; 8]).unwrap(), 5);
    }

    #[test]
    fn a_full_socket_takes_nothing_and_blocks_nobody() {
        let (a, b) = pair();
        let bytes = vec![0; 1 << 20];
        let mut sent = 0;
        loop {
            match a.try_send(&[IoSlice::new(&bytes)]).unwrap() {
                0 => break,
                more => sent += more,
            }
        }
        assert!(sent > 0);
        b.end();
        drop(b);
        assert!(a.try_send(&[IoSlice::new(&bytes)]).is_err());
    }
}
