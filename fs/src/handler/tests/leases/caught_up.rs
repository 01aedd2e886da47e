//! A directory whose names a host knows, and another host changes: one call says what changed, and everything else is still known.

use super::{ABSENT, calls, chmod, look, mkdir, stat};
use crate::handler::testing::HostId;
use crate::handler::tests::sweep::lab::{Did, Failure, Lab, ROOT};
use rdmafs_meta::attr::Attr;
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::id::InodeId;
use rdmafs_meta::wire::{NewInode, RenameMode, RequestKind};

/// A directory that host A made, with these many files, and that host B has listed.
fn listed(lab: &mut Lab, files: u32) -> InodeId {
    let (a, b) = (lab.a, lab.b);
    let directory = mkdir(lab, a, "d");
    for at in 0..files {
        make(lab, a, directory, &at.to_string());
    }
    list(lab, b, directory);
    assert_eq!(look(lab, b, ROOT, "d").unwrap().ino, directory);
    directory
}

fn make(lab: &mut Lab, host: HostId, parent: InodeId, name: &str) -> InodeId {
    let (name, what) = (name.as_bytes().to_vec(), NewInode::File { open: false });
    let made = lab.call(host, |mount| {
        Box::pin(mount.make(Credentials::root(), parent, name, what, 0o644))
    });
    made.expect("a new name").attr.ino
}

fn remove(lab: &mut Lab, host: HostId, parent: InodeId, name: &str) {
    let name = name.as_bytes().to_vec();
    lab.call(host, |mount| {
        Box::pin(mount.unlink(Credentials::root(), parent, name))
    })
    .unwrap();
}

fn list(lab: &mut Lab, host: HostId, directory: InodeId) {
    let handle = lab.call(host, |mount| {
        Box::pin(mount.opendir(Credentials::root(), directory))
    });
    let handle = handle.unwrap();
    let mut after = 0;
    loop {
        let page = lab
            .call(host, |mount| Box::pin(mount.readdir(handle, after, 1000)))
            .unwrap();
        let Some(last) = page.last() else { break };
        after = last.cookie;
    }
    lab.call(host, |mount| Box::pin(mount.releasedir(handle)))
        .unwrap();
}

fn caught_up(lab: &Lab, host: HostId) -> u64 {
    let kinds = lab.sim.mount(host).client.counter.traffic().kinds;
    kinds.get(RequestKind::CatchUp.name()).copied().unwrap_or(0)
}

/// What is done, how many calls that costs the host, and how many of them are to catch up.
fn costs<T>(lab: &mut Lab, host: HostId, what: impl FnOnce(&mut Lab) -> T) -> (T, u64, u64) {
    let (before, caught_up_before) = (calls(lab, host), caught_up(lab, host));
    let done = what(lab);
    (
        done,
        calls(lab, host) - before,
        caught_up(lab, host) - caught_up_before,
    )
}

/// Looks up the directory, all its files and a name that is not there.
fn pass(lab: &mut Lab, host: HostId, files: u32) {
    let directory = look(lab, host, ROOT, "d").unwrap().ino;
    for at in 0..files {
        look(lab, host, directory, &at.to_string()).unwrap();
    }
    assert_eq!(look(lab, host, directory, "none"), ABSENT);
}

#[test]
fn a_name_that_another_host_makes_costs_one_call_for_the_whole_directory() {
    let mut lab = Lab::new();
    let (a, b) = (lab.a, lab.b);
    let directory = listed(&mut lab, 50);
    pass(&mut lab, b, 50);
    assert_eq!(costs(&mut lab, b, |lab| pass(lab, b, 50)), ((), 0, 0));
    for at in 50..53 {
        make(&mut lab, a, directory, &at.to_string());
        assert_eq!(costs(&mut lab, b, |lab| pass(lab, b, at + 1)), ((), 1, 1));
        assert_eq!(costs(&mut lab, b, |lab| pass(lab, b, at + 1)), ((), 0, 0));
    }
    remove(&mut lab, a, directory, "7");
    let (found, calls, _) = costs(&mut lab, b, |lab| look(lab, b, directory, "7"));
    assert_eq!((found, calls), (ABSENT, 1));
    assert_eq!(costs(&mut lab, b, |lab| stat(lab, b, directory)).1, 0);
}

#[test]
fn so_does_a_name_that_is_looked_for_first_and_the_directory_itself() {
    let mut lab = Lab::new();
    let (a, b) = (lab.a, lab.b);
    let directory = listed(&mut lab, 3);
    let made = make(&mut lab, a, directory, "new");
    let found = costs(&mut lab, b, |lab| look(lab, b, directory, "new").unwrap().ino);
    assert_eq!(found, (made, 1, 1));
    make(&mut lab, a, directory, "newer");
    let size = costs(&mut lab, b, |lab| stat(lab, b, directory).unwrap().ino);
    assert_eq!(size, (directory, 1, 1));
    assert_eq!(costs(&mut lab, b, |lab| pass(lab, b, 3)), ((), 0, 0));
}

#[test]
fn names_that_another_host_moves_show_at_once() {
    let mut lab = Lab::new();
    let (a, b) = (lab.a, lab.b);
    let directory = listed(&mut lab, 3);
    let first = look(&mut lab, b, directory, "0").unwrap().ino;
    let second = look(&mut lab, b, directory, "1").unwrap().ino;
    let moves = |lab: &mut Lab, from: &str, to: &str, mode| {
        let (from, to) = (from.as_bytes().to_vec(), to.as_bytes().to_vec());
        lab.call(a, |mount| {
            Box::pin(mount.rename(Credentials::root(), (directory, from), (directory, to), mode))
        })
        .unwrap();
    };
    let found = |lab: &mut Lab, name: &str| look(lab, b, directory, name).map(|attr| attr.ino);
    let absent = Err(Failure::Errno(libc::ENOENT));
    moves(&mut lab, "0", "1", RenameMode::Exchange);
    assert_eq!(
        [found(&mut lab, "0"), found(&mut lab, "1")],
        [Ok(second), Ok(first)]
    );
    moves(&mut lab, "0", "new", RenameMode::Replace);
    assert_eq!(
        [found(&mut lab, "0"), found(&mut lab, "new")],
        [absent, Ok(second)]
    );
    moves(&mut lab, "new", "1", RenameMode::Replace);
    assert_eq!(
        [found(&mut lab, "new"), found(&mut lab, "1")],
        [absent, Ok(second)]
    );
    moves(&mut lab, "1", "left", RenameMode::Whiteout);
    assert_eq!(found(&mut lab, "left"), Ok(second));
    assert_ne!(found(&mut lab, "1"), Ok(second));
}

/// What this host changes itself comes along.
#[test]
fn both_hosts_change_one_directory_in_turn() {
    let mut lab = Lab::new();
    let (a, b) = (lab.a, lab.b);
    let directory = listed(&mut lab, 3);
    for at in 3..30 {
        let (host, other) = if at % 2 == 0 { (a, b) } else { (b, a) };
        make(&mut lab, host, directory, &at.to_string());
        pass(&mut lab, other, at + 1);
        pass(&mut lab, host, at + 1);
    }
    assert_eq!(costs(&mut lab, b, |lab| pass(lab, b, 30)), ((), 0, 0));
}

#[test]
fn a_directory_in_which_too_much_changed_is_asked_as_ever() {
    let mut lab = Lab::new();
    let (a, b) = (lab.a, lab.b);
    let directory = listed(&mut lab, 3);
    for at in 3..140 {
        make(&mut lab, a, directory, &at.to_string());
    }
    // What is asked for in vain is not asked for another time.
    assert_eq!(
        costs(&mut lab, b, |lab| look(lab, b, directory, "x")),
        (ABSENT, 2, 1)
    );
    assert_eq!(
        costs(&mut lab, b, |lab| look(lab, b, directory, "y")),
        (ABSENT, 1, 0)
    );
}

/// The directory's names are known here, but not to everybody.
#[test]
fn who_may_not_search_the_directory_is_refused_by_the_service() {
    let mut lab = Lab::new();
    let (a, b) = (lab.a, lab.b);
    let directory = listed(&mut lab, 3);
    chmod(&mut lab, a, directory, 0o700).unwrap();
    let look_as = |lab: &mut Lab, uid: u32| -> Did<Attr> {
        let who = Credentials::new(uid, uid, Vec::new());
        let found = lab.call(b, |mount| Box::pin(mount.lookup(who, directory, "1".into())));
        found.map(|entry| entry.attr)
    };
    let denied = Err(Failure::Errno(libc::EACCES));
    assert_eq!(
        costs(&mut lab, b, |lab| look_as(lab, 1000)),
        (denied.clone(), 2, 1)
    );
    assert_eq!(costs(&mut lab, b, |lab| look_as(lab, 1000)), (denied, 1, 0));
    let (found, calls, _) = costs(&mut lab, b, |lab| look_as(lab, 0));
    assert_eq!((found.is_ok(), calls), (true, 1));
    assert_eq!(costs(&mut lab, b, |lab| look_as(lab, 0)).1, 0);
}

/// Nothing of an earlier connection is gone on from.
#[test]
fn nothing_is_caught_up_over_a_new_connection() {
    let mut lab = Lab::new();
    let (a, b) = (lab.a, lab.b);
    let directory = listed(&mut lab, 3);
    for end in lab.sim.connections(b) {
        end.disconnect();
    }
    remove(&mut lab, a, directory, "1");
    assert_eq!(look(&mut lab, b, directory, "1"), ABSENT);
    assert_eq!(caught_up(&lab, b), 0);
}

/// A program that makes files has each name looked up first.
#[test]
fn a_small_directory_in_which_names_are_looked_for_in_vain_is_known_as_a_whole() {
    for (files, known) in [(20, true), (300, false)] {
        let mut lab = Lab::new();
        let (a, b) = (lab.a, lab.b);
        let directory = mkdir(&mut lab, a, "d");
        for at in 0..files {
            make(&mut lab, a, directory, &at.to_string());
        }
        let read = stat(&mut lab, a, directory).unwrap().atime;
        look(&mut lab, b, ROOT, "d").unwrap();
        let misses = |lab: &mut Lab, count: u32| {
            for at in 0..count {
                assert_eq!(look(lab, b, directory, &format!("none-{count}-{at}")), ABSENT);
            }
        };
        let (_, first, _) = costs(&mut lab, b, |lab| misses(lab, 3));
        assert_eq!(first, 4, "three names, and the directory");
        let (_, more, _) = costs(&mut lab, b, |lab| misses(lab, 100));
        assert_eq!(more, if known { 0 } else { 100 });
        assert_eq!(
            stat(&mut lab, a, directory).unwrap().atime,
            read,
            "nobody has listed it"
        );
    }
}
