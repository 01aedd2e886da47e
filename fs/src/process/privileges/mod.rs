//! What a daemon may still do once it has started: few capabilities, a list of system calls, and no way to more.

mod calls;
mod capabilities;
mod filter;
mod confine;

pub use capabilities::Role;
pub use confine::{confine, describe};
