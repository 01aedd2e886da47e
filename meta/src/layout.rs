//! Where a file's bytes lie: file ranges mapped to one or more copies; a hole has no entry.

use crate::extent::Extent;
use serde::{Deserialize, Serialize};

/// Whether a copy can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CopyState {
    /// It holds the file's bytes.
    Valid,
    /// Its arena's life ended: reading or writing it is EIO until the range is truncated away.
    Lost,
}

/// One copy of a run of file bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copy {
    /// Where.
    pub extent: Extent,
    /// Usable or not.
    pub state: CopyState,
}

/// File bytes `[start, start + len)` and their copies, all of that length. At least one copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// First file byte, a multiple of the granule.
    pub start: u64,
    /// The copies.
    pub copies: Vec<Copy>,
}

/// Everything known about the layout of file bytes `[start, end)`: bytes of that range without a run are a hole.
/// Runs are sorted and disjoint; they may reach past `start` and `end` only by rounding to granules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutSlice {
    /// First byte covered.
    pub start: u64,
    /// One past the last byte covered.
    pub end: u64,
    /// `Attr::shrinks` when this was made: a slice from before a shrink is void.
    pub shrinks: u64,
    /// The runs.
    pub runs: Vec<Run>,
}
