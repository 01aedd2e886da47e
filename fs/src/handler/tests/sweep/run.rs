//! One fault in one change, and what must be true of the pool afterwards.

use super::cases::{CASES, Case};
use super::lab::{ARENA, Failure, LEASE, Lab};
use super::picture::{Allowed, Picture};
use crate::handler::testing::StoreFault;
use rdmafs_meta::id::{InodeId, PoolId};
use rdmafs_meta::namespace::{Config, Namespace, examine};
use rdmafs_meta::store::MemoryStore;
use rdmafs_meta::time::{Now, Timestamp};
use rdmafs_rdma::sim::{Fault, Operation};
use std::time::Duration;

const MOMENT: Duration = Duration::from_millis(300);
const PAST_THE_LEASE: Duration = Duration::from_secs(35);

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    /// At the n-th operation of the fabric.
    Fabric(u64, Fault),
    /// The node dies there.
    Node(u64),
    /// At the n-th commit.
    Store(u64, StoreFault),
}

/// What a run of a case counted.
#[derive(Debug, Default)]
struct Counts {
    operations: Vec<Operation>,
    commits: u64,
}

#[test]
fn whatever_fails_at_whichever_operation_of_the_fabric() {
    let faults = [
        Fault::Error,
        Fault::Lose,
        Fault::Disconnect,
        Fault::Delay(MOMENT),
        Fault::Delay(PAST_THE_LEASE),
        Fault::Die,
    ];
    let (mut runs, mut failures) = (0, Vec::new());
    for case in CASES {
        let (states, counts) = expected(case);
        assert!(counts.operations.len() >= 2, "{}: {counts:?}", case.name);
        for (n, operation) in (1..).zip(counts.operations) {
            let can_be = |fault: &&Fault| {
                operation != Operation::Notice || !matches!(fault, Fault::Error | Fault::Lose)
            };
            for fault in faults.iter().filter(can_be) {
                failures.extend(sweep(case, &states, Wrong::Fabric(n, *fault)));
                runs += 1;
            }
            failures.extend(sweep(case, &states, Wrong::Node(n)));
            runs += 1;
        }
    }
    judge(runs, 1000, &failures);
}

#[test]
fn whatever_fails_at_whichever_commit_of_the_store() {
    let faults = [
        StoreFault::Fail,
        StoreFault::Delay(PAST_THE_LEASE),
        StoreFault::Die,
    ];
    let (mut runs, mut failures) = (0, Vec::new());
    for case in CASES {
        let (states, counts) = expected(case);
        assert!(counts.commits >= 1, "{}: {counts:?}", case.name);
        for n in 1..=counts.commits {
            for fault in faults {
                failures.extend(sweep(case, &states, Wrong::Store(n, fault)));
                runs += 1;
            }
        }
    }
    judge(runs, 80, &failures);
}

/// The pictures after each number of acts without any fault, and how much there is to fail.
fn expected(case: &Case) -> (Vec<Picture>, Counts) {
    let mut states = Vec::new();
    let mut counts = Counts::default();
    for acts in 0..=case.acts.len() {
        let mut lab = Lab::new();
        (case.prepare)(&mut lab);
        let before = lab.sim.store().commits();
        lab.sim.sim().note_operations();
        for act in &case.acts[..acts] {
            act(&mut lab).unwrap();
        }
        counts = Counts {
            operations: lab.sim.sim().noted_operations(),
            commits: lab.sim.store().commits() - before,
        };
        // What is not committed is part of the picture.
        close_all(&mut lab);
        states.push(Picture::take(&mut lab));
    }
    (states, counts)
}

/// Runs a case with a fault; says what went wrong that should not.
fn sweep(case: &Case, states: &[Picture], wrong: Wrong) -> Option<String> {
    let panic = std::panic::catch_unwind(|| one(case, states, wrong)).err()?;
    let said = panic.downcast_ref::<String>().map(String::as_str);
    let said = said
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("?");
    Some(format!("{}: {wrong:?}: {said}", case.name))
}

fn one(case: &Case, states: &[Picture], wrong: Wrong) {
    let mut lab = Lab::new();
    (case.prepare)(&mut lab);
    lab.patient = false;
    match wrong {
        Wrong::Fabric(n, fault) => lab.sim.sim().fault_at(n, fault),
        Wrong::Node(n) => lab.dies_at(n),
        Wrong::Store(n, fault) => lab.sim.store().fault_at(n, fault),
    }
    let mut done = 0;
    for act in case.acts {
        match act(&mut lab) {
            Ok(()) => done += 1,
            Err(failure) => {
                check_failure(failure, wrong, case.refused);
                break;
            }
        }
        if lab.node_died {
            // What was answered before and not synced may be gone: what comes next stands on something else.
            break;
        }
    }
    let died = [lab.a, lab.b].iter().any(|host| !lab.sim.is_alive(*host));
    lab.patient = true;
    recover(&mut lab, wrong);
    let picture = Picture::take(&mut lab);
    let undone = lab.node_died || died;
    picture.check(
        states,
        Allowed {
            names: (if lab.node_died { 0 } else { done }, done + 1),
            bytes: (if undone { 0 } else { done.saturating_sub(1) }, done + 1),
            lost: lab.node_died,
        },
    );
    account(&mut lab, &picture);
}

/// A program hears EIO, or nothing any more because its handler died, or ESTALE of a file that died with the node.
fn check_failure(failure: Failure, wrong: Wrong, refused: &[i32]) {
    let node = matches!(wrong, Wrong::Node(_) | Wrong::Store(_, StoreFault::Die));
    let fits = match failure {
        Failure::Dead => matches!(wrong, Wrong::Fabric(_, Fault::Die)),
        Failure::Errno(libc::EIO) => true,
        Failure::Errno(libc::ESTALE) => node,
        Failure::Errno(errno) => refused.contains(&errno),
    };
    assert!(fits, "{failure:?}");
}

/// The fault is over: what died starts again, what is open is closed, leases run out.
fn recover(lab: &mut Lab, wrong: Wrong) {
    lab.sim.sim().fault_at(u64::MAX, Fault::Error);
    if matches!(wrong, Wrong::Store(_, StoreFault::Fail)) {
        // Such a node takes no changes any more.
        lab.sim.kill_node();
        lab.node_died = true;
        lab.sim.start_node();
    }
    lab.sim.pass_by(MOMENT);
    lab.sim.pass_by(LEASE * 3);
    for host in [lab.a, lab.b] {
        if !lab.sim.is_alive(host) {
            assert!(lab.sim.start_host(host));
            lab.open.retain(|_, (of, ..)| *of != host);
        }
    }
    lab.sim.pass_by(LEASE * 4);
    close_all(lab);
}

fn close_all(lab: &mut Lab) {
    for name in lab.open.keys().copied().collect::<Vec<_>>() {
        // What was lost is said here for the last time.
        let _lost = lab.close(name);
    }
    lab.sim.pass_by(LEASE * 2);
}

/// The pool holds what its files hold, and nothing when they are gone; what the store keeps is a sound namespace.
fn account(lab: &mut Lab, picture: &Picture) {
    sound(lab);
    let space = lab
        .call(lab.b, |mount| Box::pin(mount.statfs(InodeId::ROOT)))
        .unwrap()
        .space;
    let used = space.total - space.free;
    let held = picture.allocated();
    // What was lost is still the file's, but takes no space.
    let agrees = used == held || (lab.node_died && used < held);
    assert!(agrees, "{used} bytes are used of which files hold {held}");
    for (name, is_directory) in picture.names() {
        let path = name.as_bytes().to_vec();
        let root = rdmafs_meta::cred::Credentials::root();
        match is_directory {
            true => lab.call(lab.b, |mount| Box::pin(mount.rmdir(root, super::lab::ROOT, path))),
            false => lab.unlink(lab.b, name),
        }
        .unwrap();
    }
    lab.sim.pass_by(LEASE * 2);
    let space = lab
        .call(lab.b, |mount| Box::pin(mount.statfs(InodeId::ROOT)))
        .unwrap()
        .space;
    assert_eq!(space.free, ARENA, "space that is lost for good");
    sound(lab);
}

/// The namespace that is served and the one that the store would give are sound.
fn sound(lab: &Lab) {
    lab.sim.look(Namespace::check).unwrap().unwrap();
    check_store(lab.sim.store().kept());
}

/// There were more runs than `least`, and none failed.
fn judge(runs: usize, least: usize, failures: &[String]) {
    println!("{runs} runs");
    let list = failures.join("\n");
    assert!(failures.is_empty(), "{} of {runs}:\n{list}", failures.len());
    assert!(runs > least, "{runs}");
}

/// `rdmafs fsck` finds nothing in a store, and it makes a sound namespace.
fn check_store(mut store: MemoryStore) {
    let found = examine(&store, Timestamp::default()).unwrap();
    assert_eq!(found.examination.problems, []);
    let config = Config {
        pool: PoolId([7; 16]),
        lease: LEASE,
        root_owner: (0, 0),
        root_mode: 0o777,
        metadata: u64::MAX,
    };
    let loaded = Namespace::load(&mut store, config, Now::default()).unwrap();
    loaded.check().unwrap();
}
