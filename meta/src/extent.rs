//! A run of bytes in some node's arena.

use crate::id::{Incarnation, NodeId};
use serde::{Deserialize, Serialize};

/// The unit of allocation, in bytes.
pub const GRANULE: u64 = 4096;

/// `len` bytes at `offset` of one life of one node's arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Extent {
    /// The node.
    pub node: NodeId,
    /// Which life of its arena.
    pub incarnation: Incarnation,
    /// First byte in the arena.
    pub offset: u64,
    /// Length in bytes, above 0.
    pub len: u64,
}

impl Extent {
    /// One past the last byte.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset + self.len
    }

    /// The part that starts `skip` bytes in and is at most `len` long; `None` when nothing is left.
    #[must_use]
    pub fn part(&self, skip: u64, len: u64) -> Option<Extent> {
        let left = self.len.checked_sub(skip).filter(|left| *left > 0)?;
        let len = left.min(len);
        (len > 0).then_some(Extent {
            offset: self.offset + skip,
            len,
            ..*self
        })
    }
}

/// Rounds down to a granule.
#[must_use]
pub fn granule_floor(at: u64) -> u64 {
    at - at % GRANULE
}

/// Rounds up to a granule; saturates at the last one.
#[must_use]
pub fn granule_ceil(at: u64) -> u64 {
    granule_floor(at.saturating_add(GRANULE - 1))
}
