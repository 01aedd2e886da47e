//! Joins `meta` and `rdma`: the handler (a client host's daemon) and the memory node.
//!
//! Modules stand bottom-up: each imports only what stands above it.

pub use rdmafs_rdma::shown;

pub mod errno;
mod protocol;
pub mod process;
pub mod options;
pub mod mount;
pub mod control;
pub mod mounter;
mod ioctl_call;
pub mod layout_ioctl;
pub mod atomic_ioctl;
mod flags_ioctl;
pub mod node;
pub mod fsck;
mod sync;
pub mod executor;
pub mod handler;
pub mod fuse;
pub mod daemon;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
