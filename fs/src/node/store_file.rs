//! Opening the store's file of a state directory, and what may be wrong with it.

use super::overlay::Overlay;
use rdmafs_meta::store::StoreError;
use rdmafs_rdma::shown::shown;
use rdmafs_rdma::trust::Distrust;
use redb::backends::FileBackend;
use redb::{Builder, Database, DatabaseError};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Memory for redb's pages. The namespace itself lives in memory: the store is read at start and written from then on.
const CACHE_BYTES: usize = 32 << 20;

/// What a state directory is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To serve it; it is made where there is none.
    Serve,
    /// To put right what is in it.
    Repair,
    /// To look at it: its store is not changed.
    Look,
}

/// A state directory that cannot be opened, with what to do.
#[derive(Debug, Error)]
pub enum StateDirError {
    /// Others can change it, or put another one in its place.
    #[error("the state directory is not safe: {0}")]
    Way(#[from] Distrust),
    /// The directory cannot be made.
    #[error("cannot make the state directory {}: {source}", shown(.dir))]
    Make {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No store is in the directory.
    #[error(
        "{} is no state directory: cannot find {}: {source}; give the one of 'rdmafs serve --state'",
        shown(.dir),
        shown(.store)
    )]
    NoStore {
        /// The directory.
        dir: PathBuf,
        /// Where its store would be.
        store: PathBuf,
        /// Why it cannot be found.
        source: io::Error,
    },
    /// The directory cannot be locked.
    #[error("cannot lock the state directory {}: {source}", shown(.dir))]
    Lock {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has the directory.
    #[error(
        "the state directory {} is in use by another rdmafs serve (process {owner}): stop that one, or give another --state",
        shown(.dir)
    )]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// The id of the other process, if it has written it already.
        owner: String,
    },
    /// What is in the store is not what was written.
    #[error(
        "the namespace {0} is damaged: {how}; restore it from a copy, or give up its names and attributes: mv {0} {0}.damaged, then serve with --new",
        shown(.store)
    )]
    Damaged {
        /// The store's file.
        store: PathBuf,
        /// What is wrong.
        how: String,
    },
    /// The store cannot be opened.
    #[error("cannot open the namespace {}: {source}{}", shown(.store), help(.source))]
    Open {
        /// The store's file.
        store: PathBuf,
        /// What the database says.
        source: Box<DatabaseError>,
    },
    /// The store cannot be written.
    #[error("cannot prepare the namespace: {0}")]
    Prepare(#[source] StoreError),
}

/// Opens the file, and checks all of it: what was altered by anybody else is told here and not believed later.
pub(super) fn database(path: &Path, purpose: Purpose) -> Result<Database, StateDirError> {
    let mut builder = Builder::new();
    builder
        .set_cache_size(CACHE_BYTES)
        .set_check_integrity_on_open(true);
    let open = || -> Result<Database, DatabaseError> {
        if purpose == Purpose::Look {
            builder.create_with_backend(Overlay::new(File::open(path)?)?)
        } else {
            builder.create_with_backend(FileBackend::new(private_file(path)?)?)
        }
    };
    let store = || path.to_owned();
    let damaged = |how: String| StateDirError::Damaged { store: store(), how };
    // redb would make a new store of it, and nobody would hear of what is gone.
    if path.metadata().is_ok_and(|file| file.len() == 0) {
        return Err(damaged("it is empty".into()));
    }
    // A damaged file may make redb panic; nothing of ours is in use then.
    let opened = catch_unwind(AssertUnwindSafe(open));
    match opened {
        Ok(Ok(database)) => Ok(database),
        Ok(Err(DatabaseError::Storage(redb::StorageError::Corrupted(how)))) => Err(damaged(how)),
        Ok(Err(error)) => match damage(&error) {
            true => Err(damaged(error.to_string())),
            false => Err(StateDirError::Open {
                store: store(),
                source: Box::new(error),
            }),
        },
        Err(_) => Err(damaged("it cannot be read to its end".into())),
    }
}

fn help(error: &DatabaseError) -> &'static str {
    match is_full_open(error) {
        true => "; make room on its file system",
        false => "",
    }
}

pub(super) fn is_full_open(error: &DatabaseError) -> bool {
    matches!(error, DatabaseError::Storage(redb::StorageError::Io(error)) if is_full(error))
}

/// Room can be made for these.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

/// redb tells a file that is none of its own, or too short, as an error of input.
fn damage(error: &DatabaseError) -> bool {
    let DatabaseError::Storage(redb::StorageError::Io(error)) = error else {
        return matches!(error, DatabaseError::UpgradeRequired(_));
    };
    matches!(
        error.kind(),
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
    )
}

/// A file that only its owner reads and writes.
pub(super) fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}
