//! The node's side of the fabrics: who was let in, and what they may do.
//!
//! A [`Door`] listens on TCP and, for shm, on a Unix socket. Each connection has a thread of its own, which first runs the
//! handshake (`gate`) and then serves what the connection is for: a peer's messages (`member`) or its data.

mod desk;
mod gate;
mod line;
mod listen;
mod member;
mod open;
mod roll;

pub use desk::{Desk, DoorConfig, Identity, Peer, PeerId};
pub use open::Door;
