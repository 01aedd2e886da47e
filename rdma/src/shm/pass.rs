//! One descriptor over a Unix socket, with one byte to carry it.

use crate::stream::{Limits, SetupError, Socket};
use crate::sys;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, recvmsg, sendmsg};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

const STEP: &str = "arena";

/// Sends it. The socket's buffer is empty enough after a handshake, so this does not wait.
pub(crate) fn send_descriptor(socket: &Socket, descriptor: BorrowedFd<'_>) -> io::Result<()> {
    let carried = [descriptor.as_raw_fd()];
    let control = [ControlMessage::ScmRights(&carried)];
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    let fd = socket.as_fd().as_raw_fd();
    sendmsg::<()>(fd, &[IoSlice::new(&[0])], &control, flags, None)?;
    Ok(())
}

/// Receives it, within a step's time.
pub(super) fn receive_descriptor(socket: &Socket, limits: &Limits) -> Result<OwnedFd, SetupError> {
    let end = limits.step_end();
    let mut space = nix::cmsg_space!([std::os::fd::RawFd; 1]);
    loop {
        let mut byte = [0];
        let mut parts = [IoSliceMut::new(&mut byte)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
        let fd = socket.as_fd().as_raw_fd();
        match recvmsg::<()>(fd, &mut parts, Some(&mut space), flags) {
            // The kernel leaves a descriptor out for which this process has no place (unix(7)).
            Ok(message) if message.flags.contains(MsgFlags::MSG_CTRUNC) => {
                return Err(SetupError::Io(Errno::EMFILE.into()));
            }
            Ok(message) => {
                let carried = message.cmsgs().map_err(io::Error::from)?;
                let all: Vec<OwnedFd> = carried.flat_map(sys::carried).collect();
                return all.into_iter().next().ok_or(SetupError::Ended(STEP));
            }
            Err(Errno::EAGAIN | Errno::EINTR) => limits.wait(socket, false, end, STEP)?,
            Err(error) => return Err(SetupError::Io(error.into())),
        }
    }
}
