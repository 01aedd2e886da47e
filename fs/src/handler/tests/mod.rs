//! The handler on a simulated node.

mod bytes;
mod failure;
mod once;
mod sharing;
mod sweep;
mod world;
