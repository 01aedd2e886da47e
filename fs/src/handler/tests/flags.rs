//! Inode flags through mounts: both ways to ask, other hosts, and what the handler itself holds an append-only file to.

use super::world::{RW, World, world};
use crate::atomic_ioctl::FETCH_ADD;
use crate::errno::Error;
use crate::flags_ioctl::{SET, SET_EXTENDED, answer};
use crate::handler::{FilePlace, HandleId, OpenMode, WriteMode};
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::error::MetaError::{NotOwner, Protected, Unsupported};
use rdmafs_meta::flags::InodeFlags;
use rdmafs_meta::id::InodeId;

const APPEND: InodeFlags = InodeFlags::APPEND;
const APPENDING: OpenMode = OpenMode { append: true, ..RW };
const GET: u32 = 0x8008_6601;

fn ioctl(w: &World, ino: InodeId, command: u32, input: Vec<u8>) -> Result<Vec<u8>, Error> {
    let asking = w
        .mount
        .clone()
        .ioctl_on(Credentials::root(), (ino, None), command, input);
    w.pool.run(asking)
}

fn set(w: &World, ino: InodeId, flags: InodeFlags) -> Result<(), Error> {
    ioctl(w, ino, SET, answer(flags, false)).map(drop)
}

fn write_as(w: &World, file: HandleId, mode: WriteMode) -> Result<usize, Error> {
    let buffer = w.pool.buffer(&w.mount, b"new");
    w.pool.run(w.mount.clone().write_as(file, 0, buffer, mode, None))
}

#[test]
fn what_one_host_sets_another_one_sees_and_obeys() {
    let a = world(4 << 20);
    let b = a.elsewhere();
    let (ino, file) = a.create("f");
    set(&a, ino, InodeFlags::IMMUTABLE).unwrap();
    assert_eq!(
        ioctl(&b, ino, GET, vec![]),
        Ok(answer(InodeFlags::IMMUTABLE, false))
    );
    assert_eq!(b.open(ino, RW).unwrap_err(), Protected.into());
    b.open(ino, OpenMode { write: false, ..RW }).unwrap();
    assert_eq!(a.write(file, 0, b"still"), Ok(5));
    ioctl(&b, ino, SET_EXTENDED, answer(InodeFlags::NO_DUMP, true)).unwrap();
    assert_eq!(
        ioctl(&a, ino, GET, vec![]),
        Ok(answer(InodeFlags::NO_DUMP, false))
    );
    a.open(ino, RW).unwrap();
}

#[test]
fn other_commands_and_other_flags_are_refused() {
    let w = world(4 << 20);
    let (ino, _) = w.create("f");
    assert_eq!(ioctl(&w, ino, 0x5401, vec![]), Err(Error::NoSuchIoctl));
    assert_eq!(ioctl(&w, ino, SET, vec![1, 0, 0, 0]), Err(Unsupported.into()));
    w.mount.remount(true, w.mount.access_times());
    assert_eq!(set(&w, ino, APPEND), Err(Error::ReadOnly));
}

#[test]
fn a_file_that_was_opened_to_append_is_only_appended_to() {
    let w = world(4 << 20);
    let (ino, before) = w.create("f");
    w.write(before, 0, b"12345678").unwrap();
    set(&w, ino, APPEND).unwrap();
    assert_eq!(w.open(ino, RW).unwrap_err(), Protected.into());
    let file = w.open(ino, APPENDING).unwrap();
    let append = WriteMode {
        append: true,
        ..WriteMode::default()
    };
    let pages = WriteMode {
        write_back: true,
        ..WriteMode::default()
    };
    assert_eq!(write_as(&w, file, append), Ok(3));
    // fcntl(2) took O_APPEND off.
    assert_eq!(write_as(&w, file, WriteMode::default()), Err(Protected.into()));
    let add = [0_u64, 1, 0, 0].into_iter().flat_map(u64::to_ne_bytes).collect();
    let adding = w.mount.clone().ioctl(Credentials::root(), file, FETCH_ADD, add);
    assert_eq!(w.pool.run(adding), Err(Protected.into()));
    let place = |handle, offset| FilePlace { handle, offset };
    let (from, to) = (place(before, 0), place(file, 100));
    let copying = w.mount.clone().copy(Credentials::root(), from, to, 4);
    assert_eq!(w.pool.run(copying), Err(Error::BadHandle));
    // Pages that a mapping from before may have changed are written through any file.
    assert_eq!(write_as(&w, file, pages), Ok(3));
    w.release(before);
    assert_eq!(write_as(&w, file, pages), Err(Protected.into()));
    assert_eq!(w.read(file, 0, 20), Ok(b"new45678new".to_vec()));
    let other = Credentials::new(7, 7, vec![]);
    let setting = w.mount.clone().ioctl_on(other, (ino, None), SET, vec![0; 4]);
    assert_eq!(w.pool.run(setting), Err(NotOwner.into()));
}
