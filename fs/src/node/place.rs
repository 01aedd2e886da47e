//! Whether a state directory may be taken for a new pool's. A slip of the hand in `--state`, or a disk that is not mounted, must not
//! begin an empty pool in the place of the one that is meant (ADR 0019).

use super::made::Made;
use super::reserve::RESERVE;
use rdmafs_rdma::shown::shown;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The store's file.
pub(super) const STORE: &str = "namespace.redb";
/// The lock's.
pub(super) const LOCK: &str = "lock";

/// What is wanted of a state directory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// `--new` was given.
    pub(super) new: bool,
    /// The key was made just now: no pool of that key was ever served.
    pub(super) first: bool,
}

/// A state directory that cannot be taken, with what to do.
#[derive(Debug, Error)]
pub enum StatePlaceError {
    /// Something else stands there.
    #[error("the state directory {} is no directory: give another --state", shown(.0))]
    NoDirectory(PathBuf),
    /// A pool is there, and a new one is wanted.
    #[error("{} keeps a pool already: leave out --new to serve it, or give another --state", shown(.0))]
    Kept(PathBuf),
    /// The directory that it is to lie in is missing, or cannot be reached.
    #[error(
        "cannot make the state directory {}: {source}; mend the path, or make the directory that it is to lie in",
        shown(.dir)
    )]
    Make {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No pool is there, and an old one is wanted.
    #[error(
        "{} keeps no pool: is the path right, and its file system mounted? To begin a new, empty pool there give --new",
        shown(.0)
    )]
    NoPool(PathBuf),
    /// The directory cannot be listed.
    #[error("cannot read the state directory {}: {source}", shown(.dir))]
    Read {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The directory is of something else.
    #[error(
        "{} keeps no pool, and is not empty (there is '{entry}'): give a directory of the pool's own with --state",
        shown(.dir)
    )]
    NotEmpty {
        /// The directory.
        dir: PathBuf,
        /// What is in it.
        entry: String,
    },
}

/// Checks the directory, and notes in `made` what a start will make in it. True when a new pool begins there.
///
/// # Errors
/// It is of something else, or a pool would begin, or not begin, against the word of who starts it.
pub(super) fn check(dir: &Path, wanted: Wanted, made: &mut Made) -> Result<bool, StatePlaceError> {
    let name = || dir.to_owned();
    match dir.metadata() {
        Ok(found) if !found.is_dir() => return Err(StatePlaceError::NoDirectory(name())),
        Ok(_) if dir.join(STORE).symlink_metadata().is_ok() => {
            return match wanted.new {
                true => Err(StatePlaceError::Kept(name())),
                false => Ok(false),
            };
        }
        Ok(_) => check_empty(dir)?,
        Err(_) if dir.parent().is_some_and(Path::is_dir) => made.directory(dir.to_owned()),
        Err(source) => return Err(StatePlaceError::Make { dir: name(), source }),
    }
    if !wanted.new && !wanted.first {
        return Err(StatePlaceError::NoPool(name()));
    }
    for file in [LOCK, STORE, RESERVE] {
        if dir.join(file).symlink_metadata().is_err() {
            made.file(dir.join(file));
        }
    }
    Ok(true)
}

/// Nothing may be in it but what is left of a pool that was given up.
fn check_empty(dir: &Path) -> Result<(), StatePlaceError> {
    let name = || dir.to_owned();
    let entries = dir
        .read_dir()
        .map_err(|source| StatePlaceError::Read { dir: name(), source })?;
    for entry in entries.flatten() {
        let file = entry.file_name();
        let ours = file.to_string_lossy();
        if ours != LOCK && ours != RESERVE && ours != "lost+found" && !ours.starts_with(STORE) {
            let entry = ours.into_owned();
            return Err(StatePlaceError::NotEmpty { dir: name(), entry });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(dir: &Path, new: bool, first: bool) -> Result<bool, String> {
        let checked = check(dir, Wanted { new, first }, &mut Made::default());
        checked.map_err(|error| error.to_string())
    }

    #[test]
    fn a_new_pool_begins_only_where_it_is_wanted() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("state");
        for there in [false, true] {
            let line = checked(&dir, false, false).unwrap_err();
            assert!(line.contains("keeps no pool") && line.contains("--new"), "{line}");
            assert_eq!(checked(&dir, true, false), Ok(true));
            assert_eq!(checked(&dir, false, true), Ok(true));
            if !there {
                std::fs::create_dir(&dir).unwrap();
            }
        }
        std::fs::write(dir.join(STORE), "").unwrap();
        assert_eq!(checked(&dir, false, false), Ok(false));
        assert!(checked(&dir, true, true).unwrap_err().contains("leave out --new"));
    }

    #[test]
    fn what_is_no_place_for_a_pool_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let line = checked(&parent.path().join("a/b"), true, true).unwrap_err();
        assert!(line.contains("mend the path"), "{line}");
        let file = parent.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(checked(&file, true, true).unwrap_err().contains("no directory"));
        let line = checked(parent.path(), true, true).unwrap_err();
        assert!(line.contains("there is 'file'"), "{line}");
        std::fs::remove_file(&file).unwrap();
        std::fs::write(parent.path().join("namespace.redb.damaged"), "").unwrap();
        assert_eq!(checked(parent.path(), true, false), Ok(true));
    }
}
