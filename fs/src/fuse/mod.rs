//! The adapter between the kernel's FUSE requests (through fuser) and the handler: unpack, call, reply. Decides nothing.

mod adapter;
mod convert;
mod filesystem;
pub(crate) mod groups;
mod meter;
mod notify;
mod reply;
mod session;

#[cfg(test)]
mod tests;

pub use adapter::Callers;
pub use meter::{Meter, Reading};
pub use session::FuseSession;
