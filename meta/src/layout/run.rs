//! File ranges mapped to one or more copies; a hole has no entry.
//!
//! These types cross the wire and the store: decoding refuses what the rest relies on (copies of one length, runs on
//! granules, sorted and disjoint), so that no arithmetic on a decoded value can overflow.

use crate::extent::{Extent, GRANULE};
use serde::{Deserialize, Serialize};

/// Whether a copy can be used. Stored with its run and sent with it, so variants are only ever appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReplicaState {
    /// The replica has every byte of the file that was acknowledged.
    Valid,
    /// The incarnation of the replica's arena is over: reading or writing it is EIO until the range is truncated away.
    Lost,
    /// The replica missed a write: its space is kept, and nobody reads or writes it.
    Stale,
}

/// One copy of a run of file bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    /// The bytes of an arena that hold the replica.
    pub extent: Extent,
    /// Whether the replica can be read.
    pub state: ReplicaState,
}

/// File bytes `[start, start + len)` and their copies, all of that length. At least one copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "(u64, Vec<Replica>)", into = "(u64, Vec<Replica>)")]
pub struct Run {
    /// First file byte, a multiple of the granule.
    pub start: u64,
    /// The replicas of the run's bytes.
    pub replicas: Vec<Replica>,
}

/// Everything known about the layout of file bytes `[start, end)`: bytes of that range without a run are a hole.
/// Runs are sorted and disjoint; they may reach past `start` and `end` only by rounding to granules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawSlice")]
pub struct LayoutSlice {
    /// First byte of the file that the slice covers.
    pub start: u64,
    /// One past the last byte covered.
    pub end: u64,
    /// `Attr::truncate_seq` when this was made: a slice from before a shrink is void.
    pub truncate_seq: u64,
    /// The runs of the slice, in the order of the file.
    pub runs: Vec<Run>,
}

impl Run {
    /// Length in bytes, above 0.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.replicas.first().map_or(0, |copy| copy.extent.len)
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

    /// The copies that can be read and must be written.
    pub fn valid(&self) -> impl Iterator<Item = &Replica> {
        let valid = |copy: &&Replica| copy.state == ReplicaState::Valid;
        self.replicas.iter().filter(valid)
    }

    /// No copy can be used: the bytes are there no more.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.valid().next().is_none()
    }

    /// The part from `skip` bytes in, at most `len` long; `None` when nothing is left.
    #[must_use]
    pub fn part(&self, skip: u64, len: u64) -> Option<Run> {
        let cut = |copy: &Replica| {
            let extent = copy.extent.part(skip, len)?;
            Some(Replica { extent, ..*copy })
        };
        let replicas = self.replicas.iter().map(cut).collect::<Option<Vec<Replica>>>()?;
        let start = self.start + skip;
        Some(Run { start, replicas })
    }
}

impl TryFrom<(u64, Vec<Replica>)> for Run {
    type Error = &'static str;

    fn try_from((start, replicas): (u64, Vec<Replica>)) -> Result<Self, Self::Error> {
        let run = Run { start, replicas };
        let len = run.len();
        let aligned = start.is_multiple_of(GRANULE) && len.is_multiple_of(GRANULE);
        let equal = run.replicas.iter().all(|copy| copy.extent.len == len);
        if len == 0 || !aligned || !equal || start.checked_add(len).is_none() {
            return Err("a run is empty, off its granule, too long, or its copies differ in length");
        }
        Ok(run)
    }
}

impl From<Run> for (u64, Vec<Replica>) {
    fn from(run: Run) -> Self {
        (run.start, run.replicas)
    }
}

#[derive(Deserialize)]
struct RawSlice {
    start: u64,
    end: u64,
    truncate_seq: u64,
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
            truncate_seq: raw.truncate_seq,
            runs: raw.runs,
        })
    }
}
