//! A rename between whose two lookups another host renames the same name: the kernel would take it for done, since both lookups lead to one inode.

use super::{ABSENT, look, mkdir};
use crate::handler::testing::HostId;
use crate::handler::tests::sweep::lab::{Did, Failure, Lab, ROOT};
use rdmafs_meta::attr::Attr;
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::id::InodeId;
use rdmafs_meta::wire::RenameMode;

const STALE: Did<Attr> = Err(Failure::Errno(libc::ESTALE));

/// A lookup of the kernel's, for one of two threads.
fn look_by(lab: &mut Lab, thread: u32, host: HostId, name: &str) -> Did<Attr> {
    let name = name.as_bytes().to_vec();
    let found = lab.call(host, |mount| {
        Box::pin(mount.lookup_by(thread, Credentials::root(), ROOT, name))
    });
    found.map(|entry| entry.attr)
}

fn rename(lab: &mut Lab, host: HostId, from: &str, to: &str) {
    let (from, to) = (from.as_bytes().to_vec(), to.as_bytes().to_vec());
    lab.call(host, |mount| {
        Box::pin(mount.rename(Credentials::root(), (ROOT, from), (ROOT, to), RenameMode::Replace))
    })
    .expect("nobody else renames it");
}

fn link(lab: &mut Lab, host: HostId, ino: InodeId, to: &str) {
    let to = to.as_bytes().to_vec();
    lab.call(host, |mount| {
        Box::pin(mount.link(Credentials::root(), ino, ROOT, to))
    })
    .expect("a new name");
}

/// Whether thread 1 of host B hears that it was overtaken, while thread 2 does not, and only once.
fn is_overtaken(lab: &mut Lab, ino: InodeId) {
    let (a, b) = (lab.a, lab.b);
    assert_eq!(look_by(lab, 1, b, "new").unwrap().ino, ino);
    rename(lab, a, "new", "taken");
    assert_eq!(look_by(lab, 2, b, "taken").unwrap().ino, ino);
    assert_eq!(look_by(lab, 1, b, "taken"), STALE);
    // The kernel begins anew.
    assert_eq!(look_by(lab, 1, b, "new"), ABSENT);
    assert_eq!(look_by(lab, 1, b, "taken").unwrap().ino, ino);
    assert_eq!(look_by(lab, 1, b, "taken").unwrap().ino, ino);
}

#[test]
fn a_rename_that_another_host_overtakes_is_begun_anew() {
    let mut lab = Lab::new();
    let (a, b) = (lab.a, lab.b);
    lab.create(a, "new").unwrap();
    let ino = look(&mut lab, b, ROOT, "new").unwrap().ino;
    is_overtaken(&mut lab, ino);
}

#[test]
fn so_is_that_of_a_directory() {
    let mut lab = Lab::new();
    let a = lab.a;
    let ino = mkdir(&mut lab, a, "new");
    is_overtaken(&mut lab, ino);
}

#[test]
fn so_is_that_of_a_file_with_a_third_name() {
    let mut lab = Lab::new();
    let (a, b) = (lab.a, lab.b);
    lab.create(a, "new").unwrap();
    let ino = look(&mut lab, b, ROOT, "new").unwrap().ino;
    link(&mut lab, a, ino, "third");
    is_overtaken(&mut lab, ino);
}

#[test]
fn names_of_one_file_are_found_one_after_the_other() {
    let mut lab = Lab::new();
    let (a, b) = (lab.a, lab.b);
    lab.create(a, "one").unwrap();
    let ino = look(&mut lab, b, ROOT, "one").unwrap().ino;
    link(&mut lab, a, ino, "two");
    for name in ["one", "two", "one", "two", "two"] {
        assert_eq!(look_by(&mut lab, 1, b, name).unwrap().ino, ino);
    }
}

#[test]
fn a_lookup_between_them_makes_a_renamed_file_one_that_is_found() {
    let mut lab = Lab::new();
    let (a, b) = (lab.a, lab.b);
    lab.create(a, "one").unwrap();
    let ino = look_by(&mut lab, 1, b, "one").unwrap().ino;
    rename(&mut lab, a, "one", "two");
    assert_eq!(look_by(&mut lab, 1, b, "three"), ABSENT);
    assert_eq!(look_by(&mut lab, 1, b, "two").unwrap().ino, ino);
}
