//! Moving bytes for many mounts over few queue pairs.
//!
//! A [`fabric::Fabric`] connects to a memory node and gives an [`fabric::Endpoint`]; a [`link::Link`] shares that
//! endpoint among all mounts of a host, under the scheduler of [`qos`]. On the node's side a
//! [`server::Server`] lets authenticated peers in to the [`arena::Arena`].
//!
//! Modules stand bottom-up: each imports only what stands above it.

pub mod clock;
mod sync;
pub mod log_limit;
pub mod sys;
pub mod shown;
pub mod trust;
pub mod buffer;
pub mod arena;
pub mod key;
pub mod protocol;
pub mod fabric;
pub mod handshake;
pub mod stream;
pub mod shm;
pub mod tcp;
pub mod verbs;
pub mod server;
#[cfg(any(test, feature = "testing"))]
pub mod sim;
pub mod qos;
pub mod link;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
