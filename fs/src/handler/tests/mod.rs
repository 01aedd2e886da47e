//! The handler on a simulated node.

mod bytes;
mod failure;
mod sharing;
mod world;
