//! A node that dies and comes back with what its store had.

use super::sweep::lab::{Failure, Lab, RW, pattern};

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
    assert!(
        read == Ok(Vec::new()) || read == Err(Failure::Errno(libc::EIO)),
        "{read:?}"
    );
    assert!(lab.node_died);
}
