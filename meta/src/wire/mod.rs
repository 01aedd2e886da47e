//! The wire form of every metadata message.

mod request;
mod kind;
mod reply;
mod effect;
mod message;
mod version;
mod acls;
mod codec;

pub use codec::{Message, WireError, decode, decode_answer, encode};
pub use kind::RequestKind;
pub use message::*;
pub use reply::*;
pub use request::*;
pub use version::{FEATURES, NEWEST, OLDEST, WireVersion};
