//! Sleeping until something happens: poll(2) and a waker that another thread can wake it by.

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// Wakes a thread that watches it; a wake that nobody waits for is remembered.
#[derive(Debug)]
pub(crate) struct Waker {
    event: EventFd,
}

impl Waker {
    pub(crate) fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Self {
            event: EventFd::from_flags(flags)?,
        })
    }

    /// Never blocks: it fails only when 2^64 - 2 wakes were not cleared, and then it is awake already.
    pub(crate) fn wake(&self) {
        let _ = self.event.write(1);
    }

    /// Forgets all wakes so far.
    pub(crate) fn clear(&self) {
        let _ = self.event.read();
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

/// Something to wait for: that `fd` is readable or ended, and writable if asked.
pub(crate) fn watch(fd: &impl AsFd, writable: bool) -> PollFd<'_> {
    let mut flags = PollFlags::POLLIN;
    flags.set(PollFlags::POLLOUT, writable);
    PollFd::new(fd.as_fd(), flags)
}

/// Sleeps until one of the descriptors is ready, at most for `timeout` rounded up to a millisecond, capped at a
/// minute; true when one is. Being interrupted counts as a time-out.
pub(crate) fn ready(watched: &mut [PollFd<'_>], timeout: Duration) -> io::Result<bool> {
    let millis = timeout.as_nanos().div_ceil(1_000_000).min(60_000);
    let timeout = PollTimeout::try_from(i32::try_from(millis).unwrap_or(60_000)).unwrap_or(PollTimeout::ZERO);
    match poll(watched, timeout) {
        Ok(count) => Ok(count > 0),
        Err(Errno::EINTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_is_remembered_until_it_is_cleared() {
        let waker = Waker::new().unwrap();
        let is_awake = || ready(&mut [watch(&waker, false)], Duration::ZERO).unwrap();
        assert!(!is_awake());
        waker.wake();
        waker.wake();
        assert!(is_awake() && is_awake());
        waker.clear();
        assert!(!is_awake());
    }
}
