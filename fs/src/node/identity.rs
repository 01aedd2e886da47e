//! A state directory is of one pool of one size: a slip of the hand must not serve it as another one.

use super::config::ServeConfig;
use super::limits::size_word;
use rdmafs_meta::namespace::Identity;
use rdmafs_meta::store::{Store, StoreError};
use rdmafs_rdma::shown::shown;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// A state directory that is not of the pool that is asked for, or cannot be loaded.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// The directory is of a pool of another name.
    #[error(
        "{} keeps the names of pool '{stored}', not of '{wanted}': give --pool {stored}, or another --state",
        shown(.dir)
    )]
    Pool {
        /// The directory.
        dir: PathBuf,
        /// The pool that it is of.
        stored: String,
        /// The pool that is asked for.
        wanted: String,
    },
    /// The directory is of a pool of another size. Bytes.
    #[error(
        "{dir} is of a pool with --memory {had}, not {new}: give --memory {had}, or resize it first: rdmafs fsck --state {dir} --memory {new}",
        dir = shown(.dir),
        had = size_word(*.stored),
        new = size_word(*.wanted)
    )]
    Memory {
        /// The directory.
        dir: PathBuf,
        /// The size that it keeps.
        stored: u64,
        /// The size that is asked for.
        wanted: u64,
    },
    /// Its namespace cannot be loaded.
    #[error("cannot load the namespace of {}: {source}{}", shown(.dir), remedy(.dir, .source))]
    Unsound {
        /// The directory.
        dir: PathBuf,
        /// What the store says.
        source: StoreError,
    },
}

/// Compares what the store says with what is asked for. `None`: it does not say, and is to be told by [`Identity::batch`].
///
/// # Errors
/// Names both values and what to type.
pub(super) fn check(
    store: &dyn Store,
    dir: &Path,
    config: &ServeConfig,
) -> Result<Option<Identity>, IdentityError> {
    let stored = Identity::read(store).map_err(|error| unsound(dir, error))?;
    if let Some(stored) = &stored {
        compare(stored, dir, config)?;
    }
    Ok(stored)
}

/// What cannot be loaded.
pub(super) fn unsound(dir: &Path, source: StoreError) -> IdentityError {
    let dir = dir.to_owned();
    IdentityError::Unsound { dir, source }
}

fn remedy(dir: &Path, error: &StoreError) -> String {
    match error {
        StoreError::Damaged(_) => format!(
            "; 'rdmafs fsck --state {}' says all of it, --repair puts it right",
            shown(&dir)
        ),
        StoreError::NewerFormat { .. } | StoreError::Superseded { .. } => String::new(),
        StoreError::Full(_) | StoreError::Io(_) => String::new(),
    }
}

fn compare(stored: &Identity, dir: &Path, config: &ServeConfig) -> Result<(), IdentityError> {
    let dir = || dir.to_owned();
    if stored.pool != config.pool {
        return Err(IdentityError::Pool {
            dir: dir(),
            stored: stored.pool.clone(),
            wanted: config.pool.clone(),
        });
    }
    if stored.memory != config.memory {
        return Err(IdentityError::Memory {
            dir: dir(),
            stored: stored.memory,
            wanted: config.memory,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::tests::client::config;
    use rdmafs_meta::id::PoolId;

    const ID: PoolId = PoolId([3; 16]);

    #[test]
    fn both_values_and_what_to_type_are_said() {
        let dir = Path::new("/state");
        let config = config(Path::new("/x"), true);
        let same = Identity::new(ID, "test", 8 << 20);
        compare(&same, dir, &config).unwrap();
        let line = compare(&Identity::new(ID, "other", 8 << 20), dir, &config)
            .unwrap_err()
            .to_string();
        assert_eq!(
            line,
            "/state keeps the names of pool 'other', not of 'test': give --pool other, or another --state"
        );
        let line = compare(&Identity::new(ID, "test", 4096), dir, &config)
            .unwrap_err()
            .to_string();
        assert_eq!(
            line,
            "/state is of a pool with --memory 4K, not 8M: give --memory 4K, or resize it first: rdmafs fsck --state /state --memory 8M"
        );
    }

    #[test]
    fn damage_is_notified_with_the_remedy() {
        let line = unsound(Path::new("/state"), StoreError::Damaged("it".into())).to_string();
        assert!(
            line.contains("damaged: it;") && line.contains("'rdmafs fsck --state /state'"),
            "{line}"
        );
    }
}
