//! Whose turn it is, and how much: token buckets and weighted deficit round-robin, pure, with time as an argument.

pub mod share;
pub mod bucket;
pub mod scheduler;
