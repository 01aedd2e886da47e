//! Making and keeping FUSE mounts.
//!
//! mount(2) is called by the mount helper, in the caller's mount namespace; the open /dev/fuse then goes to the handler.

mod attach;
pub(crate) mod table;

pub use attach::{KernelFlags, attach, detach};
pub use table::{Device, MountPoint, of_process};
