//! How many locks and waiters users, sessions and files may have: at the bound, below it and above it.

use crate::error::MetaError;
use crate::id::{InodeId, LockOwner, LockTicket, SessionId};
use crate::lock::{Lock, LockKind, LockState, Span};
use crate::locks::bounds::{ADDED, Bounds, Limits};
use crate::locks::{Account, Asked, Grants, Locks};
use LockState::{Held, Waiting};
use std::time::Duration;

const A: SessionId = SessionId(1);
const B: SessionId = SessionId(2);
const ROOT: Account = Account::Root;
const USER: Account = Account::User(1000);
const OTHER: Account = Account::User(1001);
const FULL: Result<LockState, MetaError> = Err(MetaError::TooManyLocks);

#[derive(Default)]
struct Bench {
    locks: Locks,
    grants: Grants,
    tickets: u64,
}

fn limits() -> Limits {
    Limits::default()
}

fn lock(owner: u64, start: u64) -> Lock {
    Lock {
        owner: LockOwner(owner),
        kind: LockKind::Ofd,
        exclusive: true,
        span: Span::new(start, start).unwrap(),
        process: 1,
    }
}

impl Bench {
    fn ask(
        &mut self,
        (session, account): (SessionId, Account),
        ino: u64,
        lock: Lock,
        wait: bool,
    ) -> Result<LockState, MetaError> {
        self.tickets += 1;
        let asked = Asked {
            session,
            account,
            ino: InodeId(ino),
            ticket: LockTicket(self.tickets),
            lock,
            wait,
        };
        self.locks.lock(&asked, Duration::ZERO, &mut self.grants)
    }

    /// Takes locks that touch no other ones, so many of them in each of some files, until that is refused; says how many there are.
    fn fill(&mut self, who: (SessionId, Account), files: std::ops::Range<u64>, most: u64) -> usize {
        let mut taken = 0;
        for ino in files {
            for at in 0..most {
                // A place for each user.
                let place = match who.1 {
                    Account::Root => 1,
                    Account::User(uid) => u64::from(uid) + 2,
                    Account::Idmapped(_) => 2,
                };
                match self.ask(who, ino, lock(place, (place << 32) + 2 * at), false) {
                    Ok(Held) => taken += 1,
                    refused => {
                        assert_eq!(refused, FULL);
                        return taken;
                    }
                }
            }
        }
        taken
    }

    fn unlock(&mut self, session: SessionId, ino: u64, lock: &Lock) -> Result<(), MetaError> {
        let (of, what) = ((session, InodeId(ino)), (lock.span, lock.kind));
        self.locks.unlock(of, lock.owner, what, &mut self.grants)
    }
}

/// Files enough for all locks of a session.
fn files() -> std::ops::Range<u64> {
    100..200
}

#[test]
fn the_bounds_leave_room_for_root_and_for_another_user() {
    let Limits { of_session, of_file } = limits();
    for Bounds { locks, waiters } in [of_session, of_file] {
        for bound in [locks, waiters] {
            assert!(bound.user < bound.of_users(), "another user has room");
            assert!(bound.of_users() < bound.all, "root has room");
        }
    }
}

#[test]
fn a_user_of_a_session_has_so_many_locks_and_others_have_theirs() {
    let mut bench = Bench::default();
    assert_eq!(
        bench.fill((A, USER), files(), 1000),
        limits().of_session.locks.user
    );
    assert_eq!(bench.ask((A, USER), 1, lock(1, 1), false), FULL);
    assert_eq!(
        bench.ask((B, USER), 1, lock(1, 1), false),
        Ok(Held),
        "on another host"
    );
    for (at, account) in [(3, ROOT), (5, OTHER), (7, Account::Idmapped(A))] {
        assert_eq!(
            bench.ask((A, account), 1, lock(at, at), false),
            Ok(Held),
            "{account:?}"
        );
    }
    let first = lock(1002, 1002 << 32);
    assert_eq!(
        bench.ask((A, USER), 100, first, false),
        Ok(Held),
        "it has that one"
    );
    bench.unlock(A, 100, &first).unwrap();
    assert_eq!(bench.ask((A, USER), 1, lock(9, 9), false), Ok(Held));
    assert_eq!(bench.ask((A, USER), 1, lock(11, 11), false), FULL);
    bench.locks.check(|_, _| true).unwrap();
}

#[test]
fn all_users_of_a_session_leave_root_its_reserve() {
    let mut bench = Bench::default();
    let bound = limits().of_session.locks;
    let users = (1000..1010).map(Account::User);
    let taken: usize = users.map(|user| bench.fill((A, user), files(), 500)).sum();
    assert_eq!(taken, bound.of_users());
    assert_eq!(bench.ask((A, Account::User(7)), 1, lock(1, 1), false), FULL);
    assert_eq!(bench.fill((A, ROOT), files(), 500), bound.all - bound.of_users());
    assert_eq!(bench.ask((B, Account::User(7)), 1, lock(1, 1), false), Ok(Held));
}

#[test]
fn a_user_of_a_file_has_so_many_locks_on_all_hosts_and_root_its_reserve() {
    let mut bench = Bench::default();
    let bound = limits().of_file.locks;
    let (near, far) = ((A, USER), (B, USER));
    for at in 0..bound.user as u64 {
        let who = if at % 2 == 0 { near } else { far };
        assert_eq!(bench.ask(who, 1, lock(1, 2 * at), false), Ok(Held));
    }
    assert_eq!(bench.ask(near, 1, lock(1, 1 << 20), false), FULL);
    assert_eq!(bench.ask(far, 1, lock(1, 1 << 20), false), FULL);
    assert_eq!(bench.ask(near, 2, lock(1, 1), false), Ok(Held), "another file");
    let left = bound.of_users() - bound.user;
    assert_eq!(bench.fill((A, OTHER), 1..2, 1 << 14), left);
    assert_eq!(bench.fill((A, ROOT), 1..2, 1 << 14), bound.all - bound.of_users());
    bench.locks.check(|_, _| true).unwrap();
}

#[test]
fn callers_on_idmapped_mounts_share_an_account() {
    let mut bench = Bench::default();
    let bound = limits().of_session.locks;
    assert_eq!(bench.fill((A, Account::Idmapped(A)), files(), 1000), bound.user);
    assert_eq!(
        bench.ask((B, Account::Idmapped(B)), 1, lock(1, 1), false),
        Ok(Held)
    );
    let who = crate::cred::Credentials {
        kernel_decides: true,
        ..crate::cred::Credentials::root()
    };
    assert_eq!(Account::of(A, &who), Account::Idmapped(A));
    assert_eq!(Account::of(A, &crate::cred::Credentials::root()), ROOT);
    assert_eq!(
        Account::of(A, &crate::cred::Credentials::new(1000, 0, vec![])),
        USER
    );
}

#[test]
fn a_user_of_a_file_has_so_many_waiters_and_others_have_theirs() {
    let mut bench = Bench::default();
    let bound = limits().of_file.waiters;
    assert_eq!(bench.ask((B, ROOT), 1, lock(1, 1), false), Ok(Held));
    let mut wait = |account, count: usize| {
        let mut waits = (0..count).map(|owner| bench.ask((A, account), 1, lock(owner as u64, 1), true));
        waits.find(|state| *state != Ok(Waiting))
    };
    assert_eq!(wait(USER, bound.user), None);
    assert_eq!(wait(USER, 1), Some(FULL));
    assert_eq!(wait(OTHER, bound.of_users() - bound.user), None);
    assert_eq!(wait(OTHER, 1), Some(FULL));
    assert_eq!(wait(ROOT, bound.all - bound.of_users()), None);
    assert_eq!(wait(ROOT, 1), Some(FULL));
    bench.locks.check(|_, _| true).unwrap();
}

#[test]
fn a_user_of_a_session_has_so_many_waiters_and_others_have_theirs() {
    let mut bench = Bench::default();
    let bound = limits().of_session.waiters;
    for ino in files() {
        assert_eq!(bench.ask((B, ROOT), ino, lock(1, 1), false), Ok(Held));
    }
    let mut wait = |account, count: usize| {
        let mut waits = (0..count).map(|at| {
            let ino = 100 + at as u64 % 100;
            bench.ask((A, account), ino, lock(at as u64, 1), true)
        });
        waits.find(|state| *state != Ok(Waiting))
    };
    assert_eq!(wait(USER, bound.user), None);
    assert_eq!(wait(USER, 1), Some(FULL));
    for uid in 1..3 {
        assert_eq!(wait(Account::User(uid), bound.user), None);
    }
    assert_eq!(wait(OTHER, 1), Some(FULL));
    assert_eq!(wait(ROOT, bound.all - bound.of_users()), None);
    assert_eq!(wait(ROOT, 1), Some(FULL));
}

#[test]
fn who_waits_has_room_for_what_is_granted() {
    let mut bench = Bench::default();
    assert_eq!(bench.ask((B, ROOT), 1, lock(1, 1), false), Ok(Held));
    assert_eq!(bench.ask((A, USER), 1, lock(7, 1), true), Ok(Waiting));
    let most = limits().of_session.locks.user;
    assert_eq!(bench.fill((A, USER), files(), 1000), most - ADDED);
    bench.unlock(B, 1, &lock(1, 1)).unwrap();
    assert_eq!(bench.grants.len(), 1);
    assert_eq!(bench.fill((A, USER), 300..400, 1000), ADDED - 1);
}

#[test]
fn a_lock_is_not_split_beyond_the_bound_and_given_back_whole_at_any_time() {
    let mut bench = Bench::default();
    let whole = Lock {
        span: Span::WHOLE,
        ..lock(1, 0)
    };
    assert_eq!(bench.ask((A, USER), 1, whole, false), Ok(Held));
    let most = limits().of_session.locks.user;
    assert_eq!(bench.fill((A, USER), files(), 1000), most - 1);
    assert_eq!(bench.unlock(A, 1, &lock(1, 5)), Err(MetaError::TooManyLocks));
    let shared = Lock {
        exclusive: false,
        ..lock(1, 5)
    };
    assert_eq!(
        bench.ask((A, USER), 1, shared, false),
        FULL,
        "that makes three of one"
    );
    assert_eq!(
        bench.ask(
            (A, USER),
            1,
            Lock {
                span: Span::WHOLE,
                ..shared
            },
            false
        ),
        Ok(Held)
    );
    assert_eq!(bench.unlock(A, 1, &lock(1, 0)), Ok(()), "an end of it");
    assert_eq!(bench.unlock(A, 1, &whole), Ok(()));
    bench.locks.check(|_, _| true).unwrap();
}
