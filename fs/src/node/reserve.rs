//! A file beside the store that is given up when the file system under both is full: the store needs room to write that something was removed, since
//! it writes beside what it replaces.

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use std::fs::{OpenOptions, remove_file};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Its name in the state directory.
pub(super) const RESERVE: &str = "reserve";
/// Room for some thousand removals at a time.
const BYTES: i64 = 4 << 20;

/// Space on the store's file system.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
}

impl Reserve {
    /// The reserve of a state directory. Nothing is taken before [`Reserve::fill`].
    pub(super) fn of(dir: &Path) -> Self {
        let path = dir.join(RESERVE);
        Self { path }
    }

    /// Takes the space, if it is not there. Blocking.
    ///
    /// # Errors
    /// There is no room for it; then none of it is taken.
    pub(super) fn fill(&self) -> io::Result<()> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&self.path)?;
        match fallocate(&file, FallocateFlags::empty(), 0, BYTES) {
            Ok(()) => Ok(()),
            // A file system that cannot take space ahead: nothing is kept there.
            Err(Errno::EOPNOTSUPP) => self.give_up(),
            Err(error) => {
                self.give_up()?;
                Err(error.into())
            }
        }
    }

    /// Gives the space back. Blocking.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub(super) fn give_up(&self) -> io::Result<()> {
        match remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn it_takes_space_once_and_gives_it_back() {
        let dir = tempfile::tempdir().unwrap();
        let reserve = Reserve::of(dir.path());
        reserve.give_up().unwrap();
        reserve.fill().unwrap();
        reserve.fill().unwrap();
        let file = dir.path().join(RESERVE).metadata().unwrap();
        assert_eq!((file.blocks() * 512, file.mode() & 0o777), (4 << 20, 0o600));
        reserve.give_up().unwrap();
        assert!(!dir.path().join(RESERVE).exists());
    }
}
