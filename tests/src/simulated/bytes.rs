//! Bytes of open files, and sizes.

use crate::ops::{Bytes, CALLERS, FilePath, How, Op, Outcome, pattern};
use crate::simulated::attributes::stat;
use crate::simulated::locks::PROCESS;
use crate::simulated::system::{Result, SimCaller, Simulated, Slot, done, refused_if};
use nix::libc::{EBADF, EBUSY, EEXIST, EINVAL, EISDIR, ENOENT, ENXIO};
use rdmafs_fs::handler::{OpenMode, ReadData};
use rdmafs_meta::attr::{FileKind, SetAttr};

impl Simulated {
    pub(super) fn bytes(&mut self, op: &Op, call: &Bytes) -> Result<Outcome> {
        let caller = || self.caller(op.mount, op.caller);
        match call {
            Bytes::Open { slot, path, how } => self.open(op, *slot, path, *how),
            Bytes::Close { slot } => self.close(*slot),
            Bytes::Read { slot, at, len } => self.read(*slot, *at, *len),
            Bytes::Write { slot, at, len, fill } => self.write(op, *slot, *at, &pattern(*fill, *len)),
            Bytes::Sync { slot } => self.sync(*slot),
            Bytes::FileTruncate { slot, size } => self.file_truncate(op, *slot, *size),
            Bytes::FileStat { slot } => self.file_stat(op, *slot),
            Bytes::Truncate { path, size } => self.truncate(caller(), path, *size),
        }
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
                        .create(caller.who, (place.dir, place.name), how.mode, mode_of(how), true);
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
            Some(attr) if attr.kind == FileKind::CharDevice => {
                // The kernel opens devices itself, and a whiteout is none.
                return Err(ENXIO);
            }
            Some(attr) => (
                attr.ino,
                self.run(caller.mount.open(caller.who, attr.ino, mode_of(how)))?,
            ),
            None if how.create => {
                let (dir, name) = (place.dir, place.name);
                let made =
                    caller
                        .mount
                        .create(caller.who, (dir, name), how.mode, mode_of(how), how.exclusive);
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
        self.run(self.at(&open).flush_by(open.handle, PROCESS))?;
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

    pub(super) fn write(&self, op: &Op, slot: usize, at: u64, data: &[u8]) -> Result<Outcome> {
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
        let SimCaller { mount, who } = self.caller(slot.mount, op.caller);
        let change = size_change(size);
        done(self.run(mount.setattr(who, slot.ino, change, Some(slot.handle))))
    }

    fn file_stat(&self, op: &Op, slot: usize) -> Result<Outcome> {
        let slot = self.slot(slot)?;
        let caller = self.caller(slot.mount, op.caller);
        Ok(stat(&self.run(caller.mount.getattr(caller.who, slot.ino))?.attr))
    }

    fn truncate(&self, caller: SimCaller, path: &FilePath, size: u64) -> Result<Outcome> {
        let attr = self.find(&caller, path, true)?;
        let change = size_change(size);
        let changed = self.run(caller.mount.setattr(caller.who, attr.ino, change, None));
        if attr.kind == FileKind::Directory {
            assert!(changed.is_err(), "a directory was truncated");
            return Err(EISDIR);
        }
        done(changed)
    }
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
