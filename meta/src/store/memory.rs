//! The store that keeps nothing beyond its process: for pools without `--state`, and for tests.

use super::{Batch, Store, StoreError};
use crate::id::Term;
use std::collections::BTreeMap;

/// A [`Store`] in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    pairs: BTreeMap<Vec<u8>, Vec<u8>>,
    term: Term,
}

impl Store for MemoryStore {
    fn scan(
        &self,
        prefix: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let from_prefix = self.pairs.range(prefix.to_vec()..);
        for (key, value) in from_prefix.take_while(|(key, _)| key.starts_with(prefix)) {
            each(key, value)?;
        }
        Ok(())
    }

    fn commit(&mut self, batches: &[Batch], term: Term) -> Result<(), StoreError> {
        if term != self.term {
            return Err(StoreError::Superseded { found: self.term.0 });
        }
        for (key, value) in batches.iter().flat_map(|batch| &batch.changes) {
            match value {
                Some(value) => self.pairs.insert(key.clone(), value.clone()),
                None => self.pairs.remove(key),
            };
        }
        Ok(())
    }

    fn take_over(&mut self, term: Term) -> Result<(), StoreError> {
        if term <= self.term {
            return Err(StoreError::Superseded { found: self.term.0 });
        }
        self.term = term;
        Ok(())
    }

    fn term(&self) -> Result<Term, StoreError> {
        Ok(self.term)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conforms() {
        super::super::conformance::check(MemoryStore::default);
    }
}
