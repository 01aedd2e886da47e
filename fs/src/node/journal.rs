//! The way of batches to the store: a queue and one thread that commits what has gathered, all at once.
//!
//! Answers do not wait for it unless they are fsyncs: those are given to the queue behind their batch, and the thread sends
//! them when everything before them is durable. A crash can therefore lose only what no fsync answered for.
//!
//! A commit that fails has parted the store from the namespace in memory for good. The journal takes no batch from then on
//! and answers every waiter with the failure; the service reads on and refuses changes.

use parking_lot::{Condvar, Mutex};
use rdmafs_meta::id::Term;
use rdmafs_meta::store::{Batch, Store};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;

/// Bytes of queued batches above which [`Journal::wait_for_room`] waits.
const QUEUE_BYTES: usize = 16 << 20;

/// The batch could not be made durable, nor can any later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct JournalFailed;

/// Called when everything queued before is durable, or never will be. Must not block, nor use the journal.
pub(super) type Then = Box<dyn FnOnce(Result<(), JournalFailed>) + Send>;

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
}

struct Shared {
    queue: Mutex<JournalQueue>,
    changed: Condvar,
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
    then: Vec<Then>,
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
        });
        let worker = Worker {
            shared: Arc::clone(&shared),
            store,
            term,
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
    pub(super) fn append(&self, batches: Vec<Batch>, then: Option<Then>) {
        let mut queue = self.shared.queue.lock();
        if queue.failed {
            drop(queue);
            then.into_iter().for_each(|then| then(Err(JournalFailed)));
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

    /// Waits until everything queued so far is durable. Blocking.
    ///
    /// # Errors
    /// A commit failed.
    pub(super) fn flush(&self) -> Result<(), JournalFailed> {
        let (send, receive) = mpsc::sync_channel(1);
        let then: Then = Box::new(move |result| {
            // Received below, unless this thread is being torn down.
            let _ = send.send(result);
        });
        self.append(Vec::new(), Some(then));
        receive.recv().unwrap_or(Err(JournalFailed))
    }

    /// Commits what is queued, then ends the thread and closes the store. Nothing may be queued any more. Blocking.
    ///
    /// # Errors
    /// A commit failed.
    pub(super) fn stop(&self) -> Result<(), JournalFailed> {
        self.shared.queue.lock().stopping = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.lock().take() {
            thread.join().map_err(|_| JournalFailed)?;
        }
        if self.has_failed() {
            Err(JournalFailed)
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
        while let Some(group) = self.shared.next() {
            self.commit(group);
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
        let committed = match &group.batches[..] {
            [] => Ok(()),
            batches => self.store.commit(batches, self.term),
        };
        let result = committed.map_err(|error| {
            tracing::error!(
                %error,
                "THE STORE FAILED: changes are refused (EIO) and reads go on; mend what failed, then restart this node: what was \
                 synced is kept"
            );
            self.shared.fail()
        });
        for then in group.then {
            then(result);
        }
    }
}

impl Shared {
    /// Everything that waits; `None` when the journal is stopped and empty.
    fn next(&self) -> Option<Group> {
        let mut queue = self.queue.lock();
        while queue.waiting.is_empty() {
            if queue.stopping {
                return None;
            }
            self.changed.wait(&mut queue);
        }
        self.changed.notify_all();
        Some(std::mem::take(&mut queue.waiting))
    }

    /// Refuses everything from now on, what waits included.
    fn fail(&self) -> JournalFailed {
        let mut queue = self.queue.lock();
        queue.failed = true;
        let waiting = std::mem::take(&mut queue.waiting);
        self.changed.notify_all();
        drop(queue);
        for then in waiting.then {
            then(Err(JournalFailed));
        }
        JournalFailed
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
mod tests {
    use super::*;
    use rdmafs_meta::store::StoreError;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// Records commits; each waits for a permit, and from the `fail_from`-th on they fail.
    struct Gated {
        permits: mpsc::Receiver<()>,
        commits: Arc<Mutex<Vec<Vec<Batch>>>>,
        fail_from: usize,
    }

    impl Store for Gated {
        fn scan(
            &self,
            _: &[u8],
            _: &mut dyn FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
        ) -> Result<(), StoreError> {
            Ok(())
        }
        fn commit(&mut self, batches: &[Batch], _: Term) -> Result<(), StoreError> {
            self.permits.recv().unwrap();
            let mut commits = self.commits.lock();
            if commits.len() >= self.fail_from {
                return Err(StoreError::Io("no disk".into()));
            }
            commits.push(batches.to_vec());
            Ok(())
        }
        fn take_over(&mut self, _: Term) -> Result<(), StoreError> {
            Ok(())
        }
        fn term(&self) -> Result<Term, StoreError> {
            Ok(Term(1))
        }
    }

    type Commits = Arc<Mutex<Vec<Vec<Batch>>>>;

    fn gated(fail_from: usize) -> (Journal, mpsc::Sender<()>, Commits) {
        let (permit, permits) = mpsc::channel();
        let commits = Commits::default();
        let store = Gated {
            permits,
            commits: Arc::clone(&commits),
            fail_from,
        };
        (Journal::start(store, Term(1)).unwrap(), permit, commits)
    }

    fn put(key: u8) -> Vec<Batch> {
        let changes = vec![(vec![key], Some(vec![key; 100]))];
        vec![Batch { changes }]
    }

    fn waiter(journal: &Journal, batches: Vec<Batch>) -> mpsc::Receiver<Result<(), JournalFailed>> {
        let (send, receive) = mpsc::channel();
        journal.append(batches, Some(Box::new(move |result| send.send(result).unwrap())));
        receive
    }

    /// Until the thread has taken all that was queued: it hangs in the commit from then on.
    fn until_taken(journal: &Journal) {
        while !journal.shared.queue.lock().waiting.is_empty() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn an_fsync_waits_for_every_batch_before_it() {
        let (journal, permit, commits) = gated(usize::MAX);
        journal.append(put(1), None);
        let synced = waiter(&journal, put(2));
        assert!(synced.try_recv().is_err(), "nothing is durable yet");
        permit.send(()).unwrap();
        permit.send(()).unwrap();
        assert_eq!(synced.recv().unwrap(), Ok(()));
        let order: Vec<u8> = commits
            .lock()
            .iter()
            .flatten()
            .map(|batch| batch.changes[0].0[0])
            .collect();
        assert_eq!(order, [1, 2]);
    }

    #[test]
    fn what_gathers_during_a_commit_is_committed_at_once() {
        let (journal, permit, commits) = gated(usize::MAX);
        journal.append(put(0), None);
        until_taken(&journal);
        for key in 1..=50 {
            journal.append(put(key), None);
        }
        permit.send(()).unwrap();
        permit.send(()).unwrap();
        assert_eq!(journal.flush(), Ok(()));
        let sizes: Vec<usize> = commits.lock().iter().map(Vec::len).collect();
        assert_eq!(sizes, [1, 50]);
    }

    #[test]
    fn a_failed_commit_fails_all_who_wait_and_all_later_ones() {
        let (journal, permit, commits) = gated(1);
        let good = waiter(&journal, put(1));
        permit.send(()).unwrap();
        assert_eq!(good.recv().unwrap(), Ok(()));
        let first = waiter(&journal, put(2));
        let second = waiter(&journal, put(3));
        permit.send(()).unwrap();
        permit.send(()).unwrap();
        assert_eq!(first.recv().unwrap(), Err(JournalFailed));
        assert_eq!(second.recv().unwrap(), Err(JournalFailed));
        assert!(journal.has_failed());
        assert_eq!(waiter(&journal, put(4)).recv().unwrap(), Err(JournalFailed));
        assert_eq!(journal.flush(), Err(JournalFailed));
        assert!(!journal.wait_for_room());
        assert_eq!(journal.stop(), Err(JournalFailed));
        assert_eq!(commits.lock().len(), 1);
    }

    #[test]
    fn a_full_queue_makes_its_writers_wait() {
        let (journal, permit, commits) = gated(usize::MAX);
        journal.append(put(1), None);
        until_taken(&journal);
        let large = vec![(vec![1], Some(vec![0; QUEUE_BYTES]))];
        journal.append(vec![Batch { changes: large }], None);
        let started = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                started.store(true, Ordering::SeqCst);
                assert!(journal.wait_for_room());
                commits.lock().len()
            });
            while !started.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            (0..2).for_each(|_| permit.send(()).unwrap());
            let before = writer.join().unwrap();
            assert!(before >= 1, "it waited for the commit before the large one");
        });
        assert_eq!(journal.stop(), Ok(()));
    }

    #[test]
    fn stopping_commits_what_is_queued() {
        let (journal, permit, commits) = gated(usize::MAX);
        (1..=3).for_each(|key| journal.append(put(key), None));
        (0..3).for_each(|_| permit.send(()).unwrap());
        assert_eq!(journal.stop(), Ok(()));
        assert_eq!(commits.lock().iter().map(Vec::len).sum::<usize>(), 3);
    }
}
