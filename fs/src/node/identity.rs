//! A state directory is of one pool of one size: a slip of the hand must not serve it as another one.

use super::limits::size_word;
use super::serve::ServeConfig;
use rdmafs_meta::namespace::Identity;
use rdmafs_meta::store::{Store, StoreError};
use std::path::Path;

/// Compares what the store says with what is asked for. `None`: it does not say, and is to be told by [`Identity::batch`].
///
/// # Errors
/// One line with both values and what to type.
pub(super) fn check(store: &dyn Store, dir: &Path, config: &ServeConfig) -> Result<Option<Identity>, String> {
    let stored = Identity::read(store).map_err(|error| unsound(dir, &error))?;
    if let Some(stored) = &stored {
        compare(stored, dir, config)?;
    }
    Ok(stored)
}

/// What cannot be loaded, and what helps.
pub(super) fn unsound(dir: &Path, error: &StoreError) -> String {
    let dir = dir.display();
    match error {
        StoreError::Damaged(_) => format!(
            "cannot load the namespace of {dir}: {error}; 'rdmafs fsck --state {dir}' says all of it, --repair puts it right"
        ),
        StoreError::Superseded { .. } | StoreError::Io(_) => {
            format!("cannot load the namespace of {dir}: {error}")
        }
    }
}

fn compare(stored: &Identity, dir: &Path, config: &ServeConfig) -> Result<(), String> {
    let dir = dir.display();
    if stored.pool != config.pool {
        return Err(format!(
            "{dir} keeps the names of pool '{0}', not of '{1}': give --pool {0}, or another --state",
            stored.pool, config.pool
        ));
    }
    if stored.memory != config.memory {
        let (had, wanted) = (size_word(stored.memory), size_word(config.memory));
        return Err(format!(
            "{dir} is of a pool with --memory {had}, not {wanted}: give --memory {had}, or resize it first: rdmafs fsck --state {dir} --memory {wanted}"
        ));
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
        assert_eq!(compare(&same, dir, &config), Ok(()));
        let line = compare(&Identity::new(ID, "other", 8 << 20), dir, &config).unwrap_err();
        assert_eq!(
            line,
            "/state keeps the names of pool 'other', not of 'test': give --pool other, or another --state"
        );
        let line = compare(&Identity::new(ID, "test", 4096), dir, &config).unwrap_err();
        assert_eq!(
            line,
            "/state is of a pool with --memory 4K, not 8M: give --memory 4K, or resize it first: rdmafs fsck --state /state --memory 8M"
        );
    }

    #[test]
    fn damage_is_told_with_the_remedy() {
        let line = unsound(Path::new("/state"), &StoreError::Damaged("it".into()));
        assert!(
            line.contains("damaged: it;") && line.contains("'rdmafs fsck --state /state'"),
            "{line}"
        );
    }
}
