//! Processes that wait for each other's fcntl locks.
//!
//! As on Linux this is for the locks of processes only: the owner of any other one says nothing about who will give it back.

use super::file::{File, Holder};
use super::table::Locks;
use crate::id::{InodeId, SessionId};
use crate::lock::{Lock, LockKind};
use std::collections::BTreeSet;

/// Processes that are followed at most: it bounds the time of a call, and a longer chain is left alone.
const FOLLOWED: usize = 256;

/// A process, of all sessions.
type Process = (SessionId, u64);

impl Locks {
    /// Whether one of those whose locks the holder would wait for waits for the holder's process, at first or at second hand.
    pub(super) fn is_deadlock(&self, ino: InodeId, holder: Holder, wanted: &Lock) -> bool {
        let asking = (holder.0, wanted.process);
        if wanted.kind != LockKind::Posix || wanted.process == 0 {
            return false;
        }
        let Some(file) = self.file(ino) else { return false };
        let mut known = BTreeSet::new();
        let mut ahead: Vec<Process> = owners_in_the_way(file, holder, wanted);
        while let Some(process) = ahead.pop() {
            if process == asking {
                return true;
            }
            if known.len() >= FOLLOWED || !known.insert(process) {
                continue;
            }
            for (ino, ticket) in self.waits_of(process) {
                let Some(file) = self.file(ino) else { continue };
                let mut queue = file.queue.iter();
                if let Some(waiter) =
                    queue.find(|waiter| (waiter.session, waiter.ticket) == (process.0, ticket))
                {
                    ahead.extend(owners_in_the_way(file, waiter.holder(), &waiter.lock));
                }
            }
        }
        false
    }
}

fn owners_in_the_way(file: &File, holder: Holder, wanted: &Lock) -> Vec<Process> {
    let in_the_way = file.in_the_way(holder, wanted);
    let of_processes = in_the_way.filter(|(_, held)| held.kind == LockKind::Posix && held.process != 0);
    let processes: BTreeSet<Process> = of_processes
        .map(|((session, _), held)| (session, held.process))
        .collect();
    processes.into_iter().collect()
}
