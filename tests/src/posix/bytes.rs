//! Bytes of open files, and sizes.

use crate::ops::{Bytes, FilePath, How, Outcome, pattern};
use crate::posix::attributes::stat;
use crate::posix::system::{Posix, Result, bits, done, errno};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::fstat;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

impl Posix {
    pub(super) fn bytes(&mut self, mount: usize, call: &Bytes) -> Result<Outcome> {
        let at = |path: &FilePath| self.at(mount, path);
        match call {
            Bytes::Open { slot, path, how } => self.open(*slot, &at(path), *how),
            Bytes::Close { slot } => self.slots[*slot]
                .take()
                .map(|_| Outcome::Done)
                .ok_or(Errno::EBADF),
            Bytes::Read { slot, at, len } => self.read(*slot, *at, *len),
            Bytes::Write { slot, at, len, fill } => self.write(*slot, *at, &pattern(*fill, *len)),
            Bytes::Sync { slot } => done(nix::unistd::fsync(self.file(*slot)?)),
            Bytes::FileTruncate { slot, size } => {
                done(nix::unistd::ftruncate(self.file(*slot)?, offset(*size)))
            }
            Bytes::FileStat { slot } => fstat(self.file(*slot)?).map(stat),
            Bytes::Truncate { path, size } => done(nix::unistd::truncate(&at(path), offset(*size))),
        }
    }

    /// A directory that could be opened is refused all the same: slots hold regular files.
    fn open(&mut self, slot: usize, path: &Path, how: How) -> Result<Outcome> {
        if self.slots[slot].is_some() {
            return Err(Errno::EBUSY);
        }
        let file = File::from(open(path, how)?);
        if file.metadata().map_err(errno)?.is_dir() {
            return Err(Errno::EISDIR);
        }
        self.slots[slot] = Some((file, how));
        Ok(Outcome::Done)
    }

    fn read(&self, slot: usize, at: u64, len: usize) -> Result<Outcome> {
        let mut bytes = vec![0; len];
        let got = self.file(slot)?.read_at(&mut bytes, at).map_err(errno)?;
        bytes.truncate(got);
        Ok(Outcome::Bytes(bytes))
    }

    fn write(&self, slot: usize, at: u64, data: &[u8]) -> Result<Outcome> {
        self.file(slot)?
            .write_at(data, at)
            .map(Outcome::Count)
            .map_err(errno)
    }
}

fn open(path: &Path, how: How) -> Result<OwnedFd> {
    let access = match (how.read, how.write) {
        (_, false) => OFlag::O_RDONLY,
        (false, true) => OFlag::O_WRONLY,
        (true, true) => OFlag::O_RDWR,
    };
    let flags = [
        (how.append, OFlag::O_APPEND),
        (how.truncate, OFlag::O_TRUNC),
        (how.create, OFlag::O_CREAT),
        (how.create && how.exclusive, OFlag::O_EXCL),
    ];
    let flags = flags
        .iter()
        .filter(|(on, _)| *on)
        .fold(access | OFlag::O_CLOEXEC, |all, (_, flag)| all | *flag);
    nix::fcntl::open(path, flags, bits(how.mode))
}

fn offset(at: u64) -> i64 {
    at.cast_signed()
}
