//! Names and attributes that are held by lease: answered without a call, and never other than they are.

use super::sweep::lab::{Did, Failure, LEASE, Lab, ROOT, pattern};
use crate::handler::testing::HostId;
use rdmafs_meta::attr::{Attr, SetAttr};
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::id::InodeId;
use rdmafs_meta::wire::{NewInode, RenameMode};

pub(super) fn look(lab: &mut Lab, host: HostId, parent: InodeId, name: &str) -> Did<Attr> {
    let name = name.as_bytes().to_vec();
    let found = lab.call(host, |mount| {
        Box::pin(mount.lookup(Credentials::root(), parent, name))
    });
    found.map(|entry| entry.attr)
}

pub(super) fn stat(lab: &mut Lab, host: HostId, ino: InodeId) -> Did<Attr> {
    let entry = lab.call(host, |mount| Box::pin(mount.getattr(Credentials::root(), ino)));
    entry.map(|entry| entry.attr)
}

pub(super) fn chmod(lab: &mut Lab, host: HostId, ino: InodeId, mode: u16) -> Did<()> {
    let change = SetAttr {
        mode: Some(mode),
        ..SetAttr::default()
    };
    let changed = lab.call(host, |mount| {
        Box::pin(mount.setattr(Credentials::root(), ino, change, None))
    });
    changed.map(|_| ())
}

fn mkdir(lab: &mut Lab, host: HostId, name: &str) -> InodeId {
    let name = name.as_bytes().to_vec();
    let made = lab.call(host, |mount| {
        Box::pin(mount.make(Credentials::root(), ROOT, name, NewInode::Directory, 0o755))
    });
    made.expect("a new name").attr.ino
}

pub(super) fn calls(lab: &Lab, host: HostId) -> u64 {
    lab.sim.mount(host).client.counter.traffic().count
}

mod caught_up;
mod contended;
mod extras;
mod listing;
mod overtaken;

const ABSENT: Did<Attr> = Err(Failure::Errno(libc::ENOENT));

#[test]
fn what_is_held_is_answered_without_a_call() {
    let mut lab = Lab::new();
    lab.create(lab.a, "f").unwrap();
    lab.close("f").unwrap();
    let b = lab.b;
    let file = look(&mut lab, b, ROOT, "f").unwrap();
    assert_eq!(look(&mut lab, b, ROOT, "g"), ABSENT);
    let before = calls(&lab, b);
    for _ in 0..10 {
        assert_eq!(look(&mut lab, b, ROOT, "f"), Ok(file.clone()));
        assert_eq!(stat(&mut lab, b, file.ino), Ok(file.clone()));
        assert_eq!(look(&mut lab, b, ROOT, "g"), ABSENT);
    }
    assert_eq!(calls(&lab, b), before);
}

/// The service is not asked for each lookup, so the handler decides by what it holds as the service would.
#[test]
fn who_may_not_search_a_directory_is_answered_by_the_service() {
    let mut lab = Lab::new();
    let (a, b) = (lab.a, lab.b);
    let directory = mkdir(&mut lab, a, "d");
    let user = Credentials::new(1000, 1000, Vec::new());
    let look_as = |lab: &mut Lab, who: &Credentials| {
        let who = who.clone();
        let before = calls(lab, b);
        let found = lab.call(b, |mount| Box::pin(mount.lookup(who, directory, "x".into())));
        (found.map(|entry| entry.attr), calls(lab, b) - before)
    };
    assert_eq!(look_as(&mut lab, &user), (ABSENT, 1));
    assert_eq!(
        look_as(&mut lab, &user),
        (ABSENT, 1),
        "the directory's mode is not held"
    );
    assert_eq!(look_as(&mut lab, &Credentials::root()), (ABSENT, 0));
    stat(&mut lab, b, directory).unwrap();
    assert_eq!(look_as(&mut lab, &user), (ABSENT, 0));
    chmod(&mut lab, a, directory, 0o700).unwrap();
    let denied = Err(Failure::Errno(libc::EACCES));
    assert_eq!(look_as(&mut lab, &user), (denied.clone(), 1));
    stat(&mut lab, b, directory).unwrap();
    assert_eq!(look_as(&mut lab, &Credentials::root()).0, ABSENT);
    assert_eq!(look_as(&mut lab, &user), (denied, 1));
}

#[test]
fn what_another_host_changes_shows_at_once() {
    let mut lab = Lab::new();
    let (a, b) = (lab.a, lab.b);
    lab.create(a, "f").unwrap();
    let ino = look(&mut lab, b, ROOT, "f").unwrap().ino;
    chmod(&mut lab, a, ino, 0o600).unwrap();
    assert_eq!(stat(&mut lab, b, ino).unwrap().mode, 0o600);
    lab.write("f", 0, &pattern(5000, 1)).unwrap();
    lab.fsync("f").unwrap();
    assert_eq!(stat(&mut lab, b, ino).unwrap().size, 5000);
    assert_eq!(look(&mut lab, b, ROOT, "g"), ABSENT);
    lab.call(a, |mount| {
        Box::pin(mount.rename(
            Credentials::root(),
            (ROOT, "f".into()),
            (ROOT, "g".into()),
            RenameMode::Replace,
        ))
    })
    .unwrap();
    assert_eq!(look(&mut lab, b, ROOT, "f"), ABSENT);
    assert_eq!(look(&mut lab, b, ROOT, "g").unwrap().ino, ino);
    lab.close("f").unwrap();
    lab.unlink(a, "g").unwrap();
    assert_eq!(look(&mut lab, b, ROOT, "g"), ABSENT);
    assert_eq!(stat(&mut lab, b, ino), Err(Failure::Errno(libc::ESTALE)));
}

#[test]
fn own_changes_are_held() {
    let mut lab = Lab::new();
    let a = lab.a;
    let directory = mkdir(&mut lab, a, "d");
    let before = calls(&lab, a);
    assert_eq!(look(&mut lab, a, directory, "x"), ABSENT);
    assert_eq!(look(&mut lab, a, ROOT, "d").unwrap().ino, directory);
    assert_eq!(calls(&lab, a), before, "a directory that was made here is empty");
    chmod(&mut lab, a, directory, 0o700).unwrap();
    let before = calls(&lab, a);
    assert_eq!(stat(&mut lab, a, directory).unwrap().mode, 0o700);
    assert_eq!(calls(&lab, a), before);
}

/// A host that stood still answers nothing of what it held before.
#[test]
fn what_was_held_is_not_believed_after_the_lease() {
    let mut lab = Lab::new();
    lab.patient = true;
    let (a, b) = (lab.a, lab.b);
    lab.create(a, "f").unwrap();
    lab.close("f").unwrap();
    let ino = look(&mut lab, b, ROOT, "f").unwrap().ino;
    lab.sim.stop_host(b, true);
    lab.sim.pass_by(LEASE * 3);
    chmod(&mut lab, a, ino, 0o600).unwrap();
    lab.sim.stop_host(b, false);
    assert_eq!(stat(&mut lab, b, ino).unwrap().mode, 0o600);
}

/// Whoever changes something waits for a silent host's lease, and no longer.
#[test]
fn a_change_waits_for_a_silent_host_until_its_lease_is_over() {
    let mut lab = Lab::new();
    let (a, b) = (lab.a, lab.b);
    lab.create(a, "f").unwrap();
    let ino = look(&mut lab, b, ROOT, "f").unwrap().ino;
    lab.sim.stop_host(b, true);
    let since = lab.sim.now();
    chmod(&mut lab, a, ino, 0o600).unwrap();
    assert!(lab.sim.now() - since <= LEASE * 2);
    lab.sim.stop_host(b, false);
    assert_eq!(stat(&mut lab, b, ino).unwrap().mode, 0o600);
}

/// The notices of a connection that broke may be lost.
#[test]
fn nothing_is_held_over_a_new_connection() {
    let mut lab = Lab::new();
    let (a, b) = (lab.a, lab.b);
    lab.create(a, "f").unwrap();
    let ino = look(&mut lab, b, ROOT, "f").unwrap().ino;
    for end in lab.sim.connections(b) {
        end.disconnect();
    }
    chmod(&mut lab, a, ino, 0o600).unwrap();
    assert_eq!(stat(&mut lab, b, ino).unwrap().mode, 0o600);
}
