//! Signals that end a daemon, taken by a thread that waits for them: no code runs in a signal handler.

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// The signals that end a daemon (SIGTERM, SIGINT, SIGHUP), blocked in this thread and in those it starts from now on.
///
/// Block them before the first thread starts: one that does not block them would die of them, and the process with it.
#[derive(Debug)]
pub struct Signals {
    set: SigSet,
}

impl Signals {
    /// Blocks the signals in the calling thread.
    ///
    /// # Errors
    /// `pthread_sigmask(3)` failed.
    pub fn block() -> std::io::Result<Self> {
        let mut set = SigSet::empty();
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            set.add(signal);
        }
        set.thread_block()?;
        Ok(Self { set })
    }

    /// Waits for one of them and says its name. Afterwards they are no longer blocked in this thread: a second
    /// one ends the process at once, should the orderly end take too long. Blocking.
    ///
    /// # Errors
    /// `sigwait(3)` failed.
    pub fn wait(self) -> std::io::Result<&'static str> {
        let signal = self.first()?;
        self.unblock()?;
        Ok(signal)
    }

    /// Waits for one of them and says its name; they stay blocked. Blocking.
    ///
    /// # Errors
    /// `sigwait(3)` failed.
    pub fn first(&self) -> std::io::Result<&'static str> {
        Ok(self.set.wait()?.as_str())
    }

    /// True when one of them has come since, which is taken. Never blocks.
    #[must_use]
    pub fn another(&self) -> bool {
        let pending = SignalFd::with_flags(&self.set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC);
        pending.is_ok_and(|pending| matches!(pending.read_signal(), Ok(Some(_))))
    }

    /// From now on one of them ends the process at once.
    ///
    /// # Errors
    /// `pthread_sigmask(3)` failed.
    pub fn unblock(self) -> std::io::Result<()> {
        Ok(self.set.thread_unblock()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::raise;

    #[test]
    fn a_blocked_signal_is_waited_for_and_does_not_kill() {
        let name = std::thread::spawn(|| {
            let signals = Signals::block().unwrap();
            // raise(3) signals this thread alone: the others of the test process do not block it.
            raise(Signal::SIGTERM).unwrap();
            assert_eq!(signals.first().unwrap(), "SIGTERM");
            assert!(!signals.another());
            raise(Signal::SIGINT).unwrap();
            assert!(signals.another() && !signals.another());
            raise(Signal::SIGHUP).unwrap();
            signals.wait().unwrap()
        })
        .join()
        .unwrap();
        assert_eq!(name, "SIGHUP");
    }
}
