//! Steps of the changes that are swept over, and what there is before them.

use super::lab::{Did, Failure, LEASE, Lab, ROOT, RW, pattern};
use crate::atomic_ioctl::FETCH_ADD;
use crate::flags_ioctl::SET;
use crate::handler::{FilePlace, LockCall, LockCaller, SpaceChange};
use rdmafs_meta::attr::SetAttr;
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::lock::{LockKind, Span};
use rdmafs_meta::wire::{NewInode, RenameMode, XattrMode};

pub(super) fn space(lab: &mut Lab, range: (u64, u64), change: SpaceChange) -> Did<()> {
    change_space(lab, "mine", range, change)
}

pub(super) fn zero(lab: &mut Lab, file: &str, range: (u64, u64)) -> Did<()> {
    change_space(lab, file, range, SpaceChange::Zero { keep_size: false })
}

pub(super) fn change_space(lab: &mut Lab, file: &str, range: (u64, u64), change: SpaceChange) -> Did<()> {
    let (host, _, handle) = lab.open[file];
    let root = Credentials::root();
    lab.call(host, |mount| {
        Box::pin(mount.fallocate(root, handle, range, change))
    })
}

/// FS_IOC_SETFLAGS.
pub(super) fn flag(lab: &mut Lab, flags: u32) -> Did<()> {
    let on = (lab.open["theirs"].1, None);
    let (root, asked) = (Credentials::root(), flags.to_ne_bytes().to_vec());
    lab.call(lab.a, |mount| Box::pin(mount.ioctl_on(root, on, SET, asked)))
        .map(drop)
}

/// Adds to a word.
pub(super) fn add(lab: &mut Lab, file: &str, offset: u64) -> Did<()> {
    let (host, _, handle) = lab.open[file];
    let asked: Vec<u8> = [offset, 0x0101, 0, 0]
        .into_iter()
        .flat_map(u64::to_ne_bytes)
        .collect();
    lab.call(host, |mount| {
        Box::pin(mount.ioctl(Credentials::root(), handle, FETCH_ADD, asked))
    })
    .map(drop)
}

/// Copies all of it, or fails.
pub(super) fn copy(lab: &mut Lab, from: (&str, u64), to: (&str, u64), len: u64) -> Did<()> {
    let place = |(file, offset): (&str, u64)| FilePlace {
        handle: lab.open[file].2,
        offset,
    };
    let (from, to) = (place(from), place(to));
    let root = Credentials::root();
    let copied = lab.call(lab.a, |mount| Box::pin(mount.copy(root, from, to, len)))?;
    if copied as u64 == len {
        Ok(())
    } else {
        Err(Failure::Errno(libc::EIO))
    }
}

/// Takes a lock, waiting for it, or gives it back.
pub(super) fn lock(lab: &mut Lab, file: &str, kind: LockKind, takes: bool) -> Did<()> {
    let (host, _, handle) = lab.open[file];
    let call = LockCall {
        handle,
        owner: 7,
        span: Span::WHOLE,
        exclusive: true,
        process: 7,
        caller: LockCaller::Known(kind),
        uid: Some(0),
    };
    lab.call(host, |mount| match takes {
        true => Box::pin(mount.lock(call, true)),
        false => Box::pin(mount.unlock(call)),
    })
}

/// A closed file.
pub(super) fn filled(lab: &mut Lab, name: &'static str, len: u64) {
    lab.create(lab.b, name).unwrap();
    lab.write(name, 0, &pattern(usize::try_from(len).unwrap(), 1))
        .unwrap();
    lab.fsync(name).unwrap();
    lab.close(name).unwrap();
}

/// A file that the second host has open as "theirs", and has read.
pub(super) fn shared(lab: &mut Lab, name: &'static str, len: u64) {
    filled(lab, name, len);
    lab.open(lab.b, name, RW, "theirs").unwrap();
    lab.read("theirs", 0, 100).unwrap();
}

/// A file in pieces, open.
pub(super) fn fragmented(lab: &mut Lab) {
    lab.create(lab.a, "f").unwrap();
    lab.create(lab.a, "g").unwrap();
    for part in 0..4 {
        for file in ["f", "g"] {
            lab.write(file, part * 4096, &pattern(4096, 1)).unwrap();
        }
    }
    lab.fsync("f").unwrap();
    lab.fsync("g").unwrap();
}

/// The first host's session is over: it has begun another one.
pub(super) fn forget_session(lab: &mut Lab) {
    for end in lab.sim.connections(lab.a) {
        end.stall(LEASE * 3);
    }
    lab.sim.pass_by(LEASE * 4);
}

pub(super) fn rename(lab: &mut Lab, from: &str, to: &str, mode: RenameMode) -> Did<()> {
    let (from, to) = (from.as_bytes().to_vec(), to.as_bytes().to_vec());
    let root = Credentials::root();
    lab.call(lab.a, |mount| {
        Box::pin(mount.rename(root, (ROOT, from), (ROOT, to), mode))
    })
}

pub(super) fn make(lab: &mut Lab, name: &str, what: NewInode) -> Did<()> {
    let name = name.as_bytes().to_vec();
    let root = Credentials::root();
    lab.call(lab.a, |mount| Box::pin(mount.make(root, ROOT, name, what, 0o755)))
        .map(drop)
}

pub(super) fn set_xattr(lab: &mut Lab, name: &[u8], len: usize, mode: XattrMode) -> Did<()> {
    let (ino, root) = (lab.open["theirs"].1, Credentials::root());
    let (name, value) = (name.to_vec(), pattern(len, 3));
    lab.call(lab.a, |mount| {
        Box::pin(mount.setxattr(root, ino, name, value, mode))
    })
}

pub(super) fn set(lab: &mut Lab, change: SetAttr) -> Did<()> {
    let ino = lab.open["theirs"].1;
    let root = Credentials::root();
    lab.call(lab.a, |mount| Box::pin(mount.setattr(root, ino, change, None)))
        .map(drop)
}
