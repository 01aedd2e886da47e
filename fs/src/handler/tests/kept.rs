//! Opens that are kept when a file is closed, and the first bytes of new files: what they save, and that they keep nothing from anybody.

use super::leases::{calls, chmod, look, stat};
use super::sweep::lab::{ARENA, Did, Failure, LEASE, Lab, ROOT, RW, pattern};
use crate::handler::OpenMode;
use crate::handler::testing::{HostId, Rules, Simulation};
use rdmafs_meta::attr::SetAttr;
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::extent::GRANULE;
use rdmafs_meta::id::InodeId;
use rdmafs_meta::wire::RenameMode;
use rdmafs_rdma::sim::{Fault, Pace};
use std::time::Duration;

const READ: OpenMode = OpenMode { write: false, ..RW };

/// How many calls the host makes for it.
fn cost<T>(lab: &mut Lab, host: HostId, act: impl FnOnce(&mut Lab) -> Did<T>) -> u64 {
    let before = calls(lab, host);
    act(lab).expect("it works");
    rest(lab);
    calls(lab, host) - before
}

/// Lets what goes on behind come to its end, and time pass: an access time that is not later than a change is renewed.
fn rest(lab: &mut Lab) {
    lab.sim.pass_by(Duration::from_millis(1));
    lab.sim.settle();
    while lab.sim.clean() {
        lab.sim.settle();
    }
}

fn make(lab: &mut Lab, host: HostId, name: &'static str, len: usize) -> Did<()> {
    lab.create(host, name)?;
    lab.write(name, 0, &pattern(len, 3))?;
    lab.close(name)
}

fn read(lab: &mut Lab, host: HostId, name: &str, len: usize) -> Did<()> {
    lab.open(host, name, READ, "it")?;
    assert_eq!(lab.read("it", 0, len)?, pattern(len, 3));
    lab.close("it")
}

fn free(lab: &mut Lab) -> u64 {
    rest(lab);
    lab.sim
        .look(|namespace| namespace.room().0)
        .expect("the node is up")
}

fn rename(lab: &mut Lab, host: HostId, from: &str, to: &str) -> Did<()> {
    let (from, to) = (from.as_bytes().to_vec(), to.as_bytes().to_vec());
    lab.call(host, |mount| {
        Box::pin(mount.rename(Credentials::root(), (ROOT, from), (ROOT, to), RenameMode::Replace))
    })
}

fn allocated(lab: &mut Lab, host: HostId, ino: InodeId) -> u64 {
    stat(lab, host, ino).expect("it is there").allocated
}

#[test]
fn a_small_file_costs_two_calls_and_what_is_known_of_it_none() {
    let mut lab = Lab::new();
    let (a, b) = (lab.a, lab.b);
    assert_eq!(
        look(&mut lab, a, ROOT, "f").map(|_| ()),
        Err(Failure::Errno(libc::ENOENT))
    );
    assert_eq!(cost(&mut lab, a, |lab| make(lab, a, "f", 4096)), 2);
    // Reading it for the first time renews its access time.
    assert_eq!(cost(&mut lab, a, |lab| read(lab, a, "f", 4096)), 1);
    assert_eq!(cost(&mut lab, a, |lab| read(lab, a, "f", 4096)), 0);
    assert_eq!(cost(&mut lab, b, |lab| look(lab, b, ROOT, "f")), 1);
    assert_eq!(cost(&mut lab, b, |lab| read(lab, b, "f", 4096)), 1);
    assert_eq!(cost(&mut lab, b, |lab| read(lab, b, "f", 4096)), 0);
    // One of two programs that have it open leaves, and then the other.
    lab.open(b, "f", READ, "first").unwrap();
    lab.open(b, "f", READ, "second").unwrap();
    assert_eq!(cost(&mut lab, b, |lab| lab.close("first")), 0);
    assert_eq!(lab.read("second", 0, 4096).unwrap(), pattern(4096, 3));
    assert_eq!(cost(&mut lab, b, |lab| lab.close("second")), 0);
}

#[test]
fn a_kept_open_serves_nothing_that_it_was_not_opened_for() {
    let mut lab = Lab::new();
    let (a, b) = (lab.a, lab.b);
    make(&mut lab, a, "f", 4096).unwrap();
    let ino = look(&mut lab, b, ROOT, "f").unwrap().ino;
    read(&mut lab, b, "f", 4096).unwrap();
    assert_eq!(cost(&mut lab, b, |lab| lab.open(b, "f", RW, "w")), 1);
    lab.write("w", 0, b"x").unwrap();
    lab.close("w").unwrap();
    let user = |lab: &mut Lab, mode| {
        let who = Credentials::new(1000, 1000, Vec::new());
        lab.call(b, |mount| Box::pin(mount.open(who, ino, mode)))
            .map(|_| ())
    };
    assert_eq!(user(&mut lab, READ), Ok(()));
    assert_eq!(user(&mut lab, RW), Err(Failure::Errno(libc::EACCES)));
    chmod(&mut lab, a, ino, 0o600).unwrap();
    assert_eq!(user(&mut lab, READ), Err(Failure::Errno(libc::EACCES)));
}

#[test]
fn a_file_that_is_removed_gives_its_space_back_whoever_removes_it() {
    let mut lab = Lab::new();
    let (a, b) = (lab.a, lab.b);
    let all = free(&mut lab);
    make(&mut lab, a, "f", 4096).unwrap();
    read(&mut lab, a, "f", 4096).unwrap();
    assert_eq!(cost(&mut lab, a, |lab| lab.unlink(a, "f")), 1);
    assert_eq!(free(&mut lab), all);
    // Both hosts keep it, and one of them removes it.
    make(&mut lab, a, "f", 4096).unwrap();
    read(&mut lab, b, "f", 4096).unwrap();
    lab.unlink(b, "f").unwrap();
    assert_eq!(free(&mut lab), all);
    // A name takes another one's place.
    make(&mut lab, a, "f", 4096).unwrap();
    make(&mut lab, a, "g", 4096).unwrap();
    assert_eq!(cost(&mut lab, a, |lab| rename(lab, a, "f", "g")), 1);
    // The service keeps what was replaced for a second.
    lab.sim.pass_by(Duration::from_secs(2));
    assert_eq!(free(&mut lab), all - 4096);
    lab.unlink(a, "g").unwrap();
    assert_eq!(free(&mut lab), all);
}

#[test]
fn what_is_open_outlives_its_name_and_is_not_kept() {
    let mut lab = Lab::new();
    let (a, b) = (lab.a, lab.b);
    let all = free(&mut lab);
    for remover in [a, b] {
        make(&mut lab, a, "f", 4096).unwrap();
        lab.open(a, "f", READ, "open").unwrap();
        lab.unlink(remover, "f").unwrap();
        assert_eq!(lab.read("open", 0, 4096).unwrap(), pattern(4096, 3));
        assert_eq!(free(&mut lab), all - 4096);
        lab.close("open").unwrap();
        assert_eq!(free(&mut lab), all);
    }
}

#[test]
fn room_that_is_not_written_goes_back() {
    let mut lab = Lab::new();
    let a = lab.a;
    let all = free(&mut lab);
    // Nothing is written.
    lab.create(a, "empty").unwrap();
    let ino = lab.open["empty"].1;
    lab.close("empty").unwrap();
    rest(&mut lab);
    assert_eq!((allocated(&mut lab, a, ino), free(&mut lab)), (0, all));
    // The first write is further on.
    lab.create(a, "sparse").unwrap();
    let ino = lab.open["sparse"].1;
    lab.write("sparse", 3 * 4096, b"x").unwrap();
    lab.write("sparse", 4096, b"x").unwrap();
    lab.close("sparse").unwrap();
    assert_eq!(allocated(&mut lab, a, ino), 2 * 4096);
    // It gets a size.
    for (size, allocates) in [(0, 0), (1 << 20, 0)] {
        lab.create(a, "sized").unwrap();
        let ino = lab.open["sized"].1;
        let change = SetAttr {
            size: Some(size),
            ..SetAttr::default()
        };
        let sized = lab.call(a, |mount| {
            Box::pin(mount.setattr(Credentials::root(), ino, change, None))
        });
        sized.unwrap();
        lab.close("sized").unwrap();
        assert_eq!(allocated(&mut lab, a, ino), allocates, "{size}");
        lab.unlink(a, "sized").unwrap();
    }
    // A byte of it is written.
    lab.create(a, "byte").unwrap();
    let ino = lab.open["byte"].1;
    lab.write("byte", 4095, b"x").unwrap();
    lab.write("byte", 4 * 4096, b"x").unwrap();
    lab.close("byte").unwrap();
    assert_eq!(allocated(&mut lab, a, ino), 2 * 4096);
    lab.open(a, "byte", READ, "byte").unwrap();
    assert_eq!(lab.read("byte", 4094, 2).unwrap(), [0, b'x']);
}

/// Another host may have written where the maker of a file did not, committed or not.
#[test]
fn room_that_another_host_wrote_to_stays() {
    for committed in [true, false] {
        let mut lab = Lab::new();
        let (a, b) = (lab.a, lab.b);
        lab.create(a, "f").unwrap();
        lab.open(b, "f", RW, "b").unwrap();
        lab.write("b", 0, &pattern(3000, 3)).unwrap();
        if committed {
            lab.fsync("b").unwrap();
        }
        lab.write("f", 9 * 4096, b"x").unwrap();
        lab.close("f").unwrap();
        lab.close("b").unwrap();
        lab.open(a, "f", READ, "f").unwrap();
        assert_eq!(lab.read("f", 0, 3000).unwrap(), pattern(3000, 3), "{committed}");
        assert_eq!(lab.read("f", 9 * 4096, 9).unwrap(), b"x");
    }
}

/// A program is killed while the room that it does not use goes back, and another one writes there.
#[test]
fn room_that_goes_back_late_takes_no_later_write_with_it() {
    let mut lab = Lab::new();
    lab.sim = Simulation::new(Rules {
        arena: ARENA,
        seed: 7,
        pace: Pace::Latency {
            min: Duration::from_millis(1),
            max: Duration::from_millis(1),
            queues: 1,
        },
        lease: LEASE,
        prompt: true,
        leases: true,
    });
    let a = lab.sim.add_host();
    (lab.a, lab.b) = (a, a);
    lab.create(a, "f").unwrap();
    let handle = lab.open["f"].2;
    let buffer = lab.sim.buffer(a, b"x").unwrap();
    let given_up = lab.call(a, |mount| {
        Box::pin(async move {
            let write = mount.clone().write(handle, 8 * 4096, buffer, false);
            let moment = Duration::from_micros(100);
            Ok(mount.executor().within(moment, write).await.is_none())
        })
    });
    assert_eq!(given_up, Ok(true));
    lab.write("f", 0, &pattern(3000, 3)).unwrap();
    lab.close("f").unwrap();
    rest(&mut lab);
    lab.open(a, "f", READ, "f").unwrap();
    assert_eq!(lab.read("f", 0, 3000).unwrap(), pattern(3000, 3));
}

/// Who changes nothing prepares a write where a program has the file open for writing, and else needs the right to it.
#[test]
fn a_kept_open_is_no_right_to_change_what_it_changes() {
    let mut lab = Lab::new();
    let a = lab.a;
    make(&mut lab, a, "f", 4096).unwrap();
    let ino = look(&mut lab, a, ROOT, "f").unwrap().ino;
    chmod(&mut lab, a, ino, 0o4755).unwrap();
    let by_other = |lab: &mut Lab| {
        let who = Credentials::new(1000, 1000, Vec::new());
        let nothing = SetAttr::default();
        let changed = lab.call(a, |mount| Box::pin(mount.setattr(who, ino, nothing, None)));
        changed.map(|_| ())
    };
    assert_eq!(by_other(&mut lab), Err(Failure::Errno(libc::EPERM)));
    lab.open(a, "f", RW, "f").unwrap();
    assert_eq!(by_other(&mut lab), Ok(()));
}

/// Whatever of the call's way fails: what it was to give back is given back, and nothing else.
#[test]
fn an_open_that_a_lost_call_was_to_give_back_is_given_back_once() {
    for at in 1.. {
        let mut lab = Lab::new();
        let a = lab.a;
        let all = free(&mut lab);
        make(&mut lab, a, "f", 4096).unwrap();
        read(&mut lab, a, "f", 4096).unwrap();
        lab.sim.sim().fault_at(at, Fault::Disconnect);
        let removed = lab.unlink(a, "f");
        if lab.sim.sim().fault_is_pending() {
            assert!(at > 2, "the call met no fault");
            return;
        }
        assert_eq!(removed, Ok(()), "{at}");
        lab.sim.pass_by(Duration::from_secs(3));
        assert_eq!(free(&mut lab), all, "{at}");
        make(&mut lab, a, "f", 4096).unwrap();
        read(&mut lab, a, "f", 4096).unwrap();
    }
}

/// Most opens that are kept.
const KEPT: usize = 4096;

/// The oldest one goes with the call that opens one more.
#[test]
fn one_open_more_than_are_kept_costs_no_call_of_its_own() {
    let mut lab = Lab::new();
    lab.sim = Simulation::new(Rules {
        arena: 2 * KEPT as u64 * GRANULE,
        seed: 7,
        pace: Pace::AtOnce,
        lease: LEASE,
        prompt: true,
        leases: true,
    });
    (lab.a, lab.b) = (lab.sim.add_host(), lab.sim.add_host());
    let host = lab.a;
    let names: Vec<&'static str> = (0..KEPT + 50).map(|at| &*format!("f{at}").leak()).collect();
    for name in &names {
        make(&mut lab, host, name, 100).unwrap();
    }
    let more = cost(&mut lab, host, |lab| make(lab, host, "more", 100));
    assert_eq!(more, 2, "made and committed");
    // It was given back, and is opened anew, which gives another one back.
    rest(&mut lab);
    assert_eq!(cost(&mut lab, host, |lab| read(lab, host, names[0], 100)), 1);
    assert_eq!(
        cost(&mut lab, host, |lab| read(lab, host, "more", 100)),
        1,
        "its access time"
    );
    assert_eq!(cost(&mut lab, host, |lab| read(lab, host, "more", 100)), 0);
    // Nothing is left of any when they are removed.
    for name in names.iter().chain([&"more"]) {
        lab.unlink(host, name).unwrap();
    }
    assert_eq!(free(&mut lab), 2 * KEPT as u64 * GRANULE);
}
