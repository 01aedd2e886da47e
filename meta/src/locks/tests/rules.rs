//! One rule at a time.

use crate::error::MetaError;
use crate::id::{InodeId, LockOwner, LockTicket, SessionId};
use crate::lock::{Lock, LockKind, LockState, Span};
use crate::locks::{Account, Asked, Grants, Locks};
use LockKind::{Flock, Ofd, Posix, Unknown};
use LockState::{Free, Held, Waiting};
use std::time::Duration;

const USER: Account = Account::User(1000);
const FILE: InodeId = InodeId(5);
const A: SessionId = SessionId(1);
const B: SessionId = SessionId(2);
const MOMENT: Duration = Duration::from_millis(1);

/// Locks, and what was granted so far.
#[derive(Default)]
struct Bench {
    locks: Locks,
    granted: Grants,
    now: Duration,
    next: u64,
}

fn lock(owner: u64, kind: LockKind, exclusive: bool, (start, last): (u64, u64)) -> Lock {
    Lock {
        owner: LockOwner(owner),
        kind,
        exclusive,
        span: Span::new(start, last).unwrap(),
        process: owner,
    }
}

const ALL: (u64, u64) = (0, crate::lock::LAST_BYTE);

impl Bench {
    fn ask(
        &mut self,
        session: SessionId,
        ino: InodeId,
        lock: Lock,
        wait: bool,
    ) -> Result<LockState, MetaError> {
        self.next += 1;
        let ticket = LockTicket(self.next);
        self.ask_anew(session, ino, (lock, wait), ticket)
    }

    fn ask_anew(
        &mut self,
        session: SessionId,
        ino: InodeId,
        (lock, wait): (Lock, bool),
        ticket: LockTicket,
    ) -> Result<LockState, MetaError> {
        let asked = Asked {
            session,
            account: USER,
            ino,
            ticket,
            lock,
            wait,
        };
        self.now += MOMENT;
        let state = self.locks.lock(&asked, self.now, &mut self.granted);
        self.locks.check(|_, _| true).unwrap();
        state
    }

    fn take(&mut self, session: SessionId, lock: Lock) -> Result<LockState, MetaError> {
        self.ask(session, FILE, lock, false)
    }

    fn wait(&mut self, session: SessionId, lock: Lock) -> Result<LockState, MetaError> {
        self.ask(session, FILE, lock, true)
    }

    fn give(&mut self, session: SessionId, owner: u64, kind: LockKind, (start, last): (u64, u64)) {
        let what = (Span::new(start, last).unwrap(), kind);
        self.locks
            .unlock((session, FILE), LockOwner(owner), what, &mut self.granted)
            .unwrap();
        self.locks.check(|_, _| true).unwrap();
    }

    /// The numbers of the tickets that were granted since the last look.
    fn granted(&mut self) -> Vec<u64> {
        let granted = std::mem::take(&mut self.granted);
        granted.into_iter().map(|(_, ticket)| ticket.0).collect()
    }
}

#[test]
fn kinds_see_each_other_as_on_a_local_file_system() {
    let kinds = [Flock, Posix, Ofd, Unknown];
    for (one, other, excluded) in [
        (Flock, Flock, true),
        (Flock, Posix, false),
        (Flock, Ofd, false),
        (Posix, Posix, true),
        (Posix, Ofd, true),
        (Ofd, Ofd, true),
    ]
    .into_iter()
    .chain(kinds.map(|kind| (Unknown, kind, true)))
    {
        for (first, second) in [(one, other), (other, one)] {
            let mut bench = Bench::default();
            assert_eq!(bench.take(A, lock(1, first, true, ALL)), Ok(Held));
            let wanted = if excluded {
                Err(MetaError::Locked)
            } else {
                Ok(Held)
            };
            assert_eq!(
                bench.take(B, lock(1, second, true, ALL)),
                wanted,
                "{first:?} {second:?}"
            );
        }
    }
}

#[test]
fn shared_and_exclusive_and_only_where_they_overlap() {
    let mut bench = Bench::default();
    assert_eq!(bench.take(A, lock(1, Posix, false, (0, 9))), Ok(Held));
    assert_eq!(bench.take(B, lock(1, Posix, false, (5, 14))), Ok(Held));
    assert_eq!(
        bench.take(A, lock(2, Posix, true, (9, 20))),
        Err(MetaError::Locked)
    );
    assert_eq!(bench.take(A, lock(2, Posix, true, (15, 20))), Ok(Held));
    assert_eq!(
        bench.take(A, lock(1, Posix, true, (0, 4))),
        Ok(Held),
        "an upgrade"
    );
    assert_eq!(
        bench.take(A, lock(1, Posix, true, (0, 5))),
        Err(MetaError::Locked)
    );
}

#[test]
fn giving_back_the_middle_leaves_the_ends() {
    let mut bench = Bench::default();
    assert_eq!(bench.take(A, lock(1, Posix, true, (0, 99))), Ok(Held));
    bench.give(A, 1, Posix, (40, 59));
    assert_eq!(bench.take(B, lock(1, Posix, true, (40, 59))), Ok(Held));
    assert_eq!(
        bench.take(B, lock(1, Posix, false, (39, 39))),
        Err(MetaError::Locked)
    );
    assert_eq!(
        bench.take(B, lock(1, Posix, false, (60, 60))),
        Err(MetaError::Locked)
    );
    bench.give(A, 1, Unknown, ALL);
    assert_eq!(bench.take(B, lock(1, Posix, true, ALL)), Ok(Held));
}

#[test]
fn a_lock_of_one_kind_is_not_given_back_with_another() {
    let mut bench = Bench::default();
    for kind in [Flock, Ofd] {
        assert_eq!(bench.take(A, lock(1, kind, true, ALL)), Ok(Held));
    }
    bench.give(A, 1, Ofd, ALL);
    assert_eq!(bench.take(B, lock(1, Ofd, true, ALL)), Ok(Held));
    assert_eq!(bench.take(B, lock(2, Flock, true, ALL)), Err(MetaError::Locked));
    bench.give(A, 1, Flock, ALL);
    assert_eq!(bench.take(B, lock(2, Flock, true, ALL)), Ok(Held));
}

#[test]
fn who_waits_is_notified_once_and_asking_anew_changes_nothing() {
    let mut bench = Bench::default();
    assert_eq!(bench.take(A, lock(1, Flock, true, ALL)), Ok(Held));
    let waits = (lock(1, Flock, true, ALL), true);
    assert_eq!(bench.ask_anew(B, FILE, waits, LockTicket(77)), Ok(Waiting));
    assert_eq!(bench.ask_anew(B, FILE, waits, LockTicket(77)), Ok(Waiting));
    assert_eq!(bench.granted(), []);
    bench.give(A, 1, Flock, ALL);
    assert_eq!(bench.granted(), [77]);
    assert_eq!(bench.ask_anew(B, FILE, waits, LockTicket(77)), Ok(Held));
    bench.give(B, 1, Flock, ALL);
    assert_eq!(bench.take(A, lock(1, Flock, true, ALL)), Ok(Held));
}

#[test]
fn a_writer_is_not_kept_out_by_readers_who_come_and_go() {
    let mut bench = Bench::default();
    assert_eq!(bench.take(A, lock(1, Flock, false, ALL)), Ok(Held));
    assert_eq!(bench.wait(B, lock(1, Flock, true, ALL)), Ok(Waiting));
    let writer = bench.next;
    assert_eq!(
        bench.wait(A, lock(2, Flock, false, ALL)),
        Ok(Waiting),
        "held back"
    );
    let reader = bench.next;
    bench.give(A, 1, Flock, ALL);
    assert_eq!(bench.granted(), [writer]);
    bench.give(B, 1, Flock, ALL);
    assert_eq!(bench.granted(), [reader]);
}

#[test]
fn a_reader_is_held_back_for_a_second_at_most() {
    let mut bench = Bench::default();
    assert_eq!(bench.take(A, lock(1, Flock, false, ALL)), Ok(Held));
    assert_eq!(bench.wait(B, lock(1, Flock, true, ALL)), Ok(Waiting));
    // The same program needs it a second time before it gives the first one back.
    assert_eq!(bench.wait(A, lock(2, Flock, false, ALL)), Ok(Waiting));
    let reader = bench.next;
    bench
        .locks
        .tick(bench.now + Duration::from_millis(990), &mut bench.granted);
    assert_eq!(bench.granted(), []);
    bench
        .locks
        .tick(bench.now + Duration::from_secs(1), &mut bench.granted);
    assert_eq!(bench.granted(), [reader]);
}

#[test]
fn an_upgrade_does_not_wait_for_those_who_wait_for_it() {
    let mut bench = Bench::default();
    assert_eq!(bench.take(A, lock(1, Posix, false, (0, 9))), Ok(Held));
    assert_eq!(bench.wait(B, lock(1, Posix, true, (0, 9))), Ok(Waiting));
    assert_eq!(bench.wait(A, lock(1, Posix, true, (0, 9))), Ok(Held));
    assert_eq!(bench.wait(A, lock(1, Posix, false, (0, 20))), Ok(Held));
}

#[test]
fn an_owner_who_waits_twice_gets_both() {
    let mut bench = Bench::default();
    assert_eq!(bench.take(A, lock(1, Posix, true, ALL)), Ok(Held));
    let first = bench.next + 1;
    assert_eq!(bench.wait(B, lock(1, Posix, true, ALL)), Ok(Waiting));
    assert_eq!(bench.wait(B, lock(1, Posix, false, (0, 9))), Ok(Waiting));
    bench.give(A, 1, Posix, ALL);
    assert_eq!(bench.granted(), [first, first + 1]);
    assert_eq!(bench.take(A, lock(1, Posix, false, (0, 9))), Ok(Held));
}

#[test]
fn flock_gives_up_what_it_has_before_it_takes_something_else() {
    let mut bench = Bench::default();
    for owner in [1, 2] {
        assert_eq!(bench.take(A, lock(owner, Flock, false, ALL)), Ok(Held));
    }
    assert_eq!(bench.wait(A, lock(1, Flock, true, ALL)), Ok(Waiting));
    assert_eq!(
        bench.wait(A, lock(2, Flock, true, ALL)),
        Ok(Waiting),
        "else neither would ever get it"
    );
    assert_eq!(bench.granted().len(), 1);
}

#[test]
fn processes_that_wait_for_each_other_are_found_across_files_and_sessions() {
    let mut bench = Bench::default();
    let (one, other, third) = (InodeId(5), InodeId(6), InodeId(7));
    assert_eq!(bench.ask(A, one, lock(1, Posix, true, (0, 0)), false), Ok(Held));
    assert_eq!(bench.ask(B, other, lock(1, Posix, true, (0, 0)), false), Ok(Held));
    assert_eq!(bench.ask(A, third, lock(2, Posix, true, (0, 0)), false), Ok(Held));
    assert_eq!(
        bench.ask(A, other, lock(1, Posix, true, (0, 0)), true),
        Ok(Waiting)
    );
    assert_eq!(
        bench.ask(B, third, lock(1, Posix, true, (0, 0)), true),
        Ok(Waiting)
    );
    assert_eq!(
        bench.ask(A, one, lock(2, Posix, true, (0, 0)), true),
        Err(MetaError::Deadlock)
    );
    assert_eq!(
        bench.ask(A, one, lock(2, Ofd, true, (0, 0)), true),
        Ok(Waiting),
        "as on Linux"
    );
}

#[test]
fn one_process_under_two_owners_is_one_in_a_circle() {
    let mut bench = Bench::default();
    let of_process = |owner, process| Lock {
        process,
        ..lock(owner, Posix, true, (0, 0))
    };
    let (one, other) = (InodeId(5), InodeId(6));
    assert_eq!(bench.ask(A, one, of_process(1, 9), false), Ok(Held));
    assert_eq!(bench.ask(A, other, of_process(2, 8), false), Ok(Held));
    assert_eq!(bench.ask(A, other, of_process(3, 9), true), Ok(Waiting));
    assert_eq!(
        bench.ask(A, one, of_process(4, 8), true),
        Err(MetaError::Deadlock)
    );
}

#[test]
fn a_cancelled_wait_is_over_and_what_was_granted_meanwhile_is_given_back_on_request() {
    let mut bench = Bench::default();
    assert_eq!(bench.take(A, lock(1, Posix, true, (0, 9))), Ok(Held));
    assert_eq!(bench.wait(B, lock(1, Posix, true, (0, 9))), Ok(Waiting));
    let ticket = LockTicket(bench.next);
    assert_eq!(bench.locks.cancel(B, ticket, true, &mut bench.granted), Free);
    bench.give(A, 1, Posix, ALL);
    assert_eq!(bench.granted(), []);
    assert_eq!(bench.wait(B, lock(1, Posix, true, (0, 9))), Ok(Held));
    let ticket = LockTicket(bench.next);
    assert_eq!(bench.locks.cancel(B, ticket, false, &mut bench.granted), Held);
    assert_eq!(
        bench.locks.cancel(A, ticket, true, &mut bench.granted),
        Free,
        "not its own"
    );
    assert_eq!(
        bench.take(A, lock(1, Posix, true, (5, 5))),
        Err(MetaError::Locked)
    );
    assert_eq!(bench.locks.cancel(B, ticket, true, &mut bench.granted), Free);
    assert_eq!(bench.take(A, lock(1, Posix, true, (5, 5))), Ok(Held));
}

#[test]
fn a_late_cancel_takes_nothing_that_was_asked_for_since() {
    let mut bench = Bench::default();
    assert_eq!(bench.take(A, lock(1, Posix, true, (0, 9))), Ok(Held));
    let first = LockTicket(bench.next);
    assert_eq!(bench.take(A, lock(1, Posix, true, (0, 9))), Ok(Held));
    assert_eq!(bench.locks.cancel(A, first, true, &mut bench.granted), Free);
    assert_eq!(
        bench.take(B, lock(1, Posix, true, (0, 9))),
        Err(MetaError::Locked)
    );
}

#[test]
fn a_session_takes_its_locks_and_waits_along() {
    let mut bench = Bench::default();
    assert_eq!(bench.take(A, lock(1, Flock, true, ALL)), Ok(Held));
    assert_eq!(bench.wait(A, lock(2, Flock, true, ALL)), Ok(Waiting));
    assert_eq!(bench.wait(B, lock(1, Flock, true, ALL)), Ok(Waiting));
    let theirs = bench.next;
    bench.locks.end(A, &mut bench.granted);
    bench.locks.check(|session, _| session == B).unwrap();
    assert_eq!(bench.granted(), [theirs]);
}

#[test]
fn a_user_cannot_fill_the_memory_of_the_node() {
    let mut bench = Bench::default();
    let mut taken = 0;
    while bench.locks.lock(
        &Asked {
            session: A,
            account: USER,
            ino: FILE,
            ticket: LockTicket(taken),
            lock: lock(1, Posix, true, (taken * 2, taken * 2)),
            wait: false,
        },
        bench.now,
        &mut bench.granted,
    ) == Ok(Held)
    {
        taken += 1;
    }
    assert!((1000..10_000).contains(&taken), "{taken}");
    assert_eq!(
        bench.take(A, lock(2, Posix, true, (1, 1))),
        Err(MetaError::TooManyLocks)
    );
    assert_eq!(
        bench.ask(B, InodeId(9), lock(1, Posix, true, (1, 1)), false),
        Ok(Held)
    );
}

#[test]
fn a_user_cannot_fill_it_by_giving_back_the_middle_of_a_lock_nor_by_waiting() {
    let mut bench = Bench::default();
    assert_eq!(bench.take(A, lock(1, Posix, true, ALL)), Ok(Held));
    let refused = (0..10_000).find(|at| {
        let middle = (Span::new(at * 2 + 1, at * 2 + 1).unwrap(), Posix);
        let unlocked = bench
            .locks
            .unlock((A, FILE), LockOwner(1), middle, &mut bench.granted);
        unlocked == Err(MetaError::TooManyLocks)
    });
    assert!(refused.is_some());
    bench.give(A, 1, Posix, ALL);
    assert_eq!(bench.take(A, lock(1, Posix, true, ALL)), Ok(Held));
    let waits = (2..10_000).find(|owner| {
        bench.next += 1;
        let asked = Asked {
            session: B,
            account: USER,
            ino: FILE,
            ticket: LockTicket(bench.next),
            lock: lock(*owner, Posix, true, (*owner, *owner)),
            wait: true,
        };
        bench.locks.lock(&asked, bench.now, &mut bench.granted) == Err(MetaError::TooManyLocks)
    });
    assert!(waits.is_some());
}

#[test]
fn the_first_lock_in_the_way_is_notified_with_its_process_to_its_own_session_only() {
    let mut bench = Bench::default();
    assert_eq!(bench.take(A, lock(1, Posix, false, (20, 29))), Ok(Held));
    assert_eq!(bench.take(A, lock(2, Ofd, true, (5, 9))), Ok(Held));
    let wanted = lock(7, Posix, true, (0, 50));
    let found = bench.locks.conflict(A, FILE, &wanted);
    assert_eq!(found, Some(lock(2, Ofd, true, (5, 9))));
    let other = bench.locks.conflict(B, FILE, &wanted).unwrap();
    assert_eq!((other.process, other.span), (0, found.unwrap().span));
    let reads = lock(7, Posix, false, (10, 50));
    assert_eq!(bench.locks.conflict(A, FILE, &reads), None);
}

#[test]
fn all_locks_and_waits_are_listed_file_by_file() {
    let mut bench = Bench::default();
    bench.take(A, lock(1, Posix, true, (0, 9))).unwrap();
    bench.take(A, lock(1, Posix, false, (20, 29))).unwrap();
    assert_eq!(bench.wait(B, lock(2, Posix, true, (5, 5))), Ok(Waiting));
    bench
        .ask(B, InodeId(4), lock(3, Flock, true, ALL), false)
        .unwrap();
    bench.now += Duration::from_secs(2);
    bench.locks.tick(bench.now, &mut bench.granted);
    let all: Vec<_> = bench.locks.all().collect();
    assert_eq!(
        all,
        [
            (InodeId(4), B, lock(3, Flock, true, ALL), None),
            (FILE, A, lock(1, Posix, true, (0, 9)), None),
            (FILE, A, lock(1, Posix, false, (20, 29)), None),
            (
                FILE,
                B,
                lock(2, Posix, true, (5, 5)),
                Some(Duration::from_secs(2) + MOMENT)
            ),
        ]
    );
}
