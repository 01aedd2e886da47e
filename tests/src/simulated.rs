//! Operations on the handler over the simulator, the way the kernel brings them: names are looked up one by one, symbolic
//! links are followed here, and what the kernel refuses before it asks is refused here too. The handler is asked even when
//! the kernel would not, where it must refuse by itself.

use crate::ops::{
    Action, CALLERS, CHOSEN_TIME, FilePath, How, Kind, Op, Outcome, Rename, SLOTS, Stat, pattern,
};
use nix::libc::{EBADF, EBUSY, EEXIST, EINVAL, EISDIR, ELOOP, ENOENT, ENOTDIR};
use rdmafs_fs::errno::Error;
use rdmafs_fs::handler::testing::{SimPool, mount_on_sim};
use rdmafs_fs::handler::{HandleId, Mount, OpenMode, ReadData};
use rdmafs_fs::options::CacheMode;
use rdmafs_meta::attr::{Attr, FileKind, SetAttr, SetTime};
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::id::InodeId;
use rdmafs_meta::time::Timestamp;
use rdmafs_meta::wire::{NewInode, RenameMode};
use std::collections::VecDeque;
use std::sync::Arc;

/// Entries asked for in one page of a directory: few, so that pages are crossed.
const PAGE: u32 = 3;
const ARENA: u64 = 64 << 20;

type Result<T> = std::result::Result<T, i32>;

/// Mounts of one simulated pool.
pub struct Simulated {
    mounts: Vec<Arc<Mount>>,
    slots: [Option<Slot>; SLOTS],
    pool: SimPool,
}

#[derive(Clone, Copy)]
struct Slot {
    handle: HandleId,
    mount: usize,
    ino: InodeId,
    how: How,
}

/// Where a path leads.
struct Place {
    dir: InodeId,
    name: Vec<u8>,
    found: Option<Attr>,
}

/// Somebody at one of the mounts.
struct Caller {
    mount: Arc<Mount>,
    who: Credentials,
}

impl Simulated {
    /// A pool with `mounts` mounts, of which the first and every other one has `cache=none`.
    #[must_use]
    pub fn new(seed: u64, mounts: usize, root_mode: u16) -> Self {
        let (first, pool) = mount_on_sim(ARENA, seed);
        let mode = |i| {
            if i % 2 == 1 {
                CacheMode::Auto
            } else {
                CacheMode::None
            }
        };
        let others = (1..mounts).map(|i| pool.mount(mode(i)));
        let mounts = std::iter::once(first).chain(others).collect();
        let slots = [None; SLOTS];
        let system = Self { mounts, slots, pool };
        let (root, change) = (system.caller(0, 0), mode_change(root_mode));
        let changed = system.run(root.mount.setattr(root.who, InodeId::ROOT, change, None));
        assert!(changed.is_ok(), "the mode of the root: {changed:?}");
        system
    }

    /// Does it and says what came of it.
    pub fn apply(&mut self, op: &Op) -> Outcome {
        let caller = || self.caller(op.mount, op.caller);
        let done = match &op.action {
            Action::Open { slot, path, how } => self.open(op, *slot, path, *how),
            Action::Close { slot } => self.close(*slot),
            Action::Read { slot, at, len } => self.read(*slot, *at, *len),
            Action::Write { slot, at, len, fill } => self.write(op, *slot, *at, &pattern(*fill, *len)),
            Action::Sync { slot } => self.sync(*slot),
            Action::FileTruncate { slot, size } => self.file_truncate(op, *slot, *size),
            Action::FileStat { slot } => self.file_stat(op, *slot),
            Action::Truncate { path, size } => self.truncate(caller(), path, *size),
            Action::Stat { path } => self.find(&caller(), path, false).map(|attr| stat(&attr)),
            Action::MakeDir { path, mode } => self.make(caller(), path, NewInode::Directory, *mode),
            Action::Symlink { target, path } => {
                self.make(caller(), path, NewInode::Symlink(target.bytes()), 0o777)
            }
            Action::RemoveDir { path } => self.remove(caller(), path, true),
            Action::Unlink { path } => self.remove(caller(), path, false),
            Action::Link { old, new } => self.link(caller(), old, new),
            Action::ReadLink { path } => self.read_link(caller(), path),
            Action::Rename { old, new, how } => self.rename(caller(), old, new, *how),
            Action::Chmod { path, mode } => self.change(caller(), path, mode_change(*mode)),
            Action::Chown { path, uid, gid } => self.change(caller(), path, owner_change(*uid, *gid)),
            Action::SetTime { path, seconds } => self.set_time(caller(), path, *seconds),
            Action::List { path } => self.list(caller(), path),
        };
        done.unwrap_or_else(|errno| Outcome::Refused(vec![errno]))
    }

    fn caller(&self, mount: usize, caller: usize) -> Caller {
        let (uid, gid) = CALLERS[caller];
        let mount = self.mounts[mount].clone();
        let groups = Vec::new();
        Caller {
            mount,
            who: Credentials { uid, gid, groups },
        }
    }

    fn run<T>(&self, operation: impl Future<Output = std::result::Result<T, Error>>) -> Result<T> {
        self.pool.run(operation).map_err(|error| error.errno())
    }

    // --- paths, as the kernel walks them ---

    fn lookup(&self, caller: &Caller, dir: InodeId, name: &[u8]) -> Result<Option<Attr>> {
        let found = self.run(
            caller
                .mount
                .clone()
                .lookup(caller.who.clone(), dir, name.to_vec()),
        );
        match found {
            Ok(entry) => Ok(Some(entry.attr)),
            Err(ENOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    fn walk(&self, caller: &Caller, path: &FilePath, follow: bool) -> Result<Place> {
        let mut left: VecDeque<Vec<u8>> = path.0.iter().map(|name| name.to_vec()).collect();
        let (mut dir, mut hops) = (InodeId::ROOT, 0);
        while let Some(name) = left.pop_front() {
            let found = self.lookup(caller, dir, &name)?;
            let last = left.is_empty();
            match found {
                Some(link) if link.kind == FileKind::Symlink && (!last || follow) => {
                    hops += 1;
                    if hops > 40 {
                        return Err(ELOOP);
                    }
                    let target = self.run(caller.mount.clone().readlink(caller.who.clone(), link.ino))?;
                    target
                        .split(|b| *b == b'/')
                        .rev()
                        .for_each(|part| left.push_front(part.to_vec()));
                }
                found if last => return Ok(Place { dir, name, found }),
                Some(next) if next.kind == FileKind::Directory => dir = next.ino,
                Some(_) => return Err(ENOTDIR),
                None => return Err(ENOENT),
            }
        }
        Err(ENOENT)
    }

    fn find(&self, caller: &Caller, path: &FilePath, follow: bool) -> Result<Attr> {
        self.walk(caller, path, follow)?.found.ok_or(ENOENT)
    }

    // --- open files ---

    fn slot(&self, slot: usize) -> Result<Slot> {
        self.slots[slot].ok_or(EBADF)
    }

    fn at(&self, slot: &Slot) -> Arc<Mount> {
        self.mounts[slot.mount].clone()
    }

    fn open(&mut self, op: &Op, slot: usize, path: &FilePath, how: How) -> Result<Outcome> {
        if self.slots[slot].is_some() {
            return Err(EBUSY);
        }
        let caller = self.caller(op.mount, op.caller);
        let place = self.walk(&caller, path, !(how.create && how.exclusive))?;
        let (ino, opened) = match place.found {
            Some(_) if how.create && how.exclusive => {
                let made =
                    caller
                        .mount
                        .create(caller.who, place.dir, place.name, how.mode, mode_of(how), true);
                assert!(self.run(made).is_err(), "O_EXCL opened what exists");
                return Err(EEXIST);
            }
            Some(attr) if attr.kind == FileKind::Directory && (how.create || how.write) => {
                return Err(EISDIR);
            }
            Some(attr) if attr.kind == FileKind::Directory => {
                let dir = self.run(caller.mount.clone().opendir(caller.who, attr.ino))?;
                self.run(caller.mount.releasedir(dir))?;
                return Err(EISDIR);
            }
            Some(attr) => (
                attr.ino,
                self.run(caller.mount.open(caller.who, attr.ino, mode_of(how)))?,
            ),
            None if how.create => {
                let (dir, name) = (place.dir, place.name);
                let made = caller
                    .mount
                    .create(caller.who, dir, name, how.mode, mode_of(how), how.exclusive);
                let (entry, opened) = self.run(made)?;
                (entry.attr.ino, opened)
            }
            None => return Err(ENOENT),
        };
        let (handle, mount) = (opened.handle, op.mount);
        self.slots[slot] = Some(Slot {
            handle,
            mount,
            ino,
            how,
        });
        Ok(Outcome::Done)
    }

    fn close(&mut self, slot: usize) -> Result<Outcome> {
        let open = self.slots[slot].take().ok_or(EBADF)?;
        self.run(self.at(&open).flush(open.handle))?;
        self.run(self.at(&open).release(open.handle))?;
        Ok(Outcome::Done)
    }

    fn read(&self, slot: usize, at: u64, len: usize) -> Result<Outcome> {
        let slot = self.slot(slot)?;
        let answer = self.run(self.at(&slot).read(slot.handle, at, len));
        refused_if(!slot.how.read, EBADF, answer.as_ref().map(|_| ()).map_err(|e| *e))?;
        Ok(Outcome::Bytes(match answer? {
            ReadData::Bytes(buffer) => buffer.to_vec(),
            ReadData::Zeros(count) => vec![0; count],
            ReadData::End => Vec::new(),
        }))
    }

    fn write(&self, op: &Op, slot: usize, at: u64, data: &[u8]) -> Result<Outcome> {
        let slot = self.slot(slot)?;
        let buffer = self.pool.buffer(&self.at(&slot), data);
        let drops_set_id = CALLERS[op.caller].0 != 0;
        let answer = self.run(self.at(&slot).write(slot.handle, at, buffer, drops_set_id));
        refused_if(!slot.how.write, EBADF, answer)?;
        answer.map(Outcome::Count)
    }

    fn sync(&self, slot: usize) -> Result<Outcome> {
        let slot = self.slot(slot)?;
        done(self.run(self.at(&slot).fsync(slot.handle)))
    }

    fn file_truncate(&self, op: &Op, slot: usize, size: u64) -> Result<Outcome> {
        let slot = self.slot(slot)?;
        if !slot.how.write {
            return Err(EINVAL);
        }
        let Caller { mount, who } = self.caller(slot.mount, op.caller);
        let change = size_change(size);
        done(self.run(mount.setattr(who, slot.ino, change, Some(slot.handle))))
    }

    fn file_stat(&self, op: &Op, slot: usize) -> Result<Outcome> {
        let slot = self.slot(slot)?;
        let caller = self.caller(slot.mount, op.caller);
        Ok(stat(&self.run(caller.mount.getattr(caller.who, slot.ino))?.attr))
    }

    fn truncate(&self, caller: Caller, path: &FilePath, size: u64) -> Result<Outcome> {
        let attr = self.find(&caller, path, true)?;
        let change = size_change(size);
        let changed = self.run(caller.mount.setattr(caller.who, attr.ino, change, None));
        if attr.kind == FileKind::Directory {
            assert!(changed.is_err(), "a directory was truncated");
            return Err(EISDIR);
        }
        done(changed)
    }

    // --- names ---

    fn make(&self, caller: Caller, path: &FilePath, what: NewInode, mode: u16) -> Result<Outcome> {
        let place = self.walk(&caller, path, false)?;
        let made = self.run(caller.mount.make(caller.who, place.dir, place.name, what, mode));
        refused_if(place.found.is_some(), EEXIST, made)
    }

    fn remove(&self, caller: Caller, path: &FilePath, dir: bool) -> Result<Outcome> {
        let place = self.walk(&caller, path, false)?;
        let Caller { mount, who } = caller;
        let removed = match dir {
            true => self.run(mount.rmdir(who, place.dir, place.name)),
            false => self.run(mount.unlink(who, place.dir, place.name)),
        };
        refused_if(place.found.is_none(), ENOENT, removed)
    }

    fn link(&self, caller: Caller, old: &FilePath, new: &FilePath) -> Result<Outcome> {
        let attr = self.find(&caller, old, false)?;
        let place = self.walk(&caller, new, false)?;
        let linked = self.run(caller.mount.link(caller.who, attr.ino, place.dir, place.name));
        refused_if(place.found.is_some(), EEXIST, linked)
    }

    fn read_link(&self, caller: Caller, path: &FilePath) -> Result<Outcome> {
        let attr = self.find(&caller, path, false)?;
        self.run(caller.mount.readlink(caller.who, attr.ino))
            .map(Outcome::Target)
    }

    fn rename(&self, caller: Caller, old: &FilePath, new: &FilePath, how: Rename) -> Result<Outcome> {
        let from = self.walk(&caller, old, false)?;
        let to = self.walk(&caller, new, false)?;
        let same = from.found.as_ref().map(|attr| attr.ino) == to.found.as_ref().map(|attr| attr.ino);
        let mode = match how {
            Rename::Replace => RenameMode::Replace,
            Rename::NoReplace => RenameMode::NoReplace,
            Rename::Exchange => RenameMode::Exchange,
        };
        let Caller { mount, who } = caller;
        let renamed = self.run(mount.rename(who, from.dir, from.name, to.dir, to.name, mode));
        let missing = from.found.is_none() || (how == Rename::Exchange && to.found.is_none());
        if same && !missing && how != Rename::NoReplace {
            // The kernel does not ask at all.
            return Ok(Outcome::Done);
        }
        let exists = how == Rename::NoReplace && to.found.is_some();
        refused_if(missing || exists, if missing { ENOENT } else { EEXIST }, renamed)
    }

    fn list(&self, caller: Caller, path: &FilePath) -> Result<Outcome> {
        let attr = self.find(&caller, path, true)?;
        if attr.kind != FileKind::Directory {
            return Err(ENOTDIR);
        }
        let Caller { mount, who } = caller;
        let handle = self.run(mount.clone().opendir(who, attr.ino))?;
        let mut entries = Vec::new();
        loop {
            let after = entries
                .last()
                .map_or(0, |entry: &rdmafs_meta::wire::DirEntry| entry.cookie);
            let page = self.run(mount.clone().readdir(handle, after, PAGE))?;
            if page.is_empty() {
                break;
            }
            entries.extend(page);
        }
        self.run(mount.releasedir(handle))?;
        let dots: Vec<_> = entries.iter().take(2).map(|entry| entry.name.clone()).collect();
        assert_eq!(
            dots,
            [b".".to_vec(), b"..".to_vec()],
            "the first names of a directory"
        );
        let count = entries.len() - 2;
        let names = entries
            .into_iter()
            .skip(2)
            .map(|entry| (entry.name, kind(entry.attr.kind)));
        let names: std::collections::BTreeMap<_, _> = names.collect();
        assert_eq!(names.len(), count, "a name stands twice");
        Ok(Outcome::Names(names))
    }

    // --- attributes ---

    fn change(&self, caller: Caller, path: &FilePath, change: SetAttr) -> Result<Outcome> {
        let attr = self.find(&caller, path, true)?;
        done(self.run(caller.mount.setattr(caller.who, attr.ino, change, None)))
    }

    fn set_time(&self, caller: Caller, path: &FilePath, seconds: i64) -> Result<Outcome> {
        let time = Some(SetTime::At(Timestamp { seconds, nanos: 0 }));
        let (atime, mtime, rest) = (time, time, SetAttr::default());
        let change = SetAttr { atime, mtime, ..rest };
        self.change(caller, path, change)
    }
}

impl Drop for Simulated {
    fn drop(&mut self) {
        self.mounts.iter().for_each(|mount| mount.close());
    }
}

/// The kernel refuses with `errno` where `refused`; the handler, which was asked all the same, must refuse as well.
fn refused_if<T: std::fmt::Debug>(refused: bool, errno: i32, answer: Result<T>) -> Result<Outcome> {
    if !refused {
        return done(answer);
    }
    assert!(
        answer.is_err(),
        "the kernel refuses with {errno}, the handler answered {answer:?}"
    );
    Err(errno)
}

fn done<T>(answer: Result<T>) -> Result<Outcome> {
    answer.map(|_| Outcome::Done)
}

fn mode_change(mode: u16) -> SetAttr {
    let (mode, rest) = (Some(mode), SetAttr::default());
    SetAttr { mode, ..rest }
}

fn owner_change(uid: Option<u32>, gid: Option<u32>) -> SetAttr {
    let rest = SetAttr::default();
    SetAttr { uid, gid, ..rest }
}

fn size_change(size: u64) -> SetAttr {
    let (size, rest) = (Some(size), SetAttr::default());
    SetAttr { size, ..rest }
}

fn mode_of(how: How) -> OpenMode {
    let How {
        read,
        write,
        append,
        truncate,
        ..
    } = how;
    OpenMode {
        read,
        write,
        append,
        truncate,
        ..OpenMode::default()
    }
}

fn kind(kind: FileKind) -> Kind {
    match kind {
        FileKind::Directory => Kind::Directory,
        FileKind::Symlink => Kind::Symlink,
        _ => Kind::File,
    }
}

fn stat(attr: &Attr) -> Outcome {
    let kind = kind(attr.kind);
    let Attr {
        mode,
        nlink,
        uid,
        gid,
        ..
    } = *attr;
    let size = if kind == Kind::Directory { 0 } else { attr.size };
    let chosen = attr.mtime.seconds >= CHOSEN_TIME;
    let mtime = Some(if chosen { attr.mtime.seconds } else { 0 });
    Outcome::Stat(Stat {
        kind,
        mode,
        nlink,
        uid,
        gid,
        size,
        mtime,
    })
}
