//! Descriptors that travel with bytes over a Unix socket (SCM_RIGHTS).

use nix::cmsg_space;
use nix::sys::socket::{ControlMessage, MsgFlags, recvmsg, sendmsg};
use rdmafs_rdma::sys;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

/// Sends all bytes; the descriptor goes with the first of them.
pub(crate) fn send(
    mut socket: &UnixStream,
    bytes: &[u8],
    descriptor: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let Some(descriptor) = descriptor else {
        return socket.write_all(bytes);
    };
    let sent = sendmsg::<()>(
        socket.as_raw_fd(),
        &[IoSlice::new(bytes)],
        &[ControlMessage::ScmRights(&[descriptor.as_raw_fd()])],
        MsgFlags::MSG_NOSIGNAL,
        None,
    )?;
    socket.write_all(&bytes[sent..])
}

/// Reads from a socket and keeps every descriptor that comes along; they are close-on-exec, and closed when this is dropped.
pub(crate) struct Receiver<'a> {
    socket: &'a UnixStream,
    pub(crate) descriptors: Vec<OwnedFd>,
    /// Some that were sent did not arrive: this process has no room for them.
    pub(crate) cut: bool,
}

impl<'a> Receiver<'a> {
    pub(crate) fn new(socket: &'a UnixStream) -> Self {
        Self {
            socket,
            descriptors: Vec::new(),
            cut: false,
        }
    }
}

impl Read for Receiver<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Room for one, two with padding: the kernel closes what does not fit.
        let mut space = cmsg_space!(RawFd);
        let mut parts = [IoSliceMut::new(buffer)];
        let message = recvmsg::<()>(
            self.socket.as_raw_fd(),
            &mut parts,
            Some(&mut space),
            MsgFlags::MSG_CMSG_CLOEXEC,
        )?;
        self.cut |= message.flags.contains(MsgFlags::MSG_CTRUNC);
        // An unreadable control part means that it was cut: what it held is closed by the kernel.
        let controls = message.cmsgs().into_iter().flatten();
        self.descriptors.extend(controls.flat_map(sys::carried));
        Ok(message.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_descriptor_arrives_with_its_bytes_and_is_closed_with_the_receiver() {
        let (near, far) = UnixStream::pair().unwrap();
        let (mut pipe_end, passed) = io::pipe().unwrap();
        send(&near, b"here", Some(passed.as_fd())).unwrap();
        drop(passed);
        let mut receiver = Receiver::new(&far);
        let mut buffer = [0; 8];
        assert_eq!(receiver.read(&mut buffer).unwrap(), 4);
        assert_eq!(receiver.descriptors.len(), 1);
        drop(receiver);
        // The last writer of the pipe is gone.
        assert_eq!(pipe_end.read(&mut buffer).unwrap(), 0);
    }

    #[test]
    fn without_a_descriptor_there_is_none() {
        let (near, far) = UnixStream::pair().unwrap();
        send(&near, b"plain", None).unwrap();
        let mut receiver = Receiver::new(&far);
        let mut buffer = [0; 8];
        assert_eq!(receiver.read(&mut buffer).unwrap(), 5);
        assert!(receiver.descriptors.is_empty());
    }
}
