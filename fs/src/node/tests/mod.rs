//! A whole node in this process, met by clients over real sockets.

mod alone;
pub(super) mod client;
mod damage;
mod durable;
mod memory;
mod moves;
mod peers;
mod process;
