//! The node's side of the fabrics: who was let in, and what they may do.
//!
//! A [`Server`] listens on TCP and, for shm, on a Unix socket (`listen`). Who comes waits until he has proved a key among the
//! strangers of his listener, which have one thread for all of them (`half_open`). Then the connection gets a thread of its own,
//! which finishes the set-up (`acceptor`) and serves what the connection is for: a peer's messages (`connection`) or its data.
//! So what an unknown peer can have is bounded in all that a node has: descriptors, threads, memory, time, and lines of its log (`rejections`).

mod closing;
mod peer_handler;
mod openings;
mod acceptor;
mod channel;
mod listen;
mod connection;
mod open;
mod half_open;
mod rejections;
mod registry;

pub use open::Server;
pub use peer_handler::{Identity, Peer, PeerHandler, PeerId, ServerConfig};
