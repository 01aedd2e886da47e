//! The ordered key-value store under the namespace.

mod contract;
mod memory;
#[cfg(any(test, feature = "testing"))]
pub mod conformance;

pub use contract::{Batch, MAX_BATCH_BYTES, MAX_BATCH_KEYS, Store, StoreError};
pub use memory::MemoryStore;
