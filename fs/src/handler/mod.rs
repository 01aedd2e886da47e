//! Files to layouts to byte ranges: everything a mount does, in our own types.
//!
//! A [`Handler`] serves all mounts of a host; mounts of one pool with the same key and fabric share one session, its links,
//! and one inode table. A [`Mount`] is what one FUSE session calls: an operation is an `async fn`, so the compiler makes
//! the owned state machine.

mod again;
mod attributes;
mod call_counter;
mod commit;
mod commit_later;
mod connect;
mod copy;
mod direct;
mod directories;
mod directory;
mod epoch;
mod host;
mod inode;
mod ioctl;
mod keeper;
mod layout;
mod locks;
mod mount;
mod names;
mod node_clock;
mod open;
mod page_order;
mod pieces;
mod pool;
mod read;
mod seen;
mod session;
mod space;
#[doc(hidden)]
pub mod testing;
#[cfg(test)]
mod tests;
mod types;
mod write;
mod xattr;

pub use host::Handler;
pub use locks::{Caller, LockCall};
pub use mount::Mount;
pub use types::{
    Entry, FilePlace, HandleId, KernelNotify, OpenMode, Opened, ReadData, SpaceChange, WriteMode,
};
pub use xattr::XattrData;
