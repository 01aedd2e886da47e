//! Processes that wait for each other's fcntl locks.
//!
//! As on Linux this is for the locks of processes only: the owner of any other one says nothing about who will give it back.

use super::balanced::Steps;
use super::index::{Arrival, Holder, Obstacle};
use super::table::Locks;
use crate::id::{InodeId, SessionId};
use crate::lock::{Lock, LockKind};
use std::collections::BTreeSet;

/// Locks and waits that are looked at at most, on the way from process to process: it bounds the time of a call, and what is behind them is left alone.
const FOLLOWED: usize = 256;

/// A process, of all sessions.
type Process = (SessionId, u64);

/// Processes that are waited for, and those that were followed.
#[derive(Debug, Default)]
struct Chase {
    ahead: Vec<Process>,
    known: BTreeSet<Process>,
    followed: usize,
    steps: Steps,
}

impl Locks {
    /// Whether one of those whose locks the holder would wait for waits for the holder's process, at first or at second hand.
    pub(super) fn is_deadlock(&mut self, ino: InodeId, holder: Holder, wanted: &Lock) -> bool {
        let asking = (holder.0, wanted.process);
        if wanted.kind != LockKind::Posix || wanted.process == 0 {
            return false;
        }
        let mut chase = Chase::default();
        self.follow(ino, (holder, wanted), &mut chase);
        let mut found = false;
        while let Some(process) = chase.ahead.pop() {
            found = process == asking;
            if found {
                break;
            }
            if !chase.known.insert(process) {
                continue;
            }
            for (ino, arrival) in self
                .waits_of(process)
                .take(FOLLOWED.saturating_sub(chase.followed))
            {
                chase.followed += 1;
                self.follow_wait(ino, arrival, &mut chase);
            }
        }
        self.steps.0 += chase.steps.0 + chase.followed;
        found
    }

    fn follow_wait(&self, ino: InodeId, arrival: Arrival, chase: &mut Chase) {
        let waiter = self.files.get(&ino).and_then(|file| file.queue.get(arrival));
        if let Some(waiter) = waiter {
            self.follow(ino, (waiter.holder(), &waiter.lock), chase);
        }
    }

    /// Notes the processes whose locks are in the way.
    fn follow(&self, ino: InodeId, (holder, lock): (Holder, &Lock), chase: &mut Chase) {
        let Some(file) = self.files.get(&ino) else { return };
        let obstacle = Obstacle {
            holder,
            lock: *lock,
            before: Arrival::MAX,
        };
        let mut found = None;
        while chase.followed < FOLLOWED {
            found = file.held.next(found, &obstacle, &mut chase.steps);
            let Some(found) = found else { return };
            chase.followed += 1;
            let owned = file.owners.get(&found.place.holder);
            let held = owned.and_then(|owned| owned.get(found.slot, found.place.start));
            let Some(held) = held.map(|held| held.lock) else {
                continue;
            };
            let process = (found.place.holder.0, held.process);
            if held.kind == LockKind::Posix && held.process != 0 && !chase.known.contains(&process) {
                chase.ahead.push(process);
            }
        }
    }
}
