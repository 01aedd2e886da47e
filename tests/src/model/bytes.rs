//! Bytes of open files, and sizes.

use crate::model::state::{Model, READ, Result, Slot, WRITE, Who, kept_bits, refuse};
use crate::ops::{Bytes, FilePath, How, Kind, Outcome, pattern};
use nix::libc::{EACCES, EBADF, EBUSY, EEXIST, EINVAL, EISDIR, ENOENT, ENXIO};

impl Model {
    pub(super) fn bytes(&mut self, who: Who, mount: usize, call: &Bytes) -> Result<Outcome> {
        match call {
            Bytes::Open { slot, path, how } => self.open((who, mount), *slot, path, *how),
            Bytes::Close { slot } => self.close(*slot),
            Bytes::Read { slot, at, len } => self.read(*slot, *at, *len),
            Bytes::Write { slot, at, len, fill } => self.write(who, *slot, *at, &pattern(*fill, *len)),
            Bytes::Sync { slot } => self.slot(*slot).map(|_| Outcome::Done),
            Bytes::FileTruncate { slot, size } => self.file_truncate(who, *slot, *size),
            Bytes::FileStat { slot } => self.slot(*slot).map(|s| self.stat(s.ino)),
            Bytes::Truncate { path, size } => self.truncate(who, path, *size),
        }
    }

    fn open(
        &mut self,
        (who, mount): (Who, usize),
        slot: usize,
        path: &FilePath,
        how: How,
    ) -> Result<Outcome> {
        refuse!(self.slots[slot].is_some() => EBUSY);
        let place = self.walk(who, path, !(how.create && how.exclusive))?;
        let ino = match place.found {
            Some(ino) => {
                let dir = self.is_dir(ino);
                let want = if how.read { READ } else { 0 } | if how.write { WRITE } else { 0 };
                refuse!(
                    how.create && how.exclusive => EEXIST,
                    dir && (how.create || how.write) => EISDIR,
                    !self.may(who, ino, want) => EACCES,
                    dir => EISDIR,
                    // A mount without devices says so first.
                    self.is_whiteout(ino) => EACCES,
                    self.is_whiteout(ino) => ENXIO,
                );
                if how.truncate {
                    self.resize(who, ino, 0, true);
                }
                ino
            }
            None => {
                refuse!(!how.create => ENOENT, !self.may(who, place.dir, WRITE) => EACCES);
                self.create(who, place, Kind::File, how.mode)
            }
        };
        self.slots[slot] = Some(Slot { ino, how, mount });
        Ok(Outcome::Done)
    }

    fn read(&self, slot: usize, at: u64, len: usize) -> Result<Outcome> {
        let slot = self.slot(slot)?;
        refuse!(!slot.how.read => EBADF);
        let inode = &self.inodes[&slot.ino];
        let end = inode.stat.size.min(at.saturating_add(len as u64));
        let byte = |at: u64| inode.bytes.get(&at).copied().unwrap_or(0);
        Ok(Outcome::Bytes((at..end).map(byte).collect()))
    }

    fn write(&mut self, who: Who, slot: usize, at: u64, data: &[u8]) -> Result<Outcome> {
        let slot = self.slot(slot)?;
        refuse!(!slot.how.write => EBADF);
        let inode = self.get(slot.ino);
        inode.stat.mode &= kept_bits(who.0 == 0);
        let at = if slot.how.append { inode.stat.size } else { at };
        inode.bytes.extend((at..).zip(data.iter().copied()));
        inode.stat.size = inode.stat.size.max(at + data.len() as u64);
        inode.stat.mtime = Some(0);
        Ok(Outcome::Count(data.len()))
    }

    fn file_truncate(&mut self, who: Who, slot: usize, size: u64) -> Result<Outcome> {
        let slot = self.slot(slot)?;
        refuse!(!slot.how.write => EINVAL);
        Ok(self.resize(who, slot.ino, size, true))
    }

    fn truncate(&mut self, who: Who, path: &FilePath, size: u64) -> Result<Outcome> {
        let ino = self.find(who, path, true)?;
        refuse!(
            self.is_dir(ino) => EISDIR,
            self.is_whiteout(ino) => EINVAL,
            !self.may(who, ino, WRITE) => EACCES,
        );
        Ok(self.resize(who, ino, size, false))
    }

    fn resize(&mut self, who: Who, ino: u64, size: u64, touches: bool) -> Outcome {
        let inode = self.get(ino);
        inode.stat.mode &= kept_bits(who.0 == 0);
        // File systems differ in whether truncating by path to the same size is a change.
        inode.stat.mtime = (touches || size != inode.stat.size).then_some(0);
        inode.bytes.split_off(&size);
        inode.stat.size = size;
        Outcome::Done
    }
}
