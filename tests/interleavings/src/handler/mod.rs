//! The epoch of an inode's layout, and what it plays.

mod file;

pub use file::plays::*;
