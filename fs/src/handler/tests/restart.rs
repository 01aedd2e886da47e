//! A node that dies and comes back with what its store had.

use super::sweep::lab::{Failure, Lab, RW, pattern};
use crate::handler::OpenMode;
use crate::handler::testing::StoreFault;
use rdmafs_meta::attr::SetAttr;
use rdmafs_meta::cred::Credentials;
use std::time::Duration;

/// The end of the file is one of the things that may be lost: what lies past it is no hole.
#[test]
fn a_read_that_waits_for_a_node_without_those_bytes_gives_no_zeros() {
    let mut lab = Lab::new();
    lab.create(lab.a, "f").unwrap();
    lab.fsync("f").unwrap();
    lab.open(lab.b, "f", RW, "theirs").unwrap();
    lab.write("f", 0, &pattern(20_000, 1)).unwrap();
    assert_eq!(lab.read("f", 0, 20_000).unwrap(), pattern(20_000, 1));
    // It dies with the read on its way, and the size was never committed.
    lab.dies_at(1);
    let read = lab.read("f", 4096, 5000);
    let given = read.map(|bytes| bytes.len());
    assert!(
        given == Ok(0) || given == Err(Failure::Errno(libc::EIO)),
        "{given:?}"
    );
    assert!(lab.node_died);
}

/// What a commit says was true of bytes that are gone: it must not make the file longer.
#[test]
fn a_commit_that_waits_for_a_node_without_those_bytes_does_not_lengthen_the_file() {
    let mut lab = Lab::new();
    lab.create(lab.a, "f").unwrap();
    lab.fsync("f").unwrap();
    lab.write("f", 0, &pattern(20_000, 1)).unwrap();
    lab.dies_at(1);
    assert_eq!(lab.fsync("f"), Err(Failure::Errno(libc::EIO)), "they are lost");
    assert!(lab.node_died);
    assert_eq!(lab.fsync("f"), Ok(()));
    assert_eq!(lab.read("f", 0, 30_000).map(|bytes| bytes.len()), Ok(0));
}

/// The node comes back as it was before a truncate: what the handler heard of that must not make it doubt all that the node says now.
#[test]
fn a_truncate_that_died_with_the_node_leaves_a_file_that_answers() {
    let mut lab = Lab::new();
    lab.create(lab.a, "f").unwrap();
    lab.write("f", 0, &pattern(20_000, 1)).unwrap();
    lab.fsync("f").unwrap();
    let slow = StoreFault::Delay(Duration::from_secs(1000));
    lab.sim.store().fault_at(1, slow);
    let (host, ino, handle) = lab.open["f"];
    let change = SetAttr {
        size: Some(5000),
        ..SetAttr::default()
    };
    lab.call(host, |mount| {
        Box::pin(mount.setattr(Credentials::root(), ino, change, Some(handle)))
    })
    .unwrap();
    lab.patient = false;
    lab.dies_at(1);
    assert_eq!(
        lab.read("f", 0, 100),
        Err(Failure::Errno(libc::EIO)),
        "its bytes are lost"
    );
    assert!(lab.node_died);
    lab.write("f", 40_960, &pattern(100, 3)).unwrap();
    assert_eq!(lab.read("f", 40_960, 100).unwrap(), pattern(100, 3));
}

#[test]
fn an_fsync_of_a_file_that_died_with_the_node_says_so() {
    let mut lab = Lab::new();
    let slow = StoreFault::Delay(Duration::from_secs(1000));
    lab.sim.store().fault_at(1, slow);
    lab.create(lab.a, "f").unwrap();
    lab.dies_at(1);
    assert_eq!(lab.fsync("f"), Err(Failure::Errno(libc::ESTALE)));
    assert!(lab.node_died);
}

/// The place that was reserved died with the node, too: somebody else may have it now.
#[test]
fn an_append_whose_place_died_with_the_node_is_not_written_there() {
    const APPEND: OpenMode = OpenMode { append: true, ..RW };
    let mut refused = 0;
    for n in 1.. {
        let mut lab = Lab::new();
        lab.create(lab.a, "f").unwrap();
        lab.fsync("f").unwrap();
        lab.open(lab.a, "f", APPEND, "log").unwrap();
        let slow = StoreFault::Delay(Duration::from_secs(1000));
        lab.sim.store().fault_at(1, slow);
        lab.write("log", 0, &pattern(100, 1)).unwrap();
        lab.dies_at(n);
        let record = pattern(50, 2);
        let wrote = lab.write("log", 0, &record);
        if !lab.node_died {
            break;
        }
        let read = lab.read("f", 0, 1000);
        match wrote {
            Ok(()) => assert_eq!(read, Ok(record), "{n}"),
            Err(why) => {
                assert_eq!(why, Failure::Errno(libc::EIO), "{n}");
                assert_eq!(read, Ok(Vec::new()), "{n}");
                refused += 1;
            }
        }
    }
    assert!(refused > 0, "no attempt was in the middle of an append");
}
