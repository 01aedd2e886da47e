//! A run of bytes in some node's arena.

use crate::id::{Incarnation, NodeId};
use serde::{Deserialize, Serialize};

/// The unit of allocation, in bytes.
pub const GRANULE: u64 = 4096;

/// `len` bytes at `offset` of one life of one node's arena.
///
/// Decoding refuses an empty extent and one that ends past 2^64, so [`Extent::end`] never overflows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(
    try_from = "(NodeId, Incarnation, u64, u64)",
    into = "(NodeId, Incarnation, u64, u64)"
)]
pub struct Extent {
    /// The node whose arena holds the extent.
    pub node: NodeId,
    /// The incarnation of that arena: in any other the bytes are of something else.
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

impl TryFrom<(NodeId, Incarnation, u64, u64)> for Extent {
    type Error = &'static str;

    fn try_from(
        (node, incarnation, offset, len): (NodeId, Incarnation, u64, u64),
    ) -> Result<Self, Self::Error> {
        if len == 0 || offset.checked_add(len).is_none() {
            return Err("an extent is empty or ends past 2^64");
        }
        Ok(Extent {
            node,
            incarnation,
            offset,
            len,
        })
    }
}

impl From<Extent> for (NodeId, Incarnation, u64, u64) {
    fn from(extent: Extent) -> Self {
        (extent.node, extent.incarnation, extent.offset, extent.len)
    }
}
