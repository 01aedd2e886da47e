//! The node's side of the fabrics: who was let in, and what they may do.
//!
//! A [`Door`] listens on TCP and, for shm, on a Unix socket (`listen`). Who comes waits until he has proved a key among the
//! strangers of his listener, which have one thread for all of them (`porch`). Then the connection gets a thread of its own,
//! which finishes the set-up (`gate`) and serves what the connection is for: a peer's messages (`member`) or its data.
//! So what an unknown peer can have is bounded in all that a node has: descriptors, threads, memory, time, and lines of its log (`refusals`).

mod desk;
mod gate;
mod line;
mod listen;
mod member;
mod open;
mod porch;
mod refusals;
mod roll;

pub use desk::{Desk, DoorConfig, Identity, Peer, PeerId};
pub use open::Door;
