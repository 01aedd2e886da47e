//! File locks: asked for and held at the namespace service.
//!
//! This handler keeps a note of what its programs have locked: so a close of a file that was never locked asks the service nothing, and
//! a lock that ends with its session is known to be lost.

mod spans;
mod notes;
mod waits;
mod closing_files;
mod pool_locks;
mod kind;
mod bytes;
mod calls;
mod closing;

pub use calls::LockCall;
pub use kind::LockCaller;
pub(super) use notes::{Losses, Notes};
pub(super) use pool_locks::PoolLocks;
