//! The mounts, the open files, and what all themes need of the kernel.

use crate::ops::{FilePath, How, Outcome, SLOTS};
use nix::errno::Errno;
use nix::libc;
use nix::sys::stat::Mode;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

pub(super) type Result<T> = std::result::Result<T, Errno>;

/// One or more mounts of the same files. Acts by the file-system uid and gid of the calling thread, which must be root.
#[derive(Debug)]
pub struct Posix {
    pub(super) roots: Vec<PathBuf>,
    pub(super) slots: [Option<(File, How)>; SLOTS],
    /// Whether there are ioctls for words.
    pub(super) is_rdmafs: bool,
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
            is_rdmafs: false,
        }
    }

    /// System calls on mounts of rdmafs, with what only these have.
    #[must_use]
    pub fn on_rdmafs(roots: Vec<PathBuf>) -> Self {
        let plain = Self::new(roots);
        Self {
            is_rdmafs: true,
            ..plain
        }
    }

    /// Where a path leads through one of the mounts.
    pub(super) fn at(&self, mount: usize, path: &FilePath) -> PathBuf {
        self.roots[mount].join(OsStr::from_bytes(&path.bytes()))
    }

    pub(super) fn file(&self, slot: usize) -> Result<&File> {
        self.slots[slot]
            .as_ref()
            .map(|(file, _)| file)
            .ok_or(Errno::EBADF)
    }
}

pub(super) fn done(result: Result<()>) -> Result<Outcome> {
    result.map(|()| Outcome::Done)
}

pub(super) fn bits(mode: u16) -> Mode {
    Mode::from_bits_retain(mode.into())
}

pub(super) fn errno(error: std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}
