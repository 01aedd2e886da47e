//! A whole node in this process, met by clients over real sockets.

mod rig;
mod alone;
mod foreign;
pub(super) mod client;
mod damage;
mod durable;
mod landed;
mod memory;
mod moves;
mod peers;
mod process;
