//! ioctl(2) on a file of a mount, as a program calls it: the one `unsafe` of this crate.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// Hands `bytes` over with the command, and takes what the handler answers into them. Blocking.
///
/// # Panics
/// If the command's number is not one for so many bytes.
#[allow(unsafe_code, reason = "ioctl(2) has no safe form")]
pub(crate) fn ask(file: &File, command: u32, bytes: &mut [u8]) -> io::Result<()> {
    let size = (command >> 16) & 0x3fff;
    assert_eq!(size as usize, bytes.len(), "the size in the command");
    // SAFETY: the descriptor is open for as long as `file` is borrowed. The command's number carries the size of `bytes`; a file
    // system that knows it (fuse, by that size) reads and writes at most so many bytes, which are exclusively borrowed and plain; any
    // other answers ENOTTY.
    let answer = unsafe { libc::ioctl(file.as_raw_fd(), command.into(), bytes.as_mut_ptr()) };
    nix::errno::Errno::result(answer)?;
    Ok(())
}
