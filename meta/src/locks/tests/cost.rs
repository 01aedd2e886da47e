//! What a call costs, in steps: nobody is served meanwhile.

use crate::error::MetaError;
use crate::id::{InodeId, LockOwner, LockTicket, SessionId};
use crate::lock::{Lock, LockKind, LockState, Span};
use crate::locks::settling::SLICE;
use crate::locks::{Account, Asked, Grants, Locks};
use LockState::{Held, Waiting};
use std::time::Duration;

const FILE: InodeId = InodeId(5);
const SESSION: SessionId = SessionId(1);
/// A byte behind all others.
const END: u64 = 1 << 40;
/// What a call may cost that lets nobody in and takes nothing away: the heights of some trees.
const FEW: usize = 100;
/// The last look at a waiter may go beyond the slice.
const LAST_LOOK: usize = 2 * FEW;

/// Locks, and the steps of the last call.
#[derive(Default)]
struct Bench {
    locks: Locks,
    grants: Grants,
    now: Duration,
    tickets: u64,
}

fn lock(owner: u64, exclusive: bool, start: u64) -> Lock {
    Lock {
        owner: LockOwner(owner),
        kind: LockKind::Ofd,
        exclusive,
        span: Span::new(start, start).unwrap(),
        process: 1,
    }
}

impl Bench {
    fn ask(&mut self, lock: Lock, wait: bool) -> Result<LockState, MetaError> {
        self.tickets += 1;
        let asked = Asked {
            session: SESSION,
            // One user has them all; others wait.
            account: Account::User(if wait { 1001 } else { 1000 }),
            ino: FILE,
            ticket: LockTicket(self.tickets),
            lock,
            wait,
        };
        self.locks.lock(&asked, self.now, &mut self.grants)
    }

    fn unlock(&mut self, lock: &Lock) {
        let what = (lock.span, lock.kind);
        let of = (SESSION, FILE);
        self.locks.unlock(of, lock.owner, what, &mut self.grants).unwrap();
    }

    fn steps(&self) -> usize {
        self.locks.steps.0
    }

    /// 8,000 shared locks of one owner, one exclusive lock at [`END`], and 600 others who wait for that.
    fn crowded() -> Self {
        let mut bench = Self::default();
        for at in 0..8000 {
            assert_eq!(bench.ask(lock(1, false, 2 * at), false), Ok(Held));
        }
        assert_eq!(bench.ask(lock(1, true, END), false), Ok(Held));
        for owner in 2..602 {
            assert_eq!(bench.ask(lock(owner, true, END), true), Ok(Waiting));
        }
        bench.locks.check(|_, _| true).unwrap();
        bench
    }
}

#[test]
fn a_call_among_8000_locks_and_600_waiters_takes_few_steps() {
    let mut bench = Bench::crowded();
    for owner in [1000, 1001] {
        assert_eq!(bench.ask(lock(owner, true, END), false), Err(MetaError::Locked));
        assert!(bench.steps() < FEW, "a refused try took {} steps", bench.steps());
        let conflict = bench.locks.conflict(SESSION, FILE, &lock(owner, true, END));
        assert_eq!(conflict, Some(lock(1, true, END)));
        assert!(bench.steps() < FEW, "F_GETLK took {} steps", bench.steps());
        assert_eq!(bench.ask(lock(owner, true, END), true), Ok(Waiting));
        assert!(bench.steps() < FEW, "to wait took {} steps", bench.steps());
        let ticket = LockTicket(bench.tickets);
        assert_eq!(
            bench.locks.cancel(SESSION, ticket, true, &mut bench.grants),
            LockState::Free
        );
        assert!(bench.steps() < FEW, "to give up took {} steps", bench.steps());
        assert_eq!(bench.ask(lock(owner, true, 99_999), true), Ok(Held));
        assert!(bench.steps() < FEW, "a lock took {} steps", bench.steps());
        bench.unlock(&lock(owner, true, 99_999));
        assert!(bench.steps() < FEW, "an unlock took {} steps", bench.steps());
    }
    bench.unlock(&lock(1, false, 0));
    assert!(bench.steps() < FEW, "an unlock took {} steps", bench.steps());
    assert!(!bench.locks.tick(bench.now, &mut bench.grants));
    assert!(bench.steps() < FEW, "a tick took {} steps", bench.steps());
    assert_eq!(bench.grants, []);
}

#[test]
fn own_locks_cost_no_steps_where_another_one_refuses() {
    let mut bench = Bench::crowded();
    let all = Lock {
        span: Span::WHOLE,
        ..lock(1, true, 0)
    };
    assert_eq!(bench.ask(lock(9, false, 99_999), false), Ok(Held));
    assert_eq!(bench.ask(all, false), Err(MetaError::Locked));
    assert!(bench.steps() < FEW, "{}", bench.steps());
}

#[test]
fn many_readers_are_let_in_by_several_ticks() {
    let mut bench = Bench::default();
    assert_eq!(bench.ask(lock(1, true, END), false), Ok(Held));
    for owner in 2..1002 {
        assert_eq!(bench.ask(lock(owner, false, END), true), Ok(Waiting));
    }
    bench.unlock(&lock(1, true, END));
    assert!(bench.steps() < SLICE + LAST_LOOK, "{}", bench.steps());
    assert!(bench.grants.len() > 20, "{}", bench.grants.len());
    let mut ticks = 0;
    assert!(bench.locks.goes_on());
    while bench.locks.tick(bench.now, &mut bench.grants) {
        assert!(bench.steps() < SLICE + LAST_LOOK, "{}", bench.steps());
        bench.locks.check(|_, _| true).unwrap();
        ticks += 1;
    }
    assert!(ticks > 2, "{ticks}");
    let tickets: Vec<u64> = bench.grants.iter().map(|(_, ticket)| ticket.0).collect();
    assert!(tickets.is_sorted(), "in the order of their arrival");
    assert_eq!(tickets.len(), 1000);
}

#[test]
fn those_whose_patience_ends_at_once_are_let_in_by_several_ticks() {
    let mut bench = Bench::default();
    assert_eq!(bench.ask(lock(1, false, END), false), Ok(Held));
    assert_eq!(bench.ask(lock(2, true, END), true), Ok(Waiting));
    for owner in 3..1002 {
        assert_eq!(bench.ask(lock(owner, false, END), true), Ok(Waiting));
    }
    bench.now += Duration::from_secs(1);
    while bench.locks.tick(bench.now, &mut bench.grants) {
        assert!(bench.steps() < SLICE + LAST_LOOK, "{}", bench.steps());
    }
    bench.locks.check(|_, _| true).unwrap();
    assert_eq!(bench.grants.len(), 999);
}

#[test]
fn the_locks_of_a_session_that_is_over_go_in_several_ticks() {
    let mut bench = Bench::default();
    for ino in 0..20 {
        for at in 0..500 {
            bench.tickets += 1;
            let asked = Asked {
                session: SESSION,
                account: Account::User(1000),
                ino: InodeId(ino),
                ticket: LockTicket(bench.tickets),
                lock: lock(1, true, 2 * at),
                wait: false,
            };
            assert_eq!(bench.locks.lock(&asked, bench.now, &mut bench.grants), Ok(Held));
        }
    }
    bench.locks.end(SESSION, &mut bench.grants);
    assert!(bench.steps() < SLICE + 600, "one file more: {}", bench.steps());
    let mut ticks = 0;
    while bench.locks.tick(bench.now, &mut bench.grants) {
        assert!(bench.steps() < SLICE + 600, "one file more: {}", bench.steps());
        bench.locks.check(|_, _| false).unwrap();
        ticks += 1;
    }
    assert!(ticks > 2, "{ticks}");
    assert_eq!(bench.locks.all().count(), 0);
}

#[test]
fn a_search_for_a_deadlock_ends() {
    let mut bench = Bench::default();
    let of = |process: u64, kind, start| Lock {
        process,
        kind,
        ..lock(process, false, start)
    };
    for process in 1..2000 {
        assert_eq!(bench.ask(of(process, LockKind::Posix, END), false), Ok(Held));
    }
    for process in 5000..5020 {
        let wanted = Lock {
            exclusive: true,
            ..of(process, LockKind::Posix, END)
        };
        assert_eq!(bench.ask(wanted, true), Ok(Waiting));
        assert!(bench.steps() < 8000, "{}", bench.steps());
    }
}

#[test]
fn a_lock_that_many_wait_for_goes_from_one_to_the_next_in_few_steps() {
    let mut bench = Bench::crowded();
    bench.grants.clear();
    for owner in 2..600 {
        bench.unlock(&lock(owner - 1, true, END));
        assert!(bench.steps() < FEW, "{}", bench.steps());
        assert!(!bench.locks.goes_on());
    }
    assert_eq!(bench.grants.len(), 598);
}
