//! File ranges mapped to one or more copies; a hole has no entry.
//!
//! These types cross the wire and the store: decoding refuses what the rest relies on (copies of one length, runs on
//! granules, sorted and disjoint), so that no arithmetic on a decoded value can overflow.

use crate::extent::{Extent, GRANULE};
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
#[serde(try_from = "(u64, Vec<Copy>)", into = "(u64, Vec<Copy>)")]
pub struct Run {
    /// First file byte, a multiple of the granule.
    pub start: u64,
    /// The copies.
    pub copies: Vec<Copy>,
}

/// Everything known about the layout of file bytes `[start, end)`: bytes of that range without a run are a hole.
/// Runs are sorted and disjoint; they may reach past `start` and `end` only by rounding to granules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawSlice")]
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

impl Run {
    /// Length in bytes, above 0.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.copies.first().map_or(0, |copy| copy.extent.len)
    }

    /// Never: a run has bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One past the last file byte.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.start + self.len()
    }

    /// The part from `skip` bytes in, at most `len` long; `None` when nothing is left.
    #[must_use]
    pub fn part(&self, skip: u64, len: u64) -> Option<Run> {
        let cut = |copy: &Copy| {
            let extent = copy.extent.part(skip, len)?;
            Some(Copy { extent, ..*copy })
        };
        let copies = self.copies.iter().map(cut).collect::<Option<Vec<Copy>>>()?;
        let start = self.start + skip;
        Some(Run { start, copies })
    }
}

impl TryFrom<(u64, Vec<Copy>)> for Run {
    type Error = &'static str;

    fn try_from((start, copies): (u64, Vec<Copy>)) -> Result<Self, Self::Error> {
        let run = Run { start, copies };
        let len = run.len();
        let aligned = start.is_multiple_of(GRANULE) && len.is_multiple_of(GRANULE);
        let equal = run.copies.iter().all(|copy| copy.extent.len == len);
        if len == 0 || !aligned || !equal || start.checked_add(len).is_none() {
            return Err("a run is empty, off its granule, too long, or its copies differ in length");
        }
        Ok(run)
    }
}

impl From<Run> for (u64, Vec<Copy>) {
    fn from(run: Run) -> Self {
        (run.start, run.copies)
    }
}

#[derive(Deserialize)]
struct RawSlice {
    start: u64,
    end: u64,
    shrinks: u64,
    runs: Vec<Run>,
}

impl TryFrom<RawSlice> for LayoutSlice {
    type Error = &'static str;

    fn try_from(raw: RawSlice) -> Result<Self, Self::Error> {
        let disjoint = raw.runs.windows(2).all(|pair| pair[0].end() <= pair[1].start);
        if raw.start > raw.end || !disjoint {
            return Err("a layout slice is reversed, or its runs overlap");
        }
        Ok(LayoutSlice {
            start: raw.start,
            end: raw.end,
            shrinks: raw.shrinks,
            runs: raw.runs,
        })
    }
}
