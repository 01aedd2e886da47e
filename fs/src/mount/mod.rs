//! Making, finding and removing FUSE mounts.
//!
//! mount(2) is called by the mount helper, in the caller's mount namespace; the open /dev/fuse then goes to the handler. A handler
//! that is started again after a crash does the same in the namespace where the mount was.
//!
//! Directories are opened once, without following symbolic links, and named by that descriptor from then on: what was checked is what
//! is mounted on or detached, whoever renames or replaces something on the way meanwhile.

mod error;
mod table;
mod directory;
mod device;
mod attach;
mod namespace_id;
mod place;
mod view;
mod namespace;
mod detached;
mod takeover;
mod holders;

pub use attach::KernelFlags;
pub use detached::Detached;
pub(crate) use device::is_fuse;
pub use directory::Identity;
pub use error::MountError;
pub use holders::{Holder, holders};
pub use namespace::Namespace;
pub use namespace_id::NamespaceId;
pub use place::MountPlace;
pub use table::{Device, MountPoint, MountTable};
pub use takeover::{Cap, Put, Standing, can_mount_beneath};
pub use view::{Attached, Detach, Falls, Sought, View};
