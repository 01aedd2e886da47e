//! The wire form of every metadata message.

mod message;
mod codec;

pub use codec::{Message, WireError, decode, encode};
pub use message::*;
