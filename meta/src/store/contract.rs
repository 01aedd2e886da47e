//! What the namespace asks of a store, and what it promises in return.

use thiserror::Error;

/// Most keys in one batch.
pub const MAX_BATCH_KEYS: usize = 100;
/// Most bytes of keys and values in one batch.
pub const MAX_BATCH_BYTES: usize = 1 << 20;

/// Puts and deletes that happen together or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// In order; `None` deletes.
    pub changes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// Why a store failed.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Another service has written with a later term.
    #[error("another namespace service has taken over (its term is {found})")]
    Superseded {
        /// The term found in the store.
        found: u64,
    },
    /// A later program wrote it. Nothing was read or changed.
    #[error(
        "the store is of format {found}, and this rdmafs knows none after {newest}: use the rdmafs that wrote it, or a later one"
    )]
    NewerFormat {
        /// Its format.
        found: u8,
        /// The newest format that this program knows.
        newest: u8,
    },
    /// What is stored cannot be a namespace.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// There is no room on the medium. Nothing was committed, and the store can be used once [`Store::make_room`] has been called.
    #[error("the store has no room: {0}")]
    Full(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The medium failed.
    #[error("the store failed: {0}")]
    Io(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// An ordered key-value store with atomic batches.
///
/// Contract: keys are compared bytewise; a batch is applied wholly or not at all, also across a crash; batches become
/// visible and durable in the order of their commits.
pub trait Store: Send {
    /// Calls `each` for all pairs whose key starts with `prefix`, in key order. Used at start only. Blocking.
    ///
    /// # Errors
    /// [`StoreError::Io`]; an error of `each` ends the scan and is returned.
    #[expect(clippy::type_complexity, reason = "said once, and plainer in place")]
    fn scan(
        &self,
        prefix: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError>;

    /// Applies batches in order, durably when it returns, if the stored term is still `term`. Blocking.
    ///
    /// # Errors
    /// [`StoreError::Superseded`] when the term differs, [`StoreError::Full`]; then nothing was changed.
    fn commit(&mut self, batches: &[Batch], term: crate::id::Term) -> Result<(), StoreError>;

    /// Takes the store over: writes `term` as the stored term if it is greater than the one stored. Blocking.
    ///
    /// # Errors
    /// [`StoreError::Superseded`] when it is not greater.
    fn take_over(&mut self, term: crate::id::Term) -> Result<(), StoreError>;

    /// After [`StoreError::Full`]: gives up what was kept for this, and is ready for a commit, which may fail so anew. Blocking.
    ///
    /// # Errors
    /// The store is of no use any more.
    fn make_room(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    /// After [`Store::make_room`]: keeps room as before, where there is some again; true when it does. Blocking.
    fn keep_room(&mut self) -> bool {
        true
    }

    /// The stored term, 0 in a new store.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    fn term(&self) -> Result<crate::id::Term, StoreError>;
}

impl Batch {
    /// Bytes of keys and values.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let size = |(key, value): &(Vec<u8>, Option<Vec<u8>>)| key.len() + value.as_ref().map_or(0, Vec::len);
        self.changes.iter().map(size).sum()
    }

    /// Cuts changes into batches within the limits, in order. What must happen together must come first and fit one.
    #[must_use]
    pub fn split(changes: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> Vec<Batch> {
        let mut batches: Vec<Batch> = Vec::new();
        let mut bytes = 0;
        for (key, value) in changes {
            let size = key.len() + value.as_ref().map_or(0, Vec::len);
            match batches.last_mut() {
                Some(last) if last.changes.len() < MAX_BATCH_KEYS && bytes + size <= MAX_BATCH_BYTES => {
                    bytes += size;
                    last.changes.push((key, value));
                }
                _ => {
                    bytes = size;
                    let changes = vec![(key, value)];
                    batches.push(Batch { changes });
                }
            }
        }
        batches
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_keeps_order_and_limits() {
        let half = vec![0; MAX_BATCH_BYTES / 2];
        let changes: Vec<_> = (0..=MAX_BATCH_KEYS)
            .map(|i| (vec![u8::try_from(i).unwrap()], None))
            .collect();
        let batches = Batch::split(changes.clone());
        assert_eq!(
            batches.iter().map(|b| b.changes.len()).collect::<Vec<_>>(),
            vec![MAX_BATCH_KEYS, 1]
        );
        assert_eq!(
            batches.into_iter().flat_map(|b| b.changes).collect::<Vec<_>>(),
            changes
        );
        let large = (0..3).map(|i| (vec![i], Some(half.clone()))).collect();
        assert!(
            Batch::split(large)
                .iter()
                .all(|b| b.bytes() <= MAX_BATCH_BYTES && b.changes.len() == 1)
        );
    }
}
