//! The ordered key-value store under the namespace.

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
    /// What is stored cannot be a namespace.
    #[error("the store is damaged: {0}")]
    Damaged(String),
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
    fn scan(
        &self,
        prefix: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError>;

    /// Applies batches in order, durably when it returns, if the stored term is still `term`. Blocking.
    ///
    /// # Errors
    /// [`StoreError::Superseded`] when the term differs; then nothing was changed.
    fn commit(&mut self, batches: &[Batch], term: crate::id::Term) -> Result<(), StoreError>;

    /// Takes the store over: writes `term` as the stored term if it is greater than the one stored. Blocking.
    ///
    /// # Errors
    /// [`StoreError::Superseded`] when it is not greater.
    fn take_over(&mut self, term: crate::id::Term) -> Result<(), StoreError>;

    /// The stored term, 0 in a new store.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    fn term(&self) -> Result<crate::id::Term, StoreError>;
}
