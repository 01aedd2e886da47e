//! A directory that is held by a descriptor: it stays the same one whatever is done to its name.

use super::table::Device;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{SFlag, fstat, major, minor};
use nix::sys::statvfs::fstatvfs;
use serde::{Deserialize, Serialize};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::thread;
use std::time::Duration;

/// How often, and at what distance, a mount whose server is going is asked: its threads end within milliseconds.
const ABORTED_TRIES: u32 = 200;
const ABORTED_PAUSE: Duration = Duration::from_millis(10);

/// Which directory it is, whatever its name. Its file system may give the inode number of a removed one to a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The device number of the directory's file system.
    pub device: Device,
    /// The directory's inode number in that file system.
    pub inode: u64,
}

/// A directory, or the root of what is mounted on it.
#[derive(Debug)]
pub(super) struct Directory(OwnedFd);

impl Directory {
    /// Opens the topmost of what is at `path`, without asking the file system that is mounted there, and without starting an automount.
    ///
    /// # Errors
    /// ELOOP: a symbolic link stands in the path, or at its end. ENOTCONN: a mount above it is dead.
    pub(super) fn open(path: &Path) -> Result<Self, Errno> {
        // Without O_DIRECTORY, which would start an automount; `identity` asks for a directory.
        let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
        let how = OpenHow::new()
            .flags(flags)
            .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
        openat2(AT_FDCWD, path, how).map(Self)
    }

    /// Opens what `path` leads to from the root of a mount, wherever that is, as [`Directory::open`] does.
    ///
    /// # Errors
    /// The directory is not there, is a link, or cannot be opened.
    pub(super) fn open_in(root: &impl AsFd, path: &Path, more: ResolveFlag) -> Result<Self, Errno> {
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_BENEATH | more);
        openat2(root, path, how).map(Self)
    }

    /// Device and inode number of the directory. Its file system is asked.
    ///
    /// # Errors
    /// ENOTDIR, or that of the file system.
    pub(super) fn identity(&self) -> Result<Identity, Errno> {
        let stat = fstat(&self.0)?;
        if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != SFlag::S_IFDIR {
            return Err(Errno::ENOTDIR);
        }
        let part = |number: u64| u32::try_from(number).map_err(|_| Errno::EOVERFLOW);
        Ok(Identity {
            device: Device {
                major: part(major(stat.st_dev))?,
                minor: part(minor(stat.st_dev))?,
            },
            inode: stat.st_ino,
        })
    }

    /// Whether it belongs to a FUSE mount without a server. A live one is asked, and answers within its time limit. Attributes would
    /// not tell: the kernel has them for a second longer. While a server that was killed is still going, requests are aborted.
    pub(super) fn is_dead(&self) -> bool {
        for _ in 0..ABORTED_TRIES {
            match fstatvfs(&self.0) {
                Err(Errno::ENOTCONN) => return true,
                Err(Errno::ECONNABORTED) => thread::sleep(ABORTED_PAUSE),
                _ => return false,
            }
        }
        false
    }

    pub(super) fn number(&self) -> i32 {
        self.0.as_raw_fd()
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_are_not_followed_anywhere() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(dir.join("real/inner")).unwrap();
        symlink("real", dir.join("link")).unwrap();
        assert!(Directory::open(&dir.join("real/inner")).is_ok());
        for path in ["link", "link/inner", "link/"] {
            let refused = Directory::open(&dir.join(path)).unwrap_err();
            assert_eq!(refused, Errno::ELOOP, "{path}");
        }
        assert_eq!(Directory::open(&dir.join("no")).unwrap_err(), Errno::ENOENT);
    }

    #[test]
    fn an_identity_outlives_a_name_and_is_not_that_of_its_successor() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        let path = dir.join("d");
        std::fs::create_dir(&path).unwrap();
        let held = Directory::open(&path).unwrap();
        std::fs::rename(&path, dir.join("moved")).unwrap();
        std::fs::create_dir(&path).unwrap();
        let moved = Directory::open(&dir.join("moved")).unwrap();
        assert_eq!(held.identity().unwrap(), moved.identity().unwrap());
        let other = Directory::open(&path).unwrap();
        assert_ne!(held.identity().unwrap(), other.identity().unwrap());
        std::fs::write(dir.join("file"), "").unwrap();
        let file = Directory::open(&dir.join("file")).unwrap();
        assert_eq!(file.identity().unwrap_err(), Errno::ENOTDIR);
        assert!(!held.is_dead());
    }
}
