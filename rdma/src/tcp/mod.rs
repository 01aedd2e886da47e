//! One-sided semantics served by the node's threads: works on any machine.
//!
//! A link has one control connection for messages and K data connections, each set up with the pool's key and joined by
//! the control connection's secret token. On a data connection the endpoint sends requests and the node answers them
//! in order (`wire`); unless encrypted, bytes go from the socket into the buffer, or into the arena, without a copy in between.

pub(crate) mod wire;
mod cipher;
mod queue;
mod reply;
mod lane;
mod endpoint;
mod connect;
mod serve;

pub use connect::Tcp;
#[cfg(feature = "verbs")]
pub(crate) use connect::dial;
pub(crate) use serve::serve;
