//! Locks of two hosts, in simulated time.

use super::sweep::lab::{Did, Failure, LEASE, Lab, RW, pattern};
use crate::atomic_ioctl::FETCH_ADD;
use crate::errno::Error;
use crate::handler::testing::{HostId, Started};
use crate::handler::{FilePlace, HandleId, LockCall, LockCaller, Mount, SpaceChange};
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::error::MetaError;
use rdmafs_meta::id::InodeId;
use rdmafs_meta::lock::{LockKind, Span};
use rdmafs_rdma::sim::Fault;
use std::sync::Arc;
use std::time::Duration;

const EIO: Failure = Failure::Errno(libc::EIO);
const BUSY: Failure = Failure::Errno(libc::EAGAIN);

/// A file that the first host has open as "f", the second one as "theirs".
fn lab() -> Lab {
    let mut lab = Lab::new();
    lab.create(lab.a, "f").unwrap();
    lab.open(lab.b, "f", RW, "theirs").unwrap();
    lab
}

fn call(handle: HandleId, kind: LockKind) -> LockCall {
    LockCall {
        handle,
        // As the kernel does: by the open file, or by the process.
        owner: if kind == LockKind::Posix {
            77
        } else {
            1000 + handle.0
        },
        span: Span::WHOLE,
        exclusive: true,
        process: 77,
        caller: LockCaller::Known(kind),
        uid: Some(0),
    }
}

fn lock(lab: &mut Lab, file: &str, kind: LockKind) -> Did<()> {
    let (host, _, handle) = lab.open[file];
    lab.call(host, |mount| Box::pin(mount.lock(call(handle, kind), false)))
}

fn unlock(lab: &mut Lab, file: &str, kind: LockKind) -> Did<()> {
    let (host, _, handle) = lab.open[file];
    lab.call(host, |mount| Box::pin(mount.unlock(call(handle, kind))))
}

fn wait(lab: &Lab, file: &str, kind: LockKind) -> Started<Result<(), Error>> {
    let (host, _, handle) = lab.open[file];
    let mount: Arc<Mount> = lab.sim.mount(host);
    lab.sim.start(host, mount.lock(call(handle, kind), true))
}

/// The next operation of the host breaks its connection; it is done all the same.
fn break_link(lab: &mut Lab, host: HostId) {
    lab.sim.sim().fault_at(1, Fault::Disconnect);
    lab.call(host, |mount| Box::pin(mount.statfs(InodeId::ROOT)))
        .unwrap();
}

const KINDS: [LockKind; 3] = [LockKind::Flock, LockKind::Posix, LockKind::Ofd];

#[test]
fn two_hosts_exclude_each_other_and_who_waits_is_notified() {
    for kind in KINDS {
        let mut lab = lab();
        lock(&mut lab, "f", kind).unwrap();
        assert_eq!(lock(&mut lab, "theirs", kind), Err(BUSY));
        let waits = wait(&lab, "theirs", kind);
        lab.sim.pass_by(Duration::from_secs(60));
        assert!(waits.take().is_none());
        unlock(&mut lab, "f", kind).unwrap();
        lab.sim.settle();
        assert_eq!(waits.take(), Some(Ok(())));
        assert_eq!(lock(&mut lab, "f", kind), Err(BUSY));
        lab.close("theirs").unwrap();
        lab.sim.pass_by(Duration::from_secs(1));
        lock(&mut lab, "f", kind).unwrap();
    }
}

/// flock(2) of an open file, and fcntl(2) of the same one.
#[test]
fn an_unlock_of_one_kind_leaves_the_other_kind() {
    for (held, other) in [(LockKind::Ofd, LockKind::Flock), (LockKind::Flock, LockKind::Ofd)] {
        let mut lab = lab();
        let (host, _, handle) = lab.open["f"];
        lock(&mut lab, "f", held).unwrap();
        unlock(&mut lab, "f", other).unwrap();
        let part = LockCall {
            span: Span::new(0, 9).unwrap(),
            ..call(handle, LockKind::Ofd)
        };
        if held == LockKind::Flock {
            lab.call(host, |mount| Box::pin(mount.unlock(part))).unwrap();
        }
        assert_eq!(lock(&mut lab, "theirs", held), Err(BUSY), "{held:?}");
        unlock(&mut lab, "f", held).unwrap();
        lock(&mut lab, "theirs", held).unwrap();
    }
}

#[test]
fn a_break_keeps_locks_and_waits() {
    for kind in KINDS {
        let mut lab = lab();
        lock(&mut lab, "f", kind).unwrap();
        let waits = wait(&lab, "theirs", kind);
        for host in [lab.a, lab.b, lab.a] {
            break_link(&mut lab, host);
        }
        lab.sim.pass_by(LEASE);
        assert!(waits.take().is_none(), "the lock was lost");
        lab.write("f", 0, &pattern(100, 1)).unwrap();
        unlock(&mut lab, "f", kind).unwrap();
        lab.sim.settle();
        assert_eq!(waits.take(), Some(Ok(())), "the wait was lost");
    }
}

/// Whatever happens to the messages of an unlock and of the grant that it leads to.
#[test]
fn a_grant_is_heard_of_whatever_fails() {
    let mut plain = lab();
    lock(&mut plain, "f", LockKind::Flock).unwrap();
    let _waits = wait(&plain, "theirs", LockKind::Flock);
    plain.sim.settle();
    plain.sim.sim().note_operations();
    unlock(&mut plain, "f", LockKind::Flock).unwrap();
    plain.sim.settle();
    let operations = u64::try_from(plain.sim.sim().noted_operations().len()).unwrap();
    assert!(operations >= 3, "{operations}");
    for n in 1..=operations {
        for fault in [Fault::Disconnect, Fault::Delay(Duration::from_millis(300))] {
            let mut lab = lab();
            lock(&mut lab, "f", LockKind::Flock).unwrap();
            let waits = wait(&lab, "theirs", LockKind::Flock);
            lab.sim.settle();
            lab.sim.sim().fault_at(n, fault);
            unlock(&mut lab, "f", LockKind::Flock).unwrap();
            lab.sim.pass_by(LEASE);
            assert_eq!(waits.take(), Some(Ok(())), "{fault:?} at operation {n}");
            assert_eq!(lock(&mut lab, "f", LockKind::Flock), Err(BUSY));
        }
    }
}

#[test]
fn a_holder_whose_session_is_over_neither_reads_nor_writes() {
    for kind in KINDS {
        let mut lab = lab();
        lab.write("f", 0, &pattern(100, 1)).unwrap();
        lab.fsync("f").unwrap();
        lab.open(lab.a, "f", RW, "bystander").unwrap();
        lock(&mut lab, "f", kind).unwrap();
        let waits = wait(&lab, "theirs", kind);
        lab.sim.stop_host(lab.a, true);
        lab.sim.pass_by(LEASE * 2);
        assert_eq!(waits.take(), Some(Ok(())), "its lock is free");
        lab.sim.stop_host(lab.a, false);
        assert_eq!(lab.write("f", 0, &pattern(100, 3)), Err(EIO));
        assert_eq!(lab.read("f", 0, 100), Err(EIO));
        assert_eq!(lock(&mut lab, "f", kind), Err(EIO));
        assert!(lab.read("bystander", 0, 100).is_ok());
        unlock(&mut lab, "f", kind).unwrap();
        assert_eq!(lab.read("f", 0, 100).unwrap(), pattern(100, 1));
        assert_eq!(lock(&mut lab, "f", kind), Err(BUSY));
        unlock(&mut lab, "theirs", kind).unwrap();
        lock(&mut lab, "f", kind).unwrap();
    }
}

#[test]
fn locks_end_with_the_handler_and_with_the_node() {
    let mut lab = lab();
    lock(&mut lab, "f", LockKind::Posix).unwrap();
    let waits = wait(&lab, "theirs", LockKind::Posix);
    lab.sim.settle();
    lab.sim.kill_host(lab.a, true);
    lab.sim.pass_by(LEASE / 2);
    assert!(waits.take().is_none(), "it may come back");
    lab.sim.pass_by(LEASE);
    assert_eq!(waits.take(), Some(Ok(())));
    lab.fsync("theirs").unwrap();
    lab.sim.kill_node();
    lab.sim.start_node();
    lab.sim.pass_by(Duration::from_secs(2));
    assert_eq!(lab.write("theirs", 0, &pattern(10, 1)), Err(EIO));
}

/// What waits for a session is not done in one in which the lock is lost.
#[test]
fn a_call_that_waits_for_the_node_is_not_done_without_its_lock() {
    let mut lab = lab();
    lab.write("f", 0, &pattern(8192, 1)).unwrap();
    lab.fsync("f").unwrap();
    lock(&mut lab, "f", LockKind::Flock).unwrap();
    lab.sim.kill_node();
    let (host, _, handle) = lab.open["f"];
    let mount = || lab.sim.mount(host);
    let change = |change| mount().fallocate(Credentials::root(), handle, (0, 4096), change);
    let place = |offset| FilePlace { handle, offset };
    let calls = [
        lab.sim.start(host, change(SpaceChange::Punch)),
        lab.sim.start(host, change(SpaceChange::Zero { keep_size: true })),
    ];
    let copy = mount().copy(Credentials::root(), place(4096), place(0), 100);
    let copy = lab.sim.start(host, copy);
    // One more at offset 0.
    let add = [0_u64, 1, 0, 0].map(u64::to_ne_bytes).concat();
    let add = mount().ioctl(Credentials::root(), handle, FETCH_ADD, add);
    let add = lab.sim.start(host, add);
    lab.sim.pass_by(Duration::from_millis(200));
    lab.sim.start_node();
    lab.sim.pass_by(Duration::from_secs(2));
    for call in calls {
        assert_eq!(call.take(), Some(Err(Error::LocksLost)));
    }
    assert_eq!(copy.take(), Some(Err(Error::LocksLost)));
    assert_eq!(
        add.take().map(|added| added.map(drop)),
        Some(Err(Error::LocksLost))
    );
}

/// The kernel tells of the end of an open file some time after close(2) was answered.
#[test]
fn a_lock_of_a_file_that_is_being_closed_refuses_nobody() {
    for kind in [LockKind::Flock, LockKind::Ofd] {
        let mut lab = lab();
        lab.open(lab.a, "f", RW, "next").unwrap();
        let (host, _, next) = lab.open["next"];
        let (_, _, closing) = lab.open["f"];
        let try_next = |lab: &Lab| {
            let mount: Arc<Mount> = lab.sim.mount(host);
            lab.sim.start(host, mount.lock(call(next, kind), false))
        };
        lock(&mut lab, "f", kind).unwrap();
        assert_eq!(lock(&mut lab, "next", kind), Err(BUSY), "nobody closes it");
        let flush = |lab: &mut Lab| {
            lab.call(host, |mount| Box::pin(mount.flush_by(closing, 5)))
                .unwrap();
        };
        flush(&mut lab);
        let tries = try_next(&lab);
        lab.sim.pass_by(Duration::from_millis(20));
        assert!(tries.take().is_none(), "it may be free soon");
        // Another process has a copy of the descriptor: once this is known, nobody waits for it again.
        lab.sim.pass_by(Duration::from_millis(200));
        assert_eq!(tries.take(), Some(Err(Error::Meta(MetaError::Locked))));
        let tries = try_next(&lab);
        lab.sim.pass_by(Duration::from_millis(20));
        assert_eq!(tries.take(), Some(Err(Error::Meta(MetaError::Locked))));
        flush(&mut lab);
        let tries = try_next(&lab);
        lab.sim.pass_by(Duration::from_millis(20));
        lab.close("f").unwrap();
        lab.sim.pass_by(Duration::from_millis(20));
        assert_eq!(tries.take(), Some(Ok(())));
    }
}

#[test]
fn a_lock_of_a_file_that_is_being_closed_is_not_notified_of() {
    let mut lab = lab();
    lab.open(lab.a, "f", RW, "next").unwrap();
    let (host, _, next) = lab.open["next"];
    let (_, _, closing) = lab.open["f"];
    lock(&mut lab, "f", LockKind::Ofd).unwrap();
    lab.call(host, |mount| Box::pin(mount.flush_by(closing, 5)))
        .unwrap();
    let mount: Arc<Mount> = lab.sim.mount(host);
    let asks = lab.sim.start(host, mount.conflict(call(next, LockKind::Ofd)));
    lab.sim.pass_by(Duration::from_millis(20));
    assert!(asks.take().is_none(), "it may be free soon");
    lab.close("f").unwrap();
    lab.sim.pass_by(Duration::from_millis(20));
    assert_eq!(asks.take(), Some(Ok(None)));
}

#[test]
fn a_wait_that_is_given_up_leaves_nothing_behind() {
    for kind in KINDS {
        let mut lab = lab();
        lock(&mut lab, "f", kind).unwrap();
        let (host, _, handle) = lab.open["theirs"];
        let mount = lab.sim.mount(host);
        let gives_up = lab.sim.start(host, async move {
            let waits = mount.clone().lock(call(handle, kind), true);
            mount.executor().within(Duration::from_secs(3), waits).await
        });
        lab.sim.pass_by(Duration::from_secs(4));
        assert_eq!(gives_up.take(), Some(None));
        unlock(&mut lab, "f", kind).unwrap();
        lab.sim.settle();
        lock(&mut lab, "f", kind).unwrap();
    }
}

#[test]
fn hundreds_of_waiters_hold_up_nothing() {
    let mut lab = lab();
    lock(&mut lab, "f", LockKind::Flock).unwrap();
    let (host, _, handle) = lab.open["theirs"];
    let mount = lab.sim.mount(host);
    let waits: Vec<_> = (0..500)
        .map(|owner| {
            let call = LockCall {
                owner,
                exclusive: false,
                ..call(handle, LockKind::Flock)
            };
            lab.sim.start(host, mount.clone().lock(call, true))
        })
        .collect();
    lab.sim.pass_by(LEASE * 2);
    lab.patient = false;
    lab.create(lab.b, "other").unwrap();
    lab.write("other", 0, &pattern(9000, 1)).unwrap();
    lab.close("other").unwrap();
    unlock(&mut lab, "f", LockKind::Flock).unwrap();
    lab.sim.settle();
    assert!(waits.iter().all(|wait| wait.take() == Some(Ok(()))));
}

#[test]
fn a_close_without_locks_costs_nothing() {
    let operations = |before: fn(&mut Lab)| {
        let mut lab = lab();
        before(&mut lab);
        let (host, _, handle) = lab.open.remove("f").unwrap();
        lab.sim.sim().note_operations();
        lab.call(host, |mount| Box::pin(mount.flush_by(handle, 77)))
            .unwrap();
        lab.call(host, |mount| Box::pin(mount.release(handle))).unwrap();
        lab.sim.settle();
        lab.sim.sim().noted_operations().len()
    };
    let plain = operations(|_| ());
    let unlocked = operations(|lab| {
        for kind in [LockKind::Flock, LockKind::Posix] {
            lock(lab, "f", kind).unwrap();
            unlock(lab, "f", kind).unwrap();
        }
    });
    let locked = operations(|lab| lock(lab, "f", LockKind::Posix).unwrap());
    assert_eq!(
        (plain, unlocked),
        (2, 2),
        "the release of the open, there and back"
    );
    assert_eq!(locked, 4);
}

/// The kernel uses the number of an open file again before it tells of that one's end.
#[test]
fn a_late_end_of_a_file_takes_no_lock_of_the_next_one() {
    let mut lab = lab();
    lab.open(lab.a, "f", RW, "next").unwrap();
    let with_number = |lab: &mut Lab, file: &str| {
        let (host, _, handle) = lab.open[file];
        let call = LockCall {
            owner: 5,
            ..call(handle, LockKind::Flock)
        };
        lab.call(host, |mount| Box::pin(mount.lock(call, false)))
    };
    with_number(&mut lab, "f").unwrap();
    with_number(&mut lab, "next").unwrap();
    lab.close("f").unwrap();
    lab.sim.pass_by(Duration::from_secs(1));
    assert_eq!(lock(&mut lab, "theirs", LockKind::Flock), Err(BUSY));
}
