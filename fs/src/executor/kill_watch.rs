//! Finds parked operations whose caller is being killed, or, where an operation may last for ever, has any signal to see to.
//!
//! The kernel tells a FUSE server of a pending signal by INTERRUPT, which fuser answers ENOSYS; then the caller waits for
//! its answer through SIGKILL. So this looks itself: a pending SIGKILL (the kernel turns a fatal SIGTERM, or the exit of the
//! thread group, into one), or a task that is already exiting and waits in the FLUSH of its files.
//!
//! Any other signal ends the wait for a lock. One that is pending for a whole process of several threads may be about to be taken by
//! another one of them, and the kernel must be told EINTR only where the caller itself has a signal: it counts when it is still
//! there at the next look.

use super::signals::Signals;
use crate::process::of_task;
use crate::sync::{Condvar, Mutex};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Between two looks at the signals of callers. A program that is killed may wait in two requests, one after the other: in the one that it made, and in
/// the FLUSH of a file that it leaves open.
const PERIOD: Duration = Duration::from_millis(100);
/// Looks that may find nothing before it sleeps until it is woken: a wake-up for each operation that parks alone would cost as
/// much as the operation.
const QUIET: u32 = 20;
/// `PF_EXITING` in field 9 of `/proc/TID/stat` (include/linux/sched.h).
const PF_EXITING: u64 = 0x4;

/// A parked operation that can be given up.
pub(super) trait Killable: Send + Sync {
    /// Drops it and answers EINTR, unless it is being run right now.
    fn interrupt(self: Arc<Self>);
}

/// Parked operations and whom they work for.
#[derive(Default)]
pub(super) struct KillWatch {
    parked: Mutex<Parked>,
    changed: Condvar,
}

#[derive(Default)]
struct Parked {
    /// By the operation's address.
    operations: HashMap<usize, Entry>,
    /// Rises with every look: an operation is looked at only from its second one on, so short waits cost nothing.
    round: u64,
    /// It sleeps without an end, and must be woken.
    asleep: bool,
    closed: bool,
}

struct Entry {
    caller: WatchedTask,
    since: u64,
    operation: Arc<dyn Killable>,
    /// Signals of the whole process that the last look found.
    observed: u64,
}

/// Whom an operation works for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WatchedTask {
    /// The calling task; 0 where nobody waits.
    pub(super) tid: u32,
    /// Any signal ends the operation, not only its death.
    pub(super) any_signal: bool,
}

impl KillWatch {
    /// Watches an operation until [`KillWatch::remove`].
    pub(super) fn add(&self, caller: WatchedTask, operation: Arc<dyn Killable>) {
        let mut parked = self.parked.lock();
        let since = parked.round;
        let wake = std::mem::take(&mut parked.asleep);
        let key = Arc::as_ptr(&operation).addr();
        parked.operations.insert(
            key,
            Entry {
                caller,
                since,
                operation,
                observed: 0,
            },
        );
        drop(parked);
        if wake {
            self.changed.notify_one();
        }
    }

    /// The operation at this address is done.
    pub(super) fn remove(&self, address: usize) {
        let gone = self.parked.lock().operations.remove(&address);
        drop(gone);
    }

    /// The watching thread's life.
    pub(super) fn serve(&self) {
        super::queue::become_runner();
        let mut parked = self.parked.lock();
        let mut quiet = QUIET;
        while !parked.closed {
            if parked.operations.is_empty() && quiet >= QUIET {
                parked.asleep = true;
                self.changed.wait(&mut parked);
                // Woken by `add`, by `close`, or by nothing at all.
                quiet = if parked.asleep { QUIET } else { 0 };
                parked.asleep = false;
                continue;
            }
            self.changed.wait_for(&mut parked, PERIOD);
            quiet = if parked.operations.is_empty() {
                quiet + 1
            } else {
                0
            };
            parked.round += 1;
            let round = parked.round;
            let old = parked.operations.values().filter(|entry| entry.since + 1 < round);
            let old: Vec<_> = old
                .map(|entry| (entry.caller, entry.observed, entry.operation.clone()))
                .collect();
            drop(parked);
            let mut observed_now = Vec::new();
            for (caller, observed, operation) in old {
                let key = Arc::as_ptr(&operation).addr();
                match look(caller, observed) {
                    Look::Interrupt => operation.interrupt(),
                    Look::Observation(now) if now != observed => observed_now.push((key, now)),
                    Look::Observation(_) => {}
                }
            }
            super::queue::drain();
            parked = self.parked.lock();
            for (key, observed) in observed_now {
                if let Some(entry) = parked.operations.get_mut(&key) {
                    entry.observed = observed;
                }
            }
        }
    }

    /// Ends [`KillWatch::serve`] and forgets all operations.
    pub(super) fn close(&self) {
        let mut parked = self.parked.lock();
        parked.closed = true;
        let left = std::mem::take(&mut parked.operations);
        drop(parked);
        drop(left);
        self.changed.notify_all();
    }
}

/// What a look at a caller says.
enum Look {
    /// It is to be answered now.
    Interrupt,
    /// Its process has these signals, which another thread may take.
    Observation(u64),
}

/// A task that cannot be seen has no signals: it may live in a pid namespace that this process does not see.
fn look(caller: WatchedTask, observed: u64) -> Look {
    let status = of_task(caller.tid, "status").unwrap_or_default();
    let signals = Signals::parse(&status);
    let dying = signals.has_kill() || (!caller.any_signal && exits(caller.tid));
    if dying || (caller.any_signal && signals.interrupts(observed)) {
        return Look::Interrupt;
    }
    Look::Observation(signals.of_process())
}

fn exits(tid: u32) -> bool {
    is_exiting(&of_task(tid, "stat").unwrap_or_default())
}

pub(crate) fn is_exiting(stat: &str) -> bool {
    // The command name (field 2) may hold anything, so count from its closing parenthesis: field 3 follows.
    let Some((_, fields)) = stat.rsplit_once(')') else {
        return false;
    };
    let flags = fields.split_whitespace().nth(6);
    flags
        .and_then(|flags| flags.parse().ok())
        .is_some_and(|flags: u64| flags & PF_EXITING != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exiting_is_field_nine_behind_any_command_name() {
        assert!(is_exiting("7 (a) b) c) D 1 7 7 0 -1 4194308 0"));
        assert!(!is_exiting("7 (cat 4 4 4 4 4 4 4) D 1 7 7 0 -1 4194304 0"));
        assert!(!is_exiting("") && !is_exiting("7 (x) D 1"));
    }
}
