//! Which files are to be committed, and when.

use crate::handler::lock_order::Mutex;
use event_listener::Event;
use rdmafs_meta::id::InodeId;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Commits of a pool at a time.
const AT_ONCE: usize = 16;

/// The files of a pool that are to be committed, and when. The lock is a leaf.
pub(in crate::handler) struct Later {
    pub(super) state: Mutex<DueQueue>,
    /// Something is due before what is slept for.
    pub(super) sooner: Event,
    pub(super) places: Arc<Semaphore>,
    /// The shortest `commit=` of the mounts in seconds; `u64::MAX`: there are none.
    after_s: AtomicU64,
}

#[derive(Default)]
pub(super) struct DueQueue {
    due: BTreeSet<(Duration, InodeId)>,
    /// The task is there.
    served: bool,
}

/// What the task does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Commit(InodeId),
    Sleep(Duration),
    End,
}

impl Default for Later {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            sooner: Event::new(),
            places: Arc::new(Semaphore::new(AT_ONCE)),
            after_s: AtomicU64::new(u64::MAX),
        }
    }
}

impl Later {
    /// After how long what is written is committed; `None` without mounts.
    pub(super) fn after(&self) -> Option<Duration> {
        let after = self.after_s.load(Ordering::Relaxed);
        (after != u64::MAX).then(|| Duration::from_secs(after))
    }

    /// It is so long from now on.
    pub(in crate::handler) fn set_after(&self, after: Option<Duration>) {
        self.after_s
            .store(after.map_or(u64::MAX, |after| after.as_secs()), Ordering::Relaxed);
    }
}

impl DueQueue {
    /// True when the task must be started.
    pub(super) fn push(&mut self, due: Duration, ino: InodeId) -> bool {
        self.due.insert((due, ino));
        !std::mem::replace(&mut self.served, true)
    }

    pub(super) fn next(&mut self, now: Duration) -> Next {
        match self.due.first().copied() {
            None => {
                self.served = false;
                Next::End
            }
            Some((due, _)) if due > now => Next::Sleep(due - now),
            Some((due, ino)) => {
                self.due.remove(&(due, ino));
                Next::Commit(ino)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn files_are_committed_in_the_order_of_their_times_and_nothing_runs_without_any() {
        let mut queue = DueQueue::default();
        assert!(queue.push(S(5), InodeId(1)), "the first starts the task");
        assert!(!queue.push(S(3), InodeId(2)));
        assert_eq!(queue.next(S(1)), Next::Sleep(S(2)));
        assert_eq!(queue.next(S(3)), Next::Commit(InodeId(2)));
        assert_eq!(queue.next(S(3)), Next::Sleep(S(2)));
        assert_eq!(queue.next(S(9)), Next::Commit(InodeId(1)));
        assert_eq!(queue.next(S(9)), Next::End);
        assert!(queue.push(S(10), InodeId(1)));
    }
}
