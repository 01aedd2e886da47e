//! Operations as system calls under a directory: on any file system that the kernel has.

mod system;
mod names;
mod attributes;
mod bytes;
mod space;
mod xattrs;
mod atomics;
mod locks;
mod apply;

pub use system::Posix;
pub(crate) use xattrs::listed;
