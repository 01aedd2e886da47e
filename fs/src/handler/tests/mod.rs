//! The handler on a simulated node.

mod bounds;
mod bytes;
mod direct;
mod directories;
mod failure;
mod flags;
mod later;
mod leases;
mod kept;
mod lock_bytes;
mod set_id;
mod locks;
mod nodes;
mod once;
mod replaced;
mod restart;
mod sharing;
mod space;
mod text;
mod sweep;
mod world;
mod xattr;
