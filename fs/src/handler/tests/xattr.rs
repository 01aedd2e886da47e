//! Extended attributes of a mount: long values, several hosts, and what they cost where there are none.

use super::world::{RW, World, world};
use crate::errno::Error;
use crate::handler::XattrData;
use crate::handler::testing::SimPool;
use crate::options::CacheMode;
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::error::MetaError;
use rdmafs_meta::id::InodeId;
use rdmafs_meta::wire::XattrMode;
use std::sync::Arc;
use std::time::Duration;

const CAPABILITY: &str = "security.capability";
const ROOM: u32 = 1 << 16;

fn set(w: &World, ino: InodeId, name: &str, value: &[u8]) -> Result<(), Error> {
    let mode = XattrMode::default();
    let setting = w
        .mount
        .clone()
        .setxattr(Credentials::root(), ino, name.into(), value.into(), mode);
    w.pool.run(setting)
}

fn get(w: &World, ino: InodeId, name: &str, room: u32) -> Result<XattrData, Error> {
    let getting = w
        .mount
        .clone()
        .getxattr(Credentials::root(), ino, name.into(), room);
    w.pool.run(getting)
}

fn list(w: &World, ino: InodeId, room: u32) -> Result<XattrData, Error> {
    w.pool
        .run(w.mount.clone().listxattr(Credentials::root(), ino, room))
}

fn remove(w: &World, ino: InodeId, name: &str) -> Result<(), Error> {
    w.pool
        .run(w.mount.clone().removexattr(Credentials::root(), ino, name.into()))
}

fn value(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

/// Operations of the fabric.
fn asked<T>(pool: &Arc<SimPool>, what: impl FnOnce() -> T) -> u64 {
    let before = pool.node().sim().operations();
    what();
    pool.node().sim().operations() - before
}

const NO_XATTR: Error = Error::Meta(MetaError::NoXattr);

#[test]
fn values_of_every_length_come_back() {
    let a = world(4 << 20);
    let b = a.elsewhere();
    let (ino, _file) = a.create("f");
    for len in [0, 1, 32_767, 32_768, 32_769, 61_440, 65_536] {
        let room = u32::try_from(len).unwrap();
        set(&a, ino, "user.a", &value(len)).unwrap();
        for w in [&a, &b] {
            assert_eq!(get(w, ino, "user.a", 0), Ok(XattrData::Size(room)));
            assert_eq!(get(w, ino, "user.a", ROOM), Ok(XattrData::Bytes(value(len))));
            if len > 1 {
                assert_eq!(get(w, ino, "user.a", room), Ok(XattrData::Bytes(value(len))));
                assert_eq!(get(w, ino, "user.a", room - 1), Err(Error::ShortBuffer));
            }
        }
    }
    let too_long = set(&a, ino, "user.a", &value(65_537));
    assert_eq!(too_long.unwrap_err().errno(), libc::E2BIG);
    set(&b, ino, "trusted.b", b"").unwrap();
    let names = b"trusted.b\0user.a\0".to_vec();
    assert_eq!(list(&a, ino, 0), Ok(XattrData::Size(17)));
    assert_eq!(list(&a, ino, 16), Err(Error::ShortBuffer));
    assert_eq!(list(&a, ino, 17), Ok(XattrData::Bytes(names)));
    remove(&b, ino, "user.a").unwrap();
    assert_eq!(remove(&a, ino, "user.a").unwrap_err().errno(), libc::ENODATA);
}

#[test]
fn names_that_are_not_offered_ask_nobody() {
    let a = world(4 << 20);
    let (ino, _file) = a.create("f");
    let operations = asked(&a.pool, || {
        for name in ["system.posix_acl_accesses", "system.nfs4_acl", "foo", "foo.bar"] {
            for done in [
                get(&a, ino, name, 0).map(drop),
                set(&a, ino, name, b"x"),
                remove(&a, ino, name),
            ] {
                assert_eq!(done.unwrap_err().errno(), libc::EOPNOTSUPP, "{name}");
            }
        }
        assert_eq!(get(&a, ino, "user.", 0).unwrap_err().errno(), libc::EINVAL);
    });
    assert_eq!(operations, 0);
}

/// The kernel asks for file capabilities before it writes, and again a second later.
#[test]
fn that_a_file_has_no_capabilities_is_known_from_its_open_and_costs_no_call() {
    let a = world(4 << 20);
    let (ino, file) = a.create("f");
    let absent = || assert_eq!(get(&a, ino, CAPABILITY, 20), Err(NO_XATTR));
    assert_eq!(asked(&a.pool, absent), 0, "it is new");
    a.write(file, 0, b"hello").unwrap();
    a.flush(file);
    a.release(file);
    a.pool.run(a.mount.executor().sleep(Duration::from_secs(1)));
    assert!(asked(&a.pool, absent) > 0, "nobody says so when it is closed");
    let file = a.open(ino, RW).unwrap();
    assert_eq!(asked(&a.pool, absent), 0, "it is open");
    set(&a, ino, "user.a", b"another").unwrap();
    assert_eq!(asked(&a.pool, absent), 0);
    set(&a, ino, CAPABILITY, b"privileges").unwrap();
    assert_eq!(get(&a, ino, CAPABILITY, 0), Ok(XattrData::Size(10)));
    a.write(file, 0, b"other").unwrap();
    assert_eq!(asked(&a.pool, absent), 0, "the write took them away");
    assert_eq!(list(&a, ino, ROOM), Ok(XattrData::Bytes(b"user.a\0".to_vec())));
}

#[test]
fn capabilities_from_another_host_go_with_the_next_write() {
    let a = world(4 << 20);
    let b = a.elsewhere();
    let (ino, file) = a.create("f");
    a.write(file, 0, b"hello").unwrap();
    a.flush(file);
    set(&b, ino, CAPABILITY, b"privileges").unwrap();
    // The other handler hears of it at once, but on a thread of its own.
    let heard = (0..200).any(|_| {
        a.pool.run(a.mount.executor().sleep(Duration::from_millis(5)));
        get(&a, ino, CAPABILITY, 0).is_ok()
    });
    assert!(heard);
    a.write(file, 0, b"other").unwrap();
    assert_eq!(
        get(&b, ino, CAPABILITY, 0),
        Err(NO_XATTR),
        "before the file is closed"
    );
}

#[test]
fn what_was_written_before_they_were_given_does_not_take_them() {
    let a = world(4 << 20);
    let beside = a.beside(CacheMode::None);
    let (ino, file) = a.create("f");
    a.write(file, 0, b"hello").unwrap();
    set(&beside, ino, CAPABILITY, b"privileges").unwrap();
    a.flush(file);
    a.release(file);
    assert_eq!(get(&a, ino, CAPABILITY, 0), Ok(XattrData::Size(10)));
}
