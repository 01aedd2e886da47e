//! Where a file's bytes lie.

mod run;
mod map;

pub use map::{LayoutMap, PIECE};
pub use run::{Copy, CopyState, LayoutSlice, Run};
