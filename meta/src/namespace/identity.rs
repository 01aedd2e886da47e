//! Which pool a store is of, so that it is not served as another one by a slip of the hand.
//!
//! It stands beside the namespace and is no part of it: a store without it is one from before it was kept, and gets it at the next
//! start. So does one that says which pool it is but not which of all pools of that name.

use super::format;
use super::record::{self, decode, encode};
use crate::id::PoolId;
use crate::store::{Batch, Store, StoreError};
use serde::{Deserialize, Serialize};

/// Under which key it is kept.
pub(super) const KEY: &[u8] = b"Midentity";

/// Which pool a store is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Which of all pools; `None` in a store from before that was kept.
    pub id: Option<PoolId>,
    /// The name of the pool.
    pub pool: String,
    /// Size of the node's arena in bytes.
    pub memory: u64,
    /// Bytes of the largest arena that it ever had: no extent reaches past it.
    pub largest: u64,
}

/// How it is kept: name, memory, largest, and, in what this version writes, which pool.
#[derive(Serialize, Deserialize)]
struct Kept(String, u64, u64);

impl Identity {
    /// The identity of a new pool.
    #[must_use]
    pub fn new(id: PoolId, pool: impl Into<String>, memory: u64) -> Self {
        let pool = pool.into();
        Self {
            id: Some(id),
            pool,
            memory,
            largest: memory,
        }
    }

    /// What the store says. `None` where it does not. Blocking.
    ///
    /// # Errors
    /// The store's, or that what it says cannot be read; [`StoreError::NewerFormat`].
    pub fn read(store: &dyn Store) -> Result<Option<Self>, StoreError> {
        format::refuse_newer(store)?;
        let mut found = None;
        store.scan(record::HEAD, &mut |key, value| {
            if key == KEY {
                found = Some(Self::decode(value)?);
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// What makes a store say it.
    #[must_use]
    pub fn batch(&self) -> Batch {
        let changes = vec![(KEY.to_vec(), Some(self.encode()))];
        Batch { changes }
    }

    pub(super) fn decode(value: &[u8]) -> Result<Self, StoreError> {
        let read = |id, Kept(pool, memory, largest)| Self {
            id,
            pool,
            memory,
            largest,
        };
        if let Ok((kept, id)) = decode::<(Kept, PoolId)>(KEY, value) {
            return Ok(read(Some(id), kept));
        }
        Ok(read(None, decode(KEY, value)?))
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let kept = Kept(self.pool.clone(), self.memory, self.largest);
        match self.id {
            Some(id) => encode(&(kept, id)),
            None => encode(&kept),
        }
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
        let identity = Identity::new(PoolId([3; 16]), "p", 1 << 20);
        store.take_over(Term(1)).unwrap();
        store.commit(&[identity.batch()], Term(1)).unwrap();
        assert_eq!(Identity::read(&store).unwrap(), Some(identity));
        let old = Identity {
            id: None,
            ..Identity::read(&store).unwrap().unwrap()
        };
        store.commit(&[old.batch()], Term(1)).unwrap();
        assert_eq!(
            Identity::read(&store).unwrap(),
            Some(old),
            "from before ids were kept"
        );
        let torn = Batch {
            changes: vec![(KEY.to_vec(), Some(vec![9]))],
        };
        store.commit(&[torn], Term(1)).unwrap();
        assert!(matches!(Identity::read(&store), Err(StoreError::Damaged(_))));
    }
}
