//! Directories that are listed without a call, and never other than they are.

use super::{ABSENT, calls, chmod, look, mkdir, stat};
use crate::handler::HandleId;
use crate::handler::testing::HostId;
use crate::handler::tests::sweep::lab::{Did, Failure, LEASE, Lab, ROOT, RW};
use crate::options::AccessTimes;
use rdmafs_meta::attr::FileKind;
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::id::InodeId;
use rdmafs_meta::time::AccessTime;
use rdmafs_meta::wire::{DirEntry, NewInode, RenameMode};
use std::time::Duration;

const PAGE: u32 = 256;
const DENIED: Did<String> = Err(Failure::Errno(libc::EACCES));

fn user() -> Credentials {
    Credentials::new(1000, 1000, Vec::new())
}

fn open_as(lab: &mut Lab, host: HostId, who: Credentials, ino: InodeId) -> Did<HandleId> {
    lab.call(host, |mount| Box::pin(mount.opendir(who, ino)))
}

fn page(lab: &mut Lab, host: HostId, handle: HandleId, (after, limit): (u64, u32)) -> Did<Vec<DirEntry>> {
    lab.call(host, |mount| Box::pin(mount.readdir(handle, after, limit)))
}

fn pass(lab: &mut Lab, host: HostId, handle: HandleId, limit: u32) -> Did<Vec<DirEntry>> {
    let mut all: Vec<DirEntry> = Vec::new();
    loop {
        let after = all.last().map_or(0, |entry| entry.cookie);
        let entries = page(lab, host, handle, (after, limit))?;
        if entries.is_empty() {
            return Ok(all);
        }
        all.extend(entries);
    }
}

fn shown(entries: &[DirEntry]) -> String {
    let names = entries.iter().map(|entry| String::from_utf8_lossy(&entry.name));
    names.collect::<Vec<_>>().join(" ")
}

/// What is in the directory but "." and "..", and how many calls that took.
fn list_as(lab: &mut Lab, host: HostId, who: Credentials, ino: InodeId) -> (Did<String>, u64) {
    let before = calls(lab, host);
    let listed = open_as(lab, host, who, ino).and_then(|handle| {
        let entries = pass(lab, host, handle, PAGE);
        lab.call(host, |mount| Box::pin(mount.releasedir(handle)))?;
        entries
    });
    let shown = listed.map(|entries| shown(&entries[entries.len().min(2)..]));
    (shown, calls(lab, host) - before)
}

fn list(lab: &mut Lab, host: HostId, ino: InodeId) -> (String, u64) {
    let (shown, calls) = list_as(lab, host, Credentials::root(), ino);
    (shown.expect("root may list everything"), calls)
}

fn make(lab: &mut Lab, host: HostId, parent: InodeId, name: &str, what: NewInode) -> InodeId {
    let name = name.as_bytes().to_vec();
    let made = lab.call(host, |mount| {
        Box::pin(mount.make(Credentials::root(), parent, name, what, 0o755))
    });
    made.expect("a new name").attr.ino
}

fn touch(lab: &mut Lab, host: HostId, parent: InodeId, name: &str) -> InodeId {
    make(lab, host, parent, name, NewInode::File { open: false })
}

fn unlink(lab: &mut Lab, host: HostId, parent: InodeId, name: &str) {
    let name = name.as_bytes().to_vec();
    lab.call(host, |mount| {
        Box::pin(mount.unlink(Credentials::root(), parent, name))
    })
    .unwrap();
}

fn rmdir(lab: &mut Lab, host: HostId, parent: InodeId, name: &str) {
    let name = name.as_bytes().to_vec();
    lab.call(host, |mount| {
        Box::pin(mount.rmdir(Credentials::root(), parent, name))
    })
    .unwrap();
}

fn rename(lab: &mut Lab, host: HostId, from: (InodeId, &str), to: (InodeId, &str), mode: RenameMode) {
    let (from, to) = ((from.0, from.1.into()), (to.0, to.1.into()));
    lab.call(host, |mount| {
        Box::pin(mount.rename(Credentials::root(), from, to, mode))
    })
    .unwrap();
}

/// A directory of host A's with these files.
fn directory(lab: &mut Lab, names: &[&str]) -> InodeId {
    let a = lab.a;
    let ino = mkdir(lab, a, "d");
    names.iter().for_each(|name| {
        touch(lab, a, ino, name);
    });
    // Its access time is renewed by the first listing, and not by the next one.
    lab.sim.pass_by(Duration::from_secs(1));
    ino
}

/// Access times renew nothing: what is listed depends on leases alone.
fn leave_access_times_alone(lab: &Lab, host: HostId) {
    let (files, directories) = (AccessTime::Relative, AccessTime::Never);
    lab.sim
        .mount(host)
        .remount(false, AccessTimes { files, directories });
}

#[test]
fn what_was_listed_here_is_listed_without_a_call() {
    let mut lab = Lab::new();
    let b = lab.b;
    let ino = directory(&mut lab, &["x", "y"]);
    assert_eq!(list(&mut lab, b, ino), ("x y".into(), 1), "its only page");
    let answered = lab.sim.mount(b).client.leases.status().answered;
    assert_eq!(list(&mut lab, b, ino), ("x y".into(), 0));
    assert_eq!(list_as(&mut lab, b, user(), ino), (Ok("x y".into()), 0));
    assert!(lab.sim.mount(b).client.leases.status().answered > answered);
}

#[test]
fn a_directory_of_many_pages_is_read_once() {
    let mut lab = Lab::new();
    let b = lab.b;
    let names: Vec<String> = (0..300).map(|number| number.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let ino = directory(&mut lab, &names);
    let all = names.join(" ");
    assert_eq!(list(&mut lab, b, ino), (all.clone(), 2));
    assert_eq!(list(&mut lab, b, ino), (all, 0));
}

/// Whatever the size of the pages.
#[test]
fn what_is_held_is_shown_as_the_service_shows_it() {
    let mut lab = Lab::new();
    let (a, b) = (lab.a, lab.b);
    let ino = directory(&mut lab, &["x", "y", "z"]);
    make(&mut lab, a, ino, "s", NewInode::Directory);
    leave_access_times_alone(&lab, b);
    let handle = open_as(&mut lab, b, Credentials::root(), ino).unwrap();
    let first = pass(&mut lab, b, handle, PAGE).unwrap();
    assert_eq!(shown(&first), ". .. x y z s");
    assert_eq!(first[1].attr.ino, ROOT);
    assert_eq!(first[5].attr.kind, FileKind::Directory);
    let before = calls(&lab, b);
    for limit in [1, 2, 3, 6, PAGE] {
        assert_eq!(pass(&mut lab, b, handle, limit).as_ref(), Ok(&first));
    }
    assert_eq!(calls(&lab, b), before);
}

#[test]
fn what_another_host_changes_in_a_directory_is_listed_at_once() {
    let mut lab = Lab::new();
    let (a, b) = (lab.a, lab.b);
    leave_access_times_alone(&lab, b);
    let ino = directory(&mut lab, &["x"]);
    let listed = |lab: &mut Lab, wanted: &str| {
        assert_eq!(list(lab, b, ino), (wanted.into(), 1));
        assert_eq!(list(lab, b, ino), (wanted.into(), 0));
    };
    listed(&mut lab, "x");
    touch(&mut lab, a, ino, "y");
    listed(&mut lab, "x y");
    unlink(&mut lab, a, ino, "x");
    listed(&mut lab, "y");
    rename(&mut lab, a, (ino, "y"), (ino, "z"), RenameMode::NoReplace);
    listed(&mut lab, "z");
    let below = make(&mut lab, a, ino, "s", NewInode::Directory);
    listed(&mut lab, "z s");
    rename(&mut lab, a, (ino, "z"), (below, "z"), RenameMode::Replace);
    listed(&mut lab, "s");
    rename(&mut lab, a, (below, "z"), (ino, "z"), RenameMode::Replace);
    listed(&mut lab, "s z");
    rmdir(&mut lab, a, ino, "s");
    listed(&mut lab, "z");
    unlink(&mut lab, a, ino, "z");
    listed(&mut lab, "");
    rmdir(&mut lab, a, ROOT, "d");
    let gone = Err(Failure::Errno(libc::ESTALE));
    assert_eq!(list_as(&mut lab, b, Credentials::root(), ino).0, gone);
}

#[test]
fn own_changes_of_a_directory_are_listed_at_once() {
    let mut lab = Lab::new();
    let b = lab.b;
    leave_access_times_alone(&lab, b);
    let ino = directory(&mut lab, &["x"]);
    let listed = |lab: &mut Lab, wanted: &str| assert_eq!(list(lab, b, ino), (wanted.into(), 1));
    listed(&mut lab, "x");
    let file = touch(&mut lab, b, ino, "y");
    listed(&mut lab, "x y");
    unlink(&mut lab, b, ino, "x");
    listed(&mut lab, "y");
    rename(&mut lab, b, (ino, "y"), (ino, "z"), RenameMode::Replace);
    listed(&mut lab, "z");
    lab.call(b, |mount| {
        Box::pin(mount.link(Credentials::root(), file, ino, "l".into()))
    })
    .unwrap();
    listed(&mut lab, "z l");
    let below = make(&mut lab, b, ino, "s", NewInode::Directory);
    listed(&mut lab, "z l s");
    rename(&mut lab, b, (ino, "l"), (below, "l"), RenameMode::Replace);
    listed(&mut lab, "z s");
    rename(&mut lab, b, (ino, "z"), (ino, "s"), RenameMode::Exchange);
    listed(&mut lab, "z s");
    assert_eq!(look(&mut lab, b, ino, "s").unwrap().ino, file);
    rename(&mut lab, b, (ino, "s"), (ROOT, "out"), RenameMode::Replace);
    listed(&mut lab, "z");
}

#[test]
fn what_is_shown_of_an_entry_is_so_when_it_is_listed() {
    let mut lab = Lab::new();
    let (a, b) = (lab.a, lab.b);
    leave_access_times_alone(&lab, b);
    let ino = directory(&mut lab, &["x", "y"]);
    list(&mut lab, b, ino);
    let file = look(&mut lab, b, ino, "x").unwrap().ino;
    let handle = open_as(&mut lab, b, Credentials::root(), ino).unwrap();
    let mode = |lab: &mut Lab| pass(lab, b, handle, PAGE).unwrap()[2].attr.mode;
    chmod(&mut lab, b, file, 0o600).unwrap();
    assert_eq!(mode(&mut lab), 0o600);
    chmod(&mut lab, a, file, 0o640).unwrap();
    let before = calls(&lab, b);
    assert_eq!(mode(&mut lab), 0o640);
    assert_eq!((mode(&mut lab), calls(&lab, b) - before), (0o640, 1));
}

#[test]
fn who_may_not_read_a_directory_is_refused_at_once() {
    let mut lab = Lab::new();
    let (a, b) = (lab.a, lab.b);
    leave_access_times_alone(&lab, b);
    let ino = directory(&mut lab, &["x"]);
    for host in [a, b] {
        chmod(&mut lab, a, ino, 0o755).unwrap();
        assert_eq!(list_as(&mut lab, b, user(), ino).0, Ok("x".into()));
        assert_eq!(list_as(&mut lab, b, user(), ino), (Ok("x".into()), 0));
        chmod(&mut lab, host, ino, 0o711).unwrap();
        assert_eq!(list_as(&mut lab, b, user(), ino).0, DENIED);
        list(&mut lab, b, ino);
        assert_eq!(list(&mut lab, b, ino), ("x".into(), 0));
        assert_eq!(
            list_as(&mut lab, b, user(), ino),
            (DENIED, 1),
            "the service says no"
        );
    }
}

#[test]
fn a_directory_that_was_moved_has_another_parent() {
    let mut lab = Lab::new();
    let (a, b) = (lab.a, lab.b);
    leave_access_times_alone(&lab, b);
    let ino = directory(&mut lab, &["x"]);
    let other = mkdir(&mut lab, a, "other");
    let parent = |lab: &mut Lab| {
        let handle = open_as(lab, b, Credentials::root(), ino).unwrap();
        pass(lab, b, handle, PAGE).unwrap()[1].attr.ino
    };
    for (host, known) in [(a, true), (b, true), (b, false)] {
        assert_eq!((parent(&mut lab), parent(&mut lab)), (ROOT, ROOT));
        if !known {
            // A host that has forgotten the root knows no name there.
            chmod(&mut lab, a, ROOT, 0o777).unwrap();
            stat(&mut lab, b, ino).unwrap();
        }
        rename(&mut lab, host, (ROOT, "d"), (other, "d"), RenameMode::Replace);
        assert_eq!((parent(&mut lab), parent(&mut lab)), (other, other));
        rename(&mut lab, host, (other, "d"), (ROOT, "d"), RenameMode::Replace);
    }
}

/// A pass shows no name that was made after it began, also where the pages come from what is held.
#[test]
fn a_pass_over_what_is_held_ends_where_it_would_have_ended() {
    let mut lab = Lab::new();
    let (a, b) = (lab.a, lab.b);
    leave_access_times_alone(&lab, b);
    let ino = directory(&mut lab, &["x", "y"]);
    list(&mut lab, b, ino);
    let handle = open_as(&mut lab, b, Credentials::root(), ino).unwrap();
    let first = page(&mut lab, b, handle, (0, 3)).unwrap();
    assert_eq!(shown(&first), ". .. x");
    touch(&mut lab, a, ino, "z");
    assert_eq!(list(&mut lab, b, ino).0, "x y z");
    let rest = page(&mut lab, b, handle, (first[2].cookie, PAGE)).unwrap();
    assert_eq!(shown(&rest), "y");
    assert!(
        page(&mut lab, b, handle, (rest[0].cookie, PAGE))
            .unwrap()
            .is_empty()
    );
}

#[test]
fn access_times_of_directories_are_renewed_as_before() {
    let mut lab = Lab::new();
    let b = lab.b;
    let ino = directory(&mut lab, &["x"]);
    for (directories, cost) in [(AccessTime::Never, 0), (AccessTime::Strict, 1)] {
        let files = AccessTime::Relative;
        lab.sim
            .mount(b)
            .remount(false, AccessTimes { files, directories });
        list(&mut lab, b, ino);
        let before = stat(&mut lab, b, ino).unwrap().atime;
        lab.sim.pass_by(Duration::from_secs(1));
        assert!(list(&mut lab, b, ino).1 >= cost, "{directories:?}");
        let after = stat(&mut lab, b, ino).unwrap().atime;
        assert_eq!(after > before, cost > 0, "{directories:?}");
    }
}

#[test]
fn a_listing_is_not_believed_after_the_lease() {
    let mut lab = Lab::new();
    lab.patient = true;
    let (a, b) = (lab.a, lab.b);
    leave_access_times_alone(&lab, b);
    let ino = directory(&mut lab, &["x"]);
    list(&mut lab, b, ino);
    lab.sim.stop_host(b, true);
    lab.sim.pass_by(LEASE * 3);
    touch(&mut lab, a, ino, "y");
    lab.sim.stop_host(b, false);
    assert_eq!(list(&mut lab, b, ino).0, "x y");
}

#[test]
fn no_listing_is_held_over_a_new_connection() {
    let mut lab = Lab::new();
    let (a, b) = (lab.a, lab.b);
    leave_access_times_alone(&lab, b);
    let ino = directory(&mut lab, &["x"]);
    list(&mut lab, b, ino);
    for end in lab.sim.connections(b) {
        end.disconnect();
    }
    touch(&mut lab, a, ino, "y");
    assert_eq!(list(&mut lab, b, ino).0, "x y");
}

/// Bytes that nobody else knows of yet are in the size.
#[test]
fn a_listing_has_the_size_of_what_was_written_here() {
    let mut lab = Lab::new();
    let b = lab.b;
    leave_access_times_alone(&lab, b);
    lab.create(b, "f").unwrap();
    let size = |lab: &mut Lab| {
        let handle = open_as(lab, b, Credentials::root(), ROOT).unwrap();
        let entries = pass(lab, b, handle, PAGE).unwrap();
        entries[2].attr.size
    };
    assert_eq!((size(&mut lab), size(&mut lab)), (0, 0));
    lab.write("f", 0, &[7; 100]).unwrap();
    assert_eq!((size(&mut lab), size(&mut lab)), (100, 100));
    lab.close("f").unwrap();
    assert_eq!((size(&mut lab), size(&mut lab)), (100, 100));
    assert_eq!(look(&mut lab, b, ROOT, "g"), ABSENT);
    lab.open(b, "f", RW, "f").unwrap();
    lab.close("f").unwrap();
}
