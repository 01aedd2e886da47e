//! Mounts: what one FUSE session calls, and what its kernel believes. Operations stand in files by theme, each one
//! below those that use it. The highest floor of the handler but for `host`.

mod types;
mod registry;
mod to_the_end;
mod kernel_cache;
mod directories;
mod last_found;
mod flow;
mod open_file;
mod shown_set_id;
mod state;
mod parked;
mod text;
mod kernel;
mod append_only;
mod cleaning;
mod locks;
mod directory;
mod names;
mod attributes;
mod open;
mod read;
mod put;
mod direct;
mod write;
mod space;
mod ioctl;
mod flags;
mod copy;
mod xattr;
mod close;
mod caches;
mod events;
mod pool;

pub(crate) use directory::DIRECTORY_PAGE;
pub use locks::{LockCall, LockCaller};
pub use names::RootError;
use open_file::OpenFile;
pub use parked::TakenBytes;
pub(super) use pool::Pool;
pub use state::Mount;
pub(crate) use types::WHOLE_FILE;
pub use types::{
    Entry, FilePlace, HandleId, KernelNotify, OpenMode, Opened, ReadData, SpaceChange, WriteMode,
};
pub use xattr::XattrData;
