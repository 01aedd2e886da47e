//! What a file is and who may touch it.
//!
//! The pure core of rdmafs: no I/O, no clock, no threads. Everything that changes is a method of
//! [`Namespace`](namespace::Namespace) that takes the time as an argument and answers with what
//! the memory node must do next (reply, store, notify, zero).
//!
//! Modules stand bottom-up: each imports only what stands above it.
#![forbid(unsafe_code)]

pub mod alloc;
pub mod attr;
pub mod cred;
pub mod error;
pub mod extent;
pub mod id;
pub mod layout;
pub mod name;
pub mod namespace;
pub mod permission;
pub mod session;
pub mod store;
pub mod time;
pub mod tree;
pub mod wire;
