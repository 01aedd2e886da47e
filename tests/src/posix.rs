//! Operations as system calls under a directory: on any file system that the kernel has.

use crate::ops::{
    Action, CALLERS, CHOSEN_TIME, FilePath, How, Kind, Op, Outcome, Rename, SLOTS, Stat, pattern,
};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, RenameFlags};
use nix::libc;
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, UtimensatFlags, fstat, lstat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

type Result<T> = std::result::Result<T, Errno>;

/// One or more mounts of the same files. Acts by the file-system uid and gid of the calling thread, which must be root.
#[derive(Debug)]
pub struct Posix {
    roots: Vec<PathBuf>,
    slots: [Option<(File, How)>; SLOTS],
}

impl Posix {
    /// Through these directories, all showing the same files. Sets the process's umask to 0 and drops its groups.
    ///
    /// # Panics
    /// If this process is not root.
    #[must_use]
    pub fn new(roots: Vec<PathBuf>) -> Self {
        nix::sys::stat::umask(Mode::empty());
        nix::unistd::setgroups(&[]).expect("these tests act as several users: run them as root");
        Self {
            roots,
            slots: [const { None }; SLOTS],
        }
    }

    /// Does it and says what came of it.
    pub fn apply(&mut self, op: &Op) -> Outcome {
        let (uid, gid) = CALLERS[op.caller];
        nix::unistd::setfsgid(Gid::from_raw(gid));
        nix::unistd::setfsuid(Uid::from_raw(uid));
        let outcome = self.act(op);
        nix::unistd::setfsuid(Uid::from_raw(0));
        nix::unistd::setfsgid(Gid::from_raw(0));
        outcome.unwrap_or_else(|errno| Outcome::Refused(vec![errno as i32]))
    }

    fn act(&mut self, op: &Op) -> Result<Outcome> {
        let at = |path: &FilePath| self.roots[op.mount].join(OsStr::from_bytes(&path.bytes()));
        match &op.action {
            Action::Open { slot, path, how } => self.open(*slot, &at(path), *how),
            Action::Close { slot } => self.slots[*slot]
                .take()
                .map(|_| Outcome::Done)
                .ok_or(Errno::EBADF),
            Action::Read { slot, at, len } => self.read(*slot, *at, *len),
            Action::Write { slot, at, len, fill } => self.write(*slot, *at, &pattern(*fill, *len)),
            Action::Sync { slot } => done(nix::unistd::fsync(self.file(*slot)?)),
            Action::FileTruncate { slot, size } => {
                done(nix::unistd::ftruncate(self.file(*slot)?, offset(*size)))
            }
            Action::FileStat { slot } => fstat(self.file(*slot)?).map(stat),
            Action::Truncate { path, size } => done(nix::unistd::truncate(&at(path), offset(*size))),
            Action::Stat { path } => lstat(&at(path)).map(stat),
            Action::MakeDir { path, mode } => done(nix::unistd::mkdir(&at(path), bits(*mode))),
            Action::Symlink { target, path } => done(nix::unistd::symlinkat(
                OsStr::from_bytes(&target.bytes()),
                AT_FDCWD,
                &at(path),
            )),
            Action::RemoveDir { path } => done(std::fs::remove_dir(at(path)).map_err(errno)),
            Action::Unlink { path } => done(nix::unistd::unlink(&at(path))),
            Action::Link { old, new } => done(nix::unistd::linkat(
                AT_FDCWD,
                &at(old),
                AT_FDCWD,
                &at(new),
                AtFlags::empty(),
            )),
            Action::ReadLink { path } => {
                nix::fcntl::readlink(&at(path)).map(|t| Outcome::Target(t.into_vec()))
            }
            Action::Rename { old, new, how } => rename(&at(old), &at(new), *how),
            Action::Chmod { path, mode } => {
                let follow = FchmodatFlags::FollowSymlink;
                done(nix::sys::stat::fchmodat(AT_FDCWD, &at(path), bits(*mode), follow))
            }
            Action::Chown { path, uid, gid } => done(nix::unistd::chown(
                &at(path),
                uid.map(Uid::from_raw),
                gid.map(Gid::from_raw),
            )),
            Action::SetTime { path, seconds } => set_time(&at(path), *seconds),
            Action::List { path } => list(&at(path)),
        }
    }

    fn file(&self, slot: usize) -> Result<&File> {
        self.slots[slot]
            .as_ref()
            .map(|(file, _)| file)
            .ok_or(Errno::EBADF)
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

fn rename(old: &Path, new: &Path, how: Rename) -> Result<Outcome> {
    let flags = match how {
        Rename::Replace => RenameFlags::empty(),
        Rename::NoReplace => RenameFlags::RENAME_NOREPLACE,
        Rename::Exchange => RenameFlags::RENAME_EXCHANGE,
    };
    done(nix::fcntl::renameat2(AT_FDCWD, old, AT_FDCWD, new, flags))
}

fn set_time(path: &Path, seconds: i64) -> Result<Outcome> {
    let time = TimeSpec::new(seconds, 0);
    done(nix::sys::stat::utimensat(
        AT_FDCWD,
        path,
        &time,
        &time,
        UtimensatFlags::FollowSymlink,
    ))
}

fn list(path: &Path) -> Result<Outcome> {
    let mut names = BTreeMap::new();
    for entry in std::fs::read_dir(path).map_err(errno)? {
        let entry = entry.map_err(errno)?;
        let kind = entry.file_type().map_err(errno)?;
        let kind = match () {
            () if kind.is_dir() => Kind::Directory,
            () if kind.is_symlink() => Kind::Symlink,
            () => Kind::File,
        };
        let double = names.insert(entry.file_name().into_vec(), kind);
        assert!(
            double.is_none(),
            "{} stands twice in {}",
            entry.path().display(),
            path.display()
        );
    }
    Ok(Outcome::Names(names))
}

fn stat(stat: FileStat) -> Outcome {
    let kind = match stat.st_mode & libc::S_IFMT {
        libc::S_IFDIR => Kind::Directory,
        libc::S_IFLNK => Kind::Symlink,
        _ => Kind::File,
    };
    Outcome::Stat(Stat {
        kind,
        mode: u16::try_from(stat.st_mode & 0o7777).expect("12 bits"),
        nlink: u32::try_from(stat.st_nlink).expect("few links"),
        uid: stat.st_uid,
        gid: stat.st_gid,
        size: if kind == Kind::Directory {
            0
        } else {
            stat.st_size.cast_unsigned()
        },
        mtime: Some(if stat.st_mtime >= CHOSEN_TIME {
            stat.st_mtime
        } else {
            0
        }),
    })
}

fn done(result: Result<()>) -> Result<Outcome> {
    result.map(|()| Outcome::Done)
}

fn bits(mode: u16) -> Mode {
    Mode::from_bits_retain(mode.into())
}

fn offset(at: u64) -> i64 {
    at.cast_signed()
}

fn errno(error: std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}
