//! The handler on a simulated node.

mod bytes;
mod failure;
mod locks;
mod once;
mod restart;
mod sharing;
mod sweep;
mod world;
