//! Files to layouts to byte ranges: everything a mount does, in our own types.
//!
//! A [`Handler`] serves all mounts of a host; mounts of one pool with the same key and fabric share one session, its links,
//! and one inode table. A [`Mount`] is what one FUSE session calls: an operation is an `async fn`, so the compiler makes
//! the owned state machine.
//!
//! It stands on floors, each of which knows only those below it: `client` (a pool's session and its calls), `file` (inodes, layouts,
//! transfers, commits), `mount` (handles, operations, the kernel's cache, locks), `host` (all pools). Two traits lead up:
//! `client::SessionEvents` and `file::KernelCaches`.

mod lock_order;
mod fair;
mod values;
mod client;
mod file;
mod mount;
mod host;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;

pub use client::{EstablishError, PoolReplaced, ReachError};
pub use host::{Handler, PoolError};
pub(crate) use mount::{DIRECTORY_PAGE, WHOLE_FILE};
pub use mount::{
    Entry, FilePlace, HandleId, KernelNotify, LockCall, LockCaller, Mount, OpenMode, Opened, ReadData,
    RootError, SpaceChange, TakenBytes, WriteMode, XattrData,
};
