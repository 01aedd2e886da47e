//! Commits, after a while, what programs wrote to files that they keep open.
//!
//! Nothing else would: close, fsync and recalls may never come, and FUSE is not told of sync(2). Until then other hosts do not see the
//! bytes, and they end with the handler. One sleeping task for each pool that has something to commit, none for a pool that has not;
//! so many commits at a time that a thousand files do not hold up others, nor pile up while the node does not answer.

use super::commit::By;
use super::inode::Inode;
use super::pool::{Pool, State};
use crate::errno::Error;
use event_listener::Event;
use parking_lot::Mutex;
use rdmafs_meta::id::InodeId;
use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Commits of a pool at a time.
const AT_ONCE: usize = 16;

/// The files of a pool that are to be committed, and when. The lock is a leaf.
pub(super) struct Later {
    state: Mutex<Queue>,
    /// Something is due before what is slept for.
    sooner: Event,
    places: Arc<Semaphore>,
}

#[derive(Default)]
struct Queue {
    due: BTreeSet<(Duration, InodeId)>,
    /// The task is there.
    served: bool,
}

/// What the task does next.
#[derive(Debug, PartialEq, Eq)]
enum Next {
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
        }
    }
}

impl Queue {
    /// True when the task must be started.
    fn push(&mut self, due: Duration, ino: InodeId) -> bool {
        self.due.insert((due, ino));
        !std::mem::replace(&mut self.served, true)
    }

    fn next(&mut self, now: Duration) -> Next {
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

impl Pool {
    /// The inode has something to commit, some of it new.
    pub(super) fn commit_later(self: &Arc<Self>, inode: &Inode) {
        if !inode.is_first_to_commit() {
            return;
        }
        let after = self.mounts().iter().map(|mount| mount.commit_after()).min();
        // Without a mount nobody writes.
        let Some(after) = after else { return };
        let start = self.later.state.lock().push(self.clock.now() + after, inode.ino);
        if start {
            self.executor.run(0, serve(Arc::downgrade(self)), |_| ());
        } else {
            self.later.sooner.notify(usize::MAX);
        }
    }

    /// Commits a file whose time has come; what is written meanwhile, or could not be committed, has a time of its own.
    async fn commit_now(self: Arc<Self>, ino: InodeId, place: OwnedSemaphorePermit) -> Result<(), Error> {
        let Some(inode) = self.find(ino) else {
            return Ok(());
        };
        inode.begins_to_commit();
        let by = By {
            mount: 0,
            timeout: self.timeout,
        };
        let committed = self.commit(&inode, by, false).await;
        drop(place);
        // What the service refuses it refuses again: the next fsync or close says so.
        if !matches!(committed, Err(Error::Meta(_))) && inode.uncommitted().is_some() {
            self.commit_later(&inode);
        }
        committed
    }
}

async fn serve(pool: Weak<Pool>) -> Result<(), Error> {
    while let Some(pool) = pool.upgrade() {
        let sooner = pool.later.sooner.listen();
        let next = pool.later.state.lock().next(pool.clock.now());
        if matches!(*pool.state.read(), State::Closed) {
            return Ok(());
        }
        match next {
            Next::End => return Ok(()),
            Next::Sleep(time) => {
                let executor = pool.executor.clone();
                drop(pool);
                executor.within(time, sooner).await;
            }
            Next::Commit(ino) => {
                let place = pool.later.places.clone().acquire_owned().await;
                let place = place.map_err(|_| Error::Internal("nobody closes it"))?;
                let executor = pool.executor.clone();
                executor.run(0, pool.commit_now(ino, place), |committed| {
                    if let Err(error) = committed {
                        tracing::debug!("what was written is not committed yet: {error}");
                    }
                });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn files_are_committed_in_the_order_of_their_times_and_nothing_runs_without_any() {
        let mut queue = Queue::default();
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
