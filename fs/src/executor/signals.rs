//! The signals of a task, as `/proc/TID/status` shows them.

/// Bits of signals in the masks: signal n is bit n - 1.
const SIGKILL: u64 = 1 << 8;
/// SIGCHLD, SIGCONT, SIGURG, SIGWINCH: nothing happens unless there is a handler.
const IGNORED_BY_DEFAULT: u64 = 1 << 16 | 1 << 17 | 1 << 22 | 1 << 27;

/// What is pending, and what becomes of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Signals {
    thread: u64,
    process: u64,
    blocked: u64,
    ignored: u64,
    caught: u64,
    threads: u64,
}

impl Signals {
    /// Reads the masks; what is not there, or no number, is 0.
    pub(crate) fn parse(status: &str) -> Self {
        let mut signals = Self::default();
        for line in status.lines() {
            let Some((name, value)) = line.split_once(':') else {
                continue;
            };
            let value = value.trim();
            let mask = u64::from_str_radix(value, 16).unwrap_or(0);
            match name {
                "SigPnd" => signals.thread = mask,
                "ShdPnd" => signals.process = mask,
                "SigBlk" => signals.blocked = mask,
                "SigIgn" => signals.ignored = mask,
                "SigCgt" => signals.caught = mask,
                "Threads" => signals.threads = value.parse().unwrap_or(0),
                _ => {}
            }
        }
        signals
    }

    /// Whether a signal that kills the task is pending.
    pub(crate) fn has_kill(self) -> bool {
        (self.thread | self.process) & SIGKILL != 0
    }

    /// The task has a signal to see to: one of its own, or one of its process that no other thread is going to take (`observed` at the
    /// last look).
    pub(crate) fn interrupts(self, observed: u64) -> bool {
        let of_process = self.of_process();
        let nobody_else = self.threads == 1 || of_process & observed != 0;
        self.felt(self.thread) != 0 || (of_process != 0 && nobody_else)
    }

    /// Signals for any thread of the process that this one would take.
    pub(crate) fn of_process(self) -> u64 {
        self.felt(self.process)
    }

    fn felt(self, pending: u64) -> u64 {
        pending & !self.blocked & !self.ignored & (self.caught | !IGNORED_BY_DEFAULT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(thread: u64, process: u64, [blocked, ignored, caught]: [u64; 3], threads: u64) -> Signals {
        Signals::parse(&format!(
            "Name:\tx\nThreads:\t{threads}\nSigPnd:\t{thread:016x}\nShdPnd:\t{process:016x}\n\
             SigBlk:\t{blocked:016x}\nSigIgn:\t{ignored:016x}\nSigCgt:\t{caught:016x}\n"
        ))
    }

    #[test]
    fn a_pending_kill_is_found_in_both_masks_and_nothing_else_is() {
        assert!(status(0x100, 0, [0; 3], 1).has_kill());
        assert!(status(0, 0x101, [0; 3], 1).has_kill());
        assert!(!status(0x4001, 0x200, [0; 3], 1).has_kill());
        assert!(!Signals::parse("").has_kill() && !Signals::parse("SigPnd:\tgarbage").has_kill());
    }

    #[test]
    fn what_is_blocked_or_ignored_does_not_interrupt() {
        let alarm = 1 << 13;
        assert!(status(0, alarm, [0, 0, alarm], 1).interrupts(0));
        assert!(status(0, alarm, [0; 3], 1).interrupts(0), "fatal");
        assert!(!status(0, alarm, [alarm, 0, alarm], 1).interrupts(0));
        assert!(!status(0, alarm, [0, alarm, 0], 1).interrupts(0));
        let child = 1 << 16;
        assert!(!status(child, 0, [0; 3], 1).interrupts(0));
        assert!(status(child, 0, [0, 0, child], 1).interrupts(0));
    }

    #[test]
    fn a_signal_that_another_thread_may_take_counts_when_it_stays() {
        let alarm = 1 << 13;
        let signals = status(0, alarm, [0, 0, alarm], 2);
        assert!(!signals.interrupts(0));
        assert!(signals.interrupts(signals.of_process()));
        assert!(status(alarm, 0, [0, 0, alarm], 2).interrupts(0), "its own");
    }
}
