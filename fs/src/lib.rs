//! Joins `meta` and `rdma`: the handler (a client host's daemon) and the memory node.
//!
//! Modules stand bottom-up: each imports only what stands above it.

pub mod control;
pub mod daemon;
pub mod errno;
pub mod executor;
pub mod fuse;
pub mod handler;
pub mod layout_ioctl;
pub mod mount;
pub mod node;
pub mod options;
pub mod process;
