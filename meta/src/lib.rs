//! What a file is and who may touch it.
//!
//! The pure core of rdmafs: no I/O, no clock, no threads. Everything that changes is a method of
//! [`Namespace`](namespace::Namespace) that takes the time as an argument and answers with what
//! the memory node must do next (reply, store, notify, zero).
//!
//! Modules stand bottom-up: each imports only what stands above it.
#![forbid(unsafe_code)]

pub mod id;
pub mod time;
pub mod error;
pub mod cred;
pub mod name;
pub mod extent;
pub mod share;
pub mod flags;
pub mod acl;
pub mod attr;
pub mod xattr;
pub mod layout;
pub mod lock;
pub mod alloc;
pub mod store;
pub mod problem;
pub mod wire;
pub mod permission;
mod session;
mod holders;
mod leases;
mod locks;
mod tree;
pub mod namespace;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
