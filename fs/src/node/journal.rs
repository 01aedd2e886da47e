//! The way of batches to the store: a queue and one thread that commits what has gathered, all at once.
//!
//! Answers do not wait for it unless they are fsyncs: those are given to the queue behind their batch, and the thread sends
//! them when everything before them is durable. A crash can therefore lose only what no fsync answered for.
//!
//! A commit that fails has parted the store from the namespace in memory for good. The journal takes no batch from then on
//! and answers every waiter with the failure; the service reads on and refuses changes.
//!
//! A commit that finds no room is another matter: what was to be committed waits, in order, and is tried with what comes later, at once with the
//! room that the store kept for that ([`Store::make_room`]) and then each second. Meanwhile the service refuses what would grow, fsyncs are
//! answered that there is no room, and nothing that was answered is lost unless the node ends before there is room again. Where more than
//! [`QUEUE_BYTES`] wait so, the service refuses every change: nobody makes a node keep more by changes that cannot be stored.

use parking_lot::{Condvar, Mutex};
use rdmafs_meta::id::Term;
use rdmafs_meta::store::{Batch, Store, StoreError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

/// Bytes of queued batches above which [`Journal::wait_for_room`] waits, and of those without room above which nothing more is changed.
const QUEUE_BYTES: usize = 16 << 20;

/// How often a store without room is tried.
const RETRY: Duration = Duration::from_secs(1);

/// Why a batch is not durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotStored {
    /// Nor can any later one be.
    Failed,
    /// There is no room: it will be when there is some.
    Full,
}

/// What waits for the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// It hears of [`NotStored::Full`].
    Short,
    /// It waits until there is room.
    Long,
}

/// Called when everything queued before is durable, or is not. Must not block, nor use the journal.
pub(super) type Then = Box<dyn FnOnce(Result<(), NotStored>) + Send>;

/// A store behind a queue.
pub(super) struct Journal {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Commits what the queue holds.
pub(super) struct Worker<S> {
    shared: Arc<Shared>,
    store: S,
    term: Term,
    /// What found no room, and who waits for it.
    pending: Group,
    /// The store must make room before it can be used.
    spent: bool,
}

struct Shared {
    queue: Mutex<JournalQueue>,
    changed: Condvar,
    /// The store has no room. Its worker alone changes that.
    full: AtomicBool,
    /// More waits for room than may.
    stuck: AtomicBool,
}

#[derive(Default)]
struct JournalQueue {
    waiting: Group,
    failed: bool,
    stopping: bool,
}

/// What is committed at once.
#[derive(Default)]
struct Group {
    batches: Vec<Batch>,
    bytes: usize,
    then: Vec<(Then, Patience)>,
}

impl Journal {
    /// Starts the thread. The store's term must be `term`.
    ///
    /// # Errors
    /// No thread can be started.
    pub(super) fn start(store: impl Store + 'static, term: Term) -> std::io::Result<Self> {
        let (journal, worker) = Self::with_worker(store, term);
        let thread = std::thread::Builder::new()
            .name("store".into())
            .spawn(move || worker.run())?;
        *journal.thread.lock() = Some(thread);
        Ok(journal)
    }

    /// A journal without a thread, and its worker: nothing is committed unless somebody lets the worker work.
    pub(super) fn with_worker<S: Store>(store: S, term: Term) -> (Self, Worker<S>) {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            changed: Condvar::new(),
            full: AtomicBool::new(false),
            stuck: AtomicBool::new(false),
        });
        let worker = Worker {
            shared: Arc::clone(&shared),
            store,
            term,
            pending: Group::default(),
            spent: false,
        };
        let thread = Mutex::new(None);
        (Self { shared, thread }, worker)
    }

    /// Waits until the queue is short enough for more work. Called without any lock, so that a slow disk holds up only those who
    /// change something. True if it had to wait. Blocking.
    pub(super) fn wait_for_room(&self) -> bool {
        let mut queue = self.shared.queue.lock();
        let full = |queue: &JournalQueue| queue.waiting.bytes > QUEUE_BYTES;
        let waited = full(&queue);
        while full(&queue) {
            self.shared.changed.wait(&mut queue);
        }
        waited
    }

    /// Queues batches, in the order of the calls. `then` hears when they and all before them are durable; it may be called
    /// at once. Never blocks.
    pub(super) fn append(&self, batches: Vec<Batch>, then: Option<(Then, Patience)>) {
        let mut queue = self.shared.queue.lock();
        if queue.failed {
            drop(queue);
            then.into_iter()
                .for_each(|(then, _)| then(Err(NotStored::Failed)));
            return;
        }
        let group = &mut queue.waiting;
        group.bytes += batches.iter().map(size).sum::<usize>();
        group
            .batches
            .extend(batches.into_iter().filter(|batch| !batch.changes.is_empty()));
        group.then.extend(then);
        self.shared.changed.notify_all();
    }

    /// True once a commit has failed.
    pub(super) fn has_failed(&self) -> bool {
        self.shared.queue.lock().failed
    }

    /// True while the store has no room but what is kept for removals, if that.
    pub(super) fn is_full(&self) -> bool {
        self.shared.is_full()
    }

    /// True while nothing more may be changed, since too much waits for room in the store.
    pub(super) fn is_stuck(&self) -> bool {
        self.shared.stuck.load(Ordering::Relaxed)
    }

    /// Waits until everything queued so far is durable. Blocking.
    ///
    /// # Errors
    /// A commit failed, or found no room.
    pub(super) fn flush(&self) -> Result<(), NotStored> {
        let (send, receive) = mpsc::sync_channel(1);
        let then: Then = Box::new(move |result| {
            // Received below, unless this thread is being torn down.
            let _ = send.send(result);
        });
        self.append(Vec::new(), Some((then, Patience::Short)));
        receive.recv().unwrap_or(Err(NotStored::Failed))
    }

    /// Commits what is queued, then ends the thread and closes the store. Nothing may be queued any more. Blocking.
    ///
    /// # Errors
    /// A commit failed.
    pub(super) fn stop(&self) -> Result<(), NotStored> {
        self.shared.queue.lock().stopping = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.lock().take() {
            thread.join().map_err(|_| NotStored::Failed)?;
        }
        if self.has_failed() {
            Err(NotStored::Failed)
        } else {
            Ok(())
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // Whoever needs to know of a failure has called `stop` before.
        let _ = self.stop();
    }
}

impl<S: Store> Worker<S> {
    fn run(mut self) {
        while let Some(group) = self.shared.next(self.spent) {
            self.commit(group);
        }
        if let Err(error) = self.write() {
            self.fail(&error);
        }
    }

    /// Commits what has gathered. False when there was nothing.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn turn(&mut self) -> bool {
        let group = std::mem::take(&mut self.shared.queue.lock().waiting);
        let any = !group.is_empty();
        if any {
            self.commit(group);
        }
        any
    }

    fn commit(&mut self, group: Group) {
        self.pending.batches.extend(group.batches);
        self.pending.bytes += group.bytes;
        self.pending.then.extend(group.then);
        match self.write() {
            Ok(()) => {
                self.pending.batches.clear();
                self.pending.bytes = 0;
                self.shared
                    .set_full(self.shared.is_full() && !self.store.keep_room());
                answer(std::mem::take(&mut self.pending.then), Ok(()));
            }
            Err(StoreError::Full(_)) => {
                let mut waiting = std::mem::take(&mut self.pending.then);
                self.pending.then = waiting
                    .extract_if(.., |(_, patience)| *patience == Patience::Long)
                    .collect();
                answer(waiting, Err(NotStored::Full));
            }
            Err(error) => self.fail(&error),
        }
        let stuck = self.pending.bytes > QUEUE_BYTES;
        self.shared.stuck.store(stuck, Ordering::Relaxed);
    }

    /// Commits what is pending; where there is no room, once more with what the store kept.
    fn write(&mut self) -> Result<(), StoreError> {
        if self.pending.batches.is_empty() {
            return Ok(());
        }
        if self.spent {
            self.store.make_room()?;
            let done = self.store.commit(&self.pending.batches, self.term);
            self.spent = matches!(done, Err(StoreError::Full(_)));
            return done;
        }
        match self.store.commit(&self.pending.batches, self.term) {
            Err(StoreError::Full(error)) => {
                if !self.shared.is_full() {
                    tracing::error!(
                        %error,
                        "THE STORE IS FULL: what would grow is refused (ENOSPC), removals and reads go on, and it is tried each second"
                    );
                }
                self.shared.set_full(true);
                self.spent = true;
                self.write()
            }
            done => done,
        }
    }

    fn fail(&mut self, error: impl std::fmt::Display) {
        tracing::error!(
            %error,
            "THE STORE FAILED: changes are refused (EIO) and reads go on; mend what failed, then restart this node: what was \
             synced is kept"
        );
        self.shared.fail();
        answer(std::mem::take(&mut self.pending).then, Err(NotStored::Failed));
    }
}

fn answer(waiting: Vec<(Then, Patience)>, stored: Result<(), NotStored>) {
    waiting.into_iter().for_each(|(then, _)| then(stored));
}

impl Shared {
    /// Everything that waits; `None` when the journal is stopped and empty. While the store is full, at least each second; where it is to be opened
    /// anew for that (`spent`), not more often: it is read as a whole then.
    fn next(&self, spent: bool) -> Option<Group> {
        let mut queue = self.queue.lock();
        if spent {
            self.changed
                .wait_while_for(&mut queue, |queue| !queue.stopping, RETRY);
        }
        if queue.stopping && queue.waiting.is_empty() {
            return None;
        }
        let mut timed_out = spent;
        while queue.waiting.is_empty() && !(self.is_full() && timed_out) {
            if queue.stopping {
                return None;
            }
            match self.is_full() {
                true => timed_out = self.changed.wait_for(&mut queue, RETRY).timed_out(),
                false => self.changed.wait(&mut queue),
            }
        }
        self.changed.notify_all();
        Some(std::mem::take(&mut queue.waiting))
    }

    fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    fn set_full(&self, full: bool) {
        let before = self.full.swap(full, Ordering::Relaxed);
        if before && !full {
            tracing::info!("the store has room again");
        }
    }

    /// Refuses everything from now on, what waits included.
    fn fail(&self) {
        let mut queue = self.queue.lock();
        queue.failed = true;
        let waiting = std::mem::take(&mut queue.waiting);
        self.changed.notify_all();
        drop(queue);
        answer(waiting.then, Err(NotStored::Failed));
    }
}

impl Group {
    fn is_empty(&self) -> bool {
        self.batches.is_empty() && self.then.is_empty()
    }
}

fn size(batch: &Batch) -> usize {
    let bytes = |(key, value): &(Vec<u8>, Option<Vec<u8>>)| key.len() + value.as_ref().map_or(0, Vec::len);
    batch.changes.iter().map(bytes).sum()
}

#[cfg(test)]
mod tests;
