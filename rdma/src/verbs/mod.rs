//! RDMA verbs: reliable queue pairs over any RoCE, InfiniBand or iWARP device, and over Linux's soft-RoCE.
//!
//! The set-up connection is TCP with the handshake of all fabrics. Only behind its first encrypted message are queue pairs
//! made; their numbers, start sequence numbers and keys travel encrypted (`setup`). After that reads and writes of the arena
//! are one-sided: the node's processor does nothing for them. Messages are SENDs on queue 0, sealed records cut into chunks
//! that fit the receives that the peer has posted (`chunks`). The set-up connection stays open as the sign of life.
//!
//! One file per object of the verbs, each of which keeps its parents alive: `device` <- `domain` <- `region`, `completions`,
//! `queue`. On top: `lane` (a queue that never fills), `messages`, the handler's `endpoint`, the node's `responder`.
//! Without the feature `verbs` the same names stand in `absent` and say that this build has none.

#[cfg(feature = "verbs")]
mod addressing;
#[cfg(any(feature = "verbs", fuzzing))]
#[cfg_attr(fuzzing, allow(dead_code, reason = "the fuzzer is the other side"))]
mod chunks;
#[cfg(feature = "verbs")]
mod completions;
#[cfg(feature = "verbs")]
mod connect;
#[cfg(feature = "verbs")]
mod device;
#[cfg(feature = "verbs")]
mod domain;
#[cfg(feature = "verbs")]
mod endpoint;
#[cfg(feature = "verbs")]
mod error;
#[cfg(feature = "verbs")]
mod events;
#[cfg(feature = "verbs")]
mod ffi;
#[cfg(feature = "verbs")]
mod lane;
#[cfg(feature = "verbs")]
mod responder;
#[cfg(feature = "verbs")]
mod messages;
#[cfg(feature = "verbs")]
mod queue;
#[cfg(feature = "verbs")]
mod region;
#[cfg(feature = "verbs")]
mod session;
#[cfg(any(feature = "verbs", fuzzing))]
mod setup;

#[cfg(not(feature = "verbs"))]
mod absent;

#[cfg(feature = "verbs")]
pub use connect::Verbs;
#[cfg(feature = "verbs")]
pub(crate) use {responder::Responder, session::VerbsSession};

#[cfg(not(feature = "verbs"))]
pub use absent::Verbs;
#[cfg(not(feature = "verbs"))]
pub(crate) use absent::{Responder, VerbsSession};

#[cfg(any(all(test, feature = "verbs"), fuzzing))]
pub(crate) mod fuzzing;
#[cfg(all(test, feature = "verbs"))]
mod tests;
