//! Extended attributes and targets of symbolic links that are held by lease.

use super::{calls, chmod, look, stat};
use crate::handler::OpenMode;
use crate::handler::XattrData;
use crate::handler::testing::{HostId, Rules, Simulation};
use crate::handler::tests::sweep::lab::{ARENA, Did, Failure, Lab, ROOT, RW};
use crate::options::AccessTimes;
use rdmafs_meta::attr::{SetAttr, SetTime};
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::id::InodeId;
use rdmafs_meta::time::{AccessTime, Timestamp};
use rdmafs_meta::wire::{NewInode, XattrMode};
use rdmafs_rdma::sim::Pace;
use std::time::Duration;

const ROOM: u32 = 1 << 16;
const NONE: Did<XattrData> = Err(Failure::Errno(libc::ENODATA));
const CAPABILITY: &str = "security.capability";

/// Somebody whom a kernel has judged: nobody knows who he is.
fn judged() -> Credentials {
    Credentials {
        kernel_decides: true,
        ..Credentials::root()
    }
}

fn get_as(lab: &mut Lab, host: HostId, who: Credentials, (ino, name): (InodeId, &str)) -> Did<XattrData> {
    let name = name.as_bytes().to_vec();
    lab.call(host, |mount| Box::pin(mount.getxattr(who, ino, name, ROOM)))
}

fn get(lab: &mut Lab, host: HostId, ino: InodeId, name: &str) -> Did<XattrData> {
    get_as(lab, host, Credentials::root(), (ino, name))
}

fn list_as(lab: &mut Lab, host: HostId, who: Credentials, ino: InodeId) -> Did<XattrData> {
    lab.call(host, |mount| Box::pin(mount.listxattr(who, ino, ROOM)))
}

fn list(lab: &mut Lab, host: HostId, ino: InodeId) -> Did<XattrData> {
    list_as(lab, host, judged(), ino)
}

fn set(lab: &mut Lab, host: HostId, (ino, name): (InodeId, &str), value: &[u8]) {
    let (name, value, mode) = (name.as_bytes().to_vec(), value.to_vec(), XattrMode::default());
    lab.call(host, |mount| {
        Box::pin(mount.setxattr(Credentials::root(), ino, name, value, mode))
    })
    .unwrap();
}

fn remove(lab: &mut Lab, host: HostId, ino: InodeId, name: &str) {
    let name = name.as_bytes().to_vec();
    lab.call(host, |mount| {
        Box::pin(mount.removexattr(Credentials::root(), ino, name))
    })
    .unwrap();
}

fn readlink(lab: &mut Lab, host: HostId, ino: InodeId) -> Did<Vec<u8>> {
    lab.call(host, |mount| Box::pin(mount.readlink(Credentials::root(), ino)))
}

fn bytes(bytes: &[u8]) -> Did<XattrData> {
    Ok(XattrData::Bytes(bytes.to_vec()))
}

/// What it does, and how many calls that costs the host.
fn costs<T>(lab: &mut Lab, host: HostId, what: impl FnOnce(&mut Lab) -> T) -> (T, u64) {
    let before = calls(lab, host);
    let done = what(lab);
    (done, calls(lab, host) - before)
}

/// A closed file, of which the second host knows the attributes.
fn file(lab: &mut Lab) -> InodeId {
    lab.create(lab.a, "f").unwrap();
    lab.close("f").unwrap();
    look(lab, lab.b, ROOT, "f").unwrap().ino
}

#[test]
fn a_second_reading_costs_no_call_and_what_another_host_changes_shows_at_once() {
    let mut lab = Lab::new();
    let (a, b) = (lab.a, lab.b);
    let ino = file(&mut lab);
    for value in [&b"one"[..], b"two", b""] {
        set(&mut lab, a, (ino, "user.a"), value);
        let read = |lab: &mut Lab| (get(lab, b, ino, "user.a"), list(lab, b, ino));
        let wanted = (bytes(value), bytes(b"user.a\0"));
        assert_eq!(costs(&mut lab, b, read), (wanted.clone(), 2));
        assert_eq!(costs(&mut lab, b, read), (wanted, 0));
    }
    remove(&mut lab, a, ino, "user.a");
    let read = |lab: &mut Lab| (get(lab, b, ino, "user.a"), list(lab, b, ino));
    assert_eq!(costs(&mut lab, b, read), ((NONE, bytes(b"")), 2));
    assert_eq!(costs(&mut lab, b, read), ((NONE, bytes(b"")), 0));
    set(&mut lab, a, (ino, "user.a"), b"three");
    assert_eq!(get(&mut lab, b, ino, "user.a"), bytes(b"three"));
    assert_eq!(list(&mut lab, b, ino), bytes(b"user.a\0"));
}

/// A kernel asks for them whenever it judges somebody who is not the owner.
#[test]
fn acls_come_with_the_attributes_and_cost_no_call_of_their_own() {
    const ACCESS: &str = "system.posix_acl_access";
    const DEFAULT: &str = "system.posix_acl_default";
    let mut lab = Lab::new();
    let (a, b) = (lab.a, lab.b);
    let ino = file(&mut lab);
    let both = |lab: &mut Lab| (get(lab, b, ino, ACCESS), get(lab, b, ino, DEFAULT));
    assert_eq!(costs(&mut lab, b, both), ((NONE, NONE), 0));
    let acl = |perm: u8, users: u8| {
        let mut bytes = vec![2, 0, 0, 0];
        let users = (0..users).map(|user| (2, perm, [user, 1, 0, 0]));
        let ends = [(4, 0), (16, 7), (32, 0)].map(|(tag, perm)| (tag, perm, [255; 4]));
        for (tag, perm, id) in [(1, 6, [255; 4])].into_iter().chain(users).chain(ends) {
            bytes.extend([tag, 0, perm, 0]);
            bytes.extend(id);
        }
        bytes
    };
    for (perm, users) in [(4, 1), (6, 200), (0, 2)] {
        set(&mut lab, a, (ino, ACCESS), &acl(perm, users));
        let read = |lab: &mut Lab| (stat(lab, b, ino).unwrap().mode, get(lab, b, ino, ACCESS));
        assert_eq!(costs(&mut lab, b, read), ((0o670, bytes(&acl(perm, users))), 1));
        assert_eq!(costs(&mut lab, b, both), ((bytes(&acl(perm, users)), NONE), 0));
    }
    chmod(&mut lab, a, ino, 0o600).unwrap();
    let mut masked = acl(0, 2);
    // The mask stands before the last entry; its permissions are behind two bytes of tag.
    let mask = masked.len() - 14;
    masked[mask] = 0;
    assert_eq!(costs(&mut lab, b, both), ((bytes(&masked), NONE), 1));
    remove(&mut lab, a, ino, ACCESS);
    assert_eq!(costs(&mut lab, b, both), ((NONE, NONE), 1));
}

#[test]
fn own_changes_show_at_once() {
    let mut lab = Lab::new();
    let b = lab.b;
    let ino = file(&mut lab);
    assert_eq!(get(&mut lab, b, ino, "user.a"), NONE);
    for value in [&b"one"[..], b"two"] {
        set(&mut lab, b, (ino, "user.a"), value);
        assert_eq!(get(&mut lab, b, ino, "user.a"), bytes(value));
    }
    assert_eq!(list(&mut lab, b, ino), bytes(b"user.a\0"));
    remove(&mut lab, b, ino, "user.a");
    assert_eq!(get(&mut lab, b, ino, "user.a"), NONE);
    assert_eq!(list(&mut lab, b, ino), bytes(b""));
}

/// Programs ask for the size before they ask for the value.
#[test]
fn the_size_brings_the_value() {
    let mut lab = Lab::new();
    let (a, b) = (lab.a, lab.b);
    let ino = file(&mut lab);
    let long = vec![7; 5000];
    set(&mut lab, a, (ino, "user.short"), b"short");
    set(&mut lab, a, (ino, "user.long"), &long);
    for (name, value, later) in [("user.short", &b"short"[..], 0), ("user.long", &long, 1)] {
        let size = |lab: &mut Lab, room: u32| {
            let name = name.as_bytes().to_vec();
            lab.call(b, |mount| {
                Box::pin(mount.getxattr(Credentials::root(), ino, name, room))
            })
        };
        let len = u32::try_from(value.len()).unwrap();
        assert_eq!(
            costs(&mut lab, b, |lab| size(lab, 0)),
            (Ok(XattrData::Size(len)), 1)
        );
        let read = |lab: &mut Lab| get(lab, b, ino, name);
        assert_eq!(costs(&mut lab, b, read), (bytes(value), later));
        assert_eq!(size(&mut lab, len - 1), Err(Failure::Errno(libc::ERANGE)));
        assert_eq!(size(&mut lab, len), bytes(value));
    }
}

/// The kernel asks for them before each program is run.
#[test]
fn file_capabilities_are_held_until_a_write_takes_them() {
    let mut lab = Lab::new();
    let (a, b) = (lab.a, lab.b);
    let ino = file(&mut lab);
    let read = |lab: &mut Lab| get(lab, b, ino, CAPABILITY);
    assert_eq!(costs(&mut lab, b, read), (NONE, 1));
    assert_eq!(costs(&mut lab, b, read), (NONE, 0));
    for (writer, opened) in [(a, "there"), (b, "here")] {
        set(&mut lab, a, (ino, CAPABILITY), b"privileges");
        assert_eq!(read(&mut lab), bytes(b"privileges"));
        assert_eq!(costs(&mut lab, b, read), (bytes(b"privileges"), 0));
        let mode = OpenMode {
            truncate: writer == b,
            ..RW
        };
        lab.open(writer, "f", mode, opened).unwrap();
        lab.write(opened, 0, b"bytes").unwrap();
        lab.fsync(opened).unwrap();
        lab.close(opened).unwrap();
        assert_eq!(read(&mut lab), NONE, "{opened}");
    }
}

/// Nobody reads by way of somebody else's reading what he may not read himself.
#[test]
fn what_is_held_is_for_who_may_read_it() {
    let mut lab = Lab::new();
    let (a, b) = (lab.a, lab.b);
    let ino = file(&mut lab);
    chmod(&mut lab, a, ino, 0o600).unwrap();
    for name in ["user.a", "security.a", "trusted.a"] {
        set(&mut lab, a, (ino, name), name.as_bytes());
        assert_eq!(get(&mut lab, b, ino, name), bytes(name.as_bytes()));
    }
    let other = || Credentials::new(7, 7, Vec::new());
    for _ in 0..2 {
        let denied = get_as(&mut lab, b, other(), (ino, "user.a"));
        assert_eq!(denied, Err(Failure::Errno(libc::EACCES)));
        assert_eq!(get_as(&mut lab, b, other(), (ino, "trusted.a")), NONE);
        let root = Credentials::root();
        assert_eq!(get_as(&mut lab, b, root, (ino, "trusted.a")), bytes(b"trusted.a"));
    }
    let trusted = |lab: &mut Lab| get(lab, b, ino, "trusted.a");
    assert_eq!(
        costs(&mut lab, b, trusted),
        (bytes(b"trusted.a"), 1),
        "it is asked for each time"
    );
}

/// Whoever lists first decides nothing for the next one.
#[test]
fn a_list_is_for_each_what_he_may_see() {
    for (first, then) in [(true, false), (false, true), (true, true), (false, false)] {
        let mut lab = Lab::new();
        let (a, b) = (lab.a, lab.b);
        let ino = file(&mut lab);
        for name in ["user.a", "trusted.a", "security.a"] {
            set(&mut lab, a, (ino, name), b"x");
        }
        for root in [first, then] {
            let (who, wanted): (_, &[u8]) = match root {
                true => (Credentials::root(), b"security.a\0trusted.a\0user.a\0"),
                false => (judged(), b"security.a\0user.a\0"),
            };
            assert_eq!(list_as(&mut lab, b, who, ino), bytes(wanted));
        }
    }
}

fn change(lab: &mut Lab, host: HostId, ino: InodeId, change: SetAttr) {
    let changed = lab.call(host, |mount| {
        Box::pin(mount.setattr(Credentials::root(), ino, change, None))
    });
    changed.unwrap();
}

fn symlink(lab: &mut Lab) -> InodeId {
    let made = lab.call(lab.a, |mount| {
        let what = NewInode::Symlink(b"to/here".to_vec());
        Box::pin(mount.make(Credentials::root(), ROOT, b"l".to_vec(), what, 0o777))
    });
    made.unwrap().attr.ino
}

#[test]
fn a_link_is_asked_where_its_access_time_is_to_be_renewed() {
    let mut lab = Lab::new();
    let (a, b) = (lab.a, lab.b);
    let ino = symlink(&mut lab);
    // An access within the moment in which it was made would renew its time once more.
    lab.sim.pass_by(Duration::from_secs(2));
    look(&mut lab, b, ROOT, "l").unwrap();
    for host in [a, b] {
        let read = |lab: &mut Lab| readlink(lab, host, ino);
        assert_eq!(costs(&mut lab, host, read), (Ok(b"to/here".to_vec()), 1));
        assert_eq!(costs(&mut lab, host, read), (Ok(b"to/here".to_vec()), 0));
    }
    let renewed = stat(&mut lab, b, ino).unwrap();
    assert!(renewed.atime > renewed.ctime);
    let given = SetAttr {
        uid: Some(5),
        ..SetAttr::default()
    };
    change(&mut lab, a, ino, given);
    lab.sim.pass_by(Duration::from_secs(2));
    let read = |lab: &mut Lab| readlink(lab, b, ino);
    assert_eq!(costs(&mut lab, b, read), (Ok(b"to/here".to_vec()), 1));
    let later = stat(&mut lab, b, ino).unwrap();
    assert!(later.atime > later.ctime && later.ctime > renewed.ctime);
    assert_eq!(costs(&mut lab, b, read), (Ok(b"to/here".to_vec()), 0));
    let early = SetAttr {
        atime: Some(SetTime::At(Timestamp { seconds: 1, nanos: 0 })),
        ..SetAttr::default()
    };
    change(&mut lab, a, ino, early);
    assert_eq!(costs(&mut lab, b, read), (Ok(b"to/here".to_vec()), 1));
    assert!(stat(&mut lab, b, ino).unwrap().atime.seconds > 1);
}

#[test]
fn a_link_is_asked_as_the_mount_renews_access_times() {
    let mut lab = Lab::new();
    let b = lab.b;
    let ino = symlink(&mut lab);
    let read = |lab: &mut Lab| readlink(lab, b, ino).map(drop);
    for (rule, cost) in [(AccessTime::Never, 0), (AccessTime::Strict, 1)] {
        let files = rule;
        let directories = AccessTime::Never;
        lab.sim
            .mount(b)
            .remount(false, AccessTimes { files, directories });
        read(&mut lab).unwrap();
        for _ in 0..3 {
            assert_eq!(costs(&mut lab, b, read), (Ok(()), cost), "{rule:?}");
        }
    }
}

/// The service renews what is a day old, and the handler has to know how late it is there.
#[test]
fn a_link_is_asked_once_more_the_next_day() {
    let mut lab = Lab::new();
    // A day passes in few steps: of one host, whose lease is long.
    lab.sim = Simulation::new(Rules {
        arena: ARENA,
        seed: 7,
        pace: Pace::AtOnce,
        lease: Duration::from_secs(6 * 3600),
        prompt: true,
        leases: true,
    });
    let host = lab.sim.add_host();
    (lab.a, lab.b) = (host, host);
    let ino = symlink(&mut lab);
    let read = |lab: &mut Lab| readlink(lab, host, ino).map(drop);
    lab.sim.pass_by(Duration::from_secs(2));
    read(&mut lab).unwrap();
    assert_eq!(costs(&mut lab, host, read), (Ok(()), 0));
    lab.sim.pass_by(Duration::from_secs(24 * 3600));
    // That the attributes are asked for is no reading.
    stat(&mut lab, host, ino).unwrap();
    assert_eq!(costs(&mut lab, host, read), (Ok(()), 1));
    assert_eq!(costs(&mut lab, host, read), (Ok(()), 0));
}

#[test]
fn a_link_that_was_removed_leads_nowhere() {
    let mut lab = Lab::new();
    let (a, b) = (lab.a, lab.b);
    let ino = symlink(&mut lab);
    assert_eq!(readlink(&mut lab, b, ino), Ok(b"to/here".to_vec()));
    lab.unlink(a, "l").unwrap();
    assert_eq!(readlink(&mut lab, b, ino), Err(Failure::Errno(libc::ESTALE)));
    let next = symlink(&mut lab);
    assert_ne!(next, ino, "ids are not given again");
}
