//! The node's arena mapped into the handler: same host only.
//!
//! Set-up goes over the node's Unix socket, with the same handshake as everywhere; then the node passes its memfd. Reads
//! and writes are copies in the poster's thread and complete at once: the node's process is not involved. So the
//! node cannot refuse one, and a fence is: the handler gives the mapping up, says goodbye and closes the socket, or its process ends.

mod connect;
mod endpoint;
mod pass;

pub use connect::Shm;
pub(crate) use connect::socket_path;
pub(crate) use pass::send_descriptor;
