//! A whole node in this process, met by clients over real sockets.

mod alone;
mod client;
mod durable;
mod memory;
mod peers;
mod process;
