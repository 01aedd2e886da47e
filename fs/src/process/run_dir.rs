//! The directory of the daemons' sockets and pid files.
//!
//! Who may change this directory, or one that leads to it, may put a socket of his own where a handler looks for a node: only root
//! (or the user that runs the daemon) may be that.

use rdmafs_rdma::shown::shown;
use rdmafs_rdma::trust::{Distrust, check_way};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// A run directory that cannot be used.
#[derive(Debug, Error)]
pub enum RunDirError {
    /// It cannot be made.
    #[error("cannot make directory {}: {source}", shown(.dir))]
    Make {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It cannot be looked at.
    #[error("cannot look at {}: {source}", shown(.dir))]
    Look {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another user than root and this process's owns it.
    #[error("{0} belongs to uid {owner}, who could put sockets of his own there: chown root {0}", shown(.dir))]
    Owner {
        /// The directory.
        dir: PathBuf,
        /// The user.
        owner: u32,
    },
    /// Others can put another directory in its place.
    #[error(transparent)]
    Way(#[from] Distrust),
    /// Its mode lets others change it.
    #[error("{0} can be changed by others (mode {mode:04o}): chmod 755 {0}", shown(.dir))]
    Mode {
        /// The directory.
        dir: PathBuf,
        /// The mode, without the type.
        mode: u32,
    },
}

/// A pid file that cannot be written.
#[derive(Debug, Error)]
#[error("cannot write {}: {source}", shown(.path))]
pub struct PidFileError {
    path: PathBuf,
    source: io::Error,
}

/// Makes the directory (mode 0755 whatever the umask) where it is missing, its parents too, and checks that nobody else may
/// change it.
///
/// # Errors
/// It cannot be made, is no directory, or others may change it.
pub fn prepare_run_dir(dir: &Path) -> Result<(), RunDirError> {
    let name = || dir.to_owned();
    check_way(dir)?;
    make(dir).map_err(|source| RunDirError::Make { dir: name(), source })?;
    check_way(dir)?;
    let found = fs::metadata(dir).map_err(|source| RunDirError::Look { dir: name(), source })?;
    let me = nix::unistd::geteuid().as_raw();
    if found.uid() != 0 && found.uid() != me {
        let owner = found.uid();
        return Err(RunDirError::Owner { dir: name(), owner });
    }
    if found.mode() & 0o022 != 0 {
        let mode = found.mode() & 0o7777;
        return Err(RunDirError::Mode { dir: name(), mode });
    }
    Ok(())
}

/// Ordinary users reach the handler's socket through it, so it is open to them although a daemon's own files are not.
fn make(dir: &Path) -> io::Result<()> {
    if let Some(parent) = dir.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
    }
    match DirBuilder::new().mode(0o755).create(dir) {
        Ok(()) => fs::set_permissions(dir, fs::Permissions::from_mode(0o755)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// A file with this process's id, removed when dropped.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
}

impl PidFile {
    /// Writes it, over a stale one.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(path: PathBuf) -> Result<Self, PidFileError> {
        let text = format!("{}\n", std::process::id());
        match fs::write(&path, text) {
            Ok(()) => Ok(Self { path }),
            Err(source) => Err(PidFileError { path, source }),
        }
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        match fs::remove_file(&self.path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(path = %shown(&self.path), %error, "cannot remove the pid file"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_directory_is_made_that_others_may_use_and_not_change() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = temporary.path().join("a/b");
        prepare_run_dir(&dir).unwrap();
        prepare_run_dir(&dir).unwrap();
        assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o7777, 0o755);
    }

    #[test]
    fn a_directory_that_others_may_change_is_refused_with_the_remedy() {
        let temporary = tempfile::tempdir().unwrap();
        for (mode, allowed) in [(0o755, true), (0o700, true), (0o775, false), (0o1777, false)] {
            fs::set_permissions(temporary.path(), fs::Permissions::from_mode(mode)).unwrap();
            let answer = prepare_run_dir(temporary.path());
            assert_eq!(answer.is_ok(), allowed, "{mode:o}: {answer:?}");
            if let Err(error) = answer {
                let line = error.to_string();
                assert!(line.contains("chmod 755"), "{line}");
            }
        }
    }

    #[test]
    fn a_directory_below_one_that_others_may_change_is_refused_and_not_made() {
        let temporary = tempfile::tempdir().unwrap();
        fs::set_permissions(temporary.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let dir = temporary.path().join("a/run");
        let line = prepare_run_dir(&dir).unwrap_err().to_string();
        assert!(
            line.contains(&format!("chmod go-w {},", shown(&temporary.path()))),
            "{line}"
        );
        assert!(!temporary.path().join("a").exists());
    }

    #[test]
    fn a_file_in_its_place_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(
            prepare_run_dir(file.path())
                .unwrap_err()
                .to_string()
                .contains("cannot make")
        );
    }

    #[test]
    fn the_pid_file_lives_as_long_as_its_guard() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("x.pid");
        fs::write(&path, "stale and longer than a pid\n").unwrap();
        let guard = PidFile::write(path.clone()).unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            format!("{}\n", std::process::id())
        );
        drop(guard);
        assert!(!path.exists());
    }
}
