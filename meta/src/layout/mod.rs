//! Where a file's bytes lie.

mod run;
mod map;

pub use map::{LayoutMap, SEGMENT};
pub use run::{LayoutSlice, Replica, ReplicaState, Run};
