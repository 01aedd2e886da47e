//! The queue before the store: order, waiting, and stores that fail or have no room.

use super::*;

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

fn waiter(journal: &Journal, batches: Vec<Batch>) -> mpsc::Receiver<Result<(), NotStored>> {
    let (send, receive) = mpsc::channel();
    let then: Then = Box::new(move |result| send.send(result).unwrap());
    journal.append(batches, Some((then, Patience::Short)));
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
    assert_eq!(first.recv().unwrap(), Err(NotStored::Failed));
    assert_eq!(second.recv().unwrap(), Err(NotStored::Failed));
    assert!(journal.has_failed());
    assert_eq!(waiter(&journal, put(4)).recv().unwrap(), Err(NotStored::Failed));
    assert_eq!(journal.flush(), Err(NotStored::Failed));
    assert!(!journal.wait_for_room());
    assert_eq!(journal.stop(), Err(NotStored::Failed));
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

/// A store that holds so many batches; what it keeps beside them is room for two more.
#[derive(Clone, Default)]
struct Narrow(Arc<Mutex<NarrowState>>);

#[derive(Default)]
struct NarrowState {
    room: usize,
    kept: usize,
    broken: bool,
    stored: Vec<Batch>,
}

impl Store for Narrow {
    fn scan(
        &self,
        _: &[u8],
        _: &mut dyn FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        Ok(())
    }
    fn commit(&mut self, batches: &[Batch], _: Term) -> Result<(), StoreError> {
        let mut state = self.0.lock();
        assert!(!state.broken, "a commit before room was made");
        if state.stored.len() + batches.len() > state.room {
            state.broken = true;
            return Err(StoreError::Full("no room".into()));
        }
        state.stored.extend_from_slice(batches);
        Ok(())
    }
    fn make_room(&mut self) -> Result<(), StoreError> {
        let mut state = self.0.lock();
        state.broken = false;
        state.room += std::mem::take(&mut state.kept);
        Ok(())
    }
    fn keep_room(&mut self) -> bool {
        let mut state = self.0.lock();
        let enough = state.room >= state.stored.len() + 2;
        if enough {
            state.room -= 2;
            state.kept = 2;
        }
        enough
    }
    fn take_over(&mut self, _: Term) -> Result<(), StoreError> {
        Ok(())
    }
    fn term(&self) -> Result<Term, StoreError> {
        Ok(Term(1))
    }
}

#[test]
fn without_room_what_is_kept_serves_and_nothing_is_lost() {
    let narrow = Narrow::default();
    (narrow.0.lock().room, narrow.0.lock().kept) = (2, 2);
    let (journal, mut worker) = Journal::with_worker(narrow.clone(), Term(1));
    let (good, last, none) = (put(1), [put(2), put(3), put(4)].concat(), put(5));
    let stored = |answers: &mpsc::Receiver<Result<(), NotStored>>| answers.try_recv().unwrap();
    let first = waiter(&journal, good);
    worker.turn();
    assert_eq!((stored(&first), journal.is_full()), (Ok(()), false));
    let second = waiter(&journal, last);
    worker.turn();
    assert_eq!(
        (stored(&second), journal.is_full()),
        (Ok(()), true),
        "by what was kept"
    );
    let third = waiter(&journal, none);
    let (send, patient) = mpsc::channel();
    let then: Then = Box::new(move |result| send.send(result).unwrap());
    journal.append(Vec::new(), Some((then, Patience::Long)));
    worker.turn();
    assert_eq!((stored(&third), journal.is_full()), (Err(NotStored::Full), true));
    assert!(patient.try_recv().is_err());
    narrow.0.lock().room = 100;
    journal.append(put(6), None);
    worker.turn();
    assert_eq!((stored(&patient), journal.is_full()), (Ok(()), false));
    let keys: Vec<u8> = narrow
        .0
        .lock()
        .stored
        .iter()
        .map(|batch| batch.changes[0].0[0])
        .collect();
    assert_eq!(keys, [1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_store_without_room_is_tried_by_itself_and_at_the_end() {
    let narrow = Narrow::default();
    let journal = Journal::start(narrow.clone(), Term(1)).unwrap();
    assert_eq!(waiter(&journal, put(1)).recv().unwrap(), Err(NotStored::Full));
    narrow.0.lock().room = 100;
    // It hangs where nobody tries.
    while journal.is_full() {
        std::thread::sleep(RETRY / 10);
    }
    assert_eq!(narrow.0.lock().stored.len(), 1);
    narrow.0.lock().room = 0;
    narrow.0.lock().kept = 0;
    journal.append(put(2), None);
    assert_eq!(journal.stop(), Err(NotStored::Failed), "it could not be stored");
}

#[test]
fn what_waits_for_room_has_a_bound() {
    let narrow = Narrow::default();
    let (journal, mut worker) = Journal::with_worker(narrow.clone(), Term(1));
    let of = |bytes: usize| {
        let changes = vec![(Vec::new(), Some(vec![0; bytes]))];
        vec![Batch { changes }]
    };
    journal.append(of(QUEUE_BYTES), None);
    worker.turn();
    assert_eq!((journal.is_full(), journal.is_stuck()), (true, false));
    journal.append(of(1), None);
    worker.turn();
    assert!(journal.is_stuck());
    narrow.0.lock().room = 100;
    journal.append(of(1), None);
    worker.turn();
    assert_eq!((journal.is_full(), journal.is_stuck()), (false, false));
}
