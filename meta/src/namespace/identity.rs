//! Which pool a store is of, so that it is not served as another one by a slip of the hand.
//!
//! It stands beside the namespace and is no part of it: a store without it is one from before it was kept, and gets it at the next
//! start.

use super::record::{self, decode, encode};
use crate::store::{Batch, Store, StoreError};
use serde::{Deserialize, Serialize};

/// Under which key it is kept.
pub(super) const KEY: &[u8] = b"Midentity";

/// Which pool a store is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its name.
    pub pool: String,
    /// Bytes of its arena.
    pub memory: u64,
    /// Bytes of the largest arena that it ever had: no extent reaches past it.
    pub largest: u64,
}

impl Identity {
    /// Of a new pool.
    #[must_use]
    pub fn new(pool: impl Into<String>, memory: u64) -> Self {
        let pool = pool.into();
        Self {
            pool,
            memory,
            largest: memory,
        }
    }

    /// What the store says. `None` where it does not. Blocking.
    ///
    /// # Errors
    /// The store's, or that what it says cannot be read.
    pub fn read(store: &dyn Store) -> Result<Option<Self>, StoreError> {
        let mut found = None;
        store.scan(record::HEAD, &mut |key, value| {
            if key == KEY {
                found = Some(decode(key, value)?);
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// What makes a store say it.
    #[must_use]
    pub fn batch(&self) -> Batch {
        let changes = vec![(KEY.to_vec(), Some(encode(self)))];
        Batch { changes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Term;
    use crate::store::MemoryStore;

    #[test]
    fn a_store_says_which_pool_it_is_of() {
        let mut store = MemoryStore::default();
        assert_eq!(Identity::read(&store).unwrap(), None);
        let identity = Identity::new("p", 1 << 20);
        store.take_over(Term(1)).unwrap();
        store.commit(&[identity.batch()], Term(1)).unwrap();
        assert_eq!(Identity::read(&store).unwrap(), Some(identity));
        let torn = Batch {
            changes: vec![(KEY.to_vec(), Some(vec![9]))],
        };
        store.commit(&[torn], Term(1)).unwrap();
        assert!(matches!(Identity::read(&store), Err(StoreError::Damaged(_))));
    }
}
