//! What a mount may use of the links.

use serde::{Deserialize, Serialize};

/// Slices of capped flows are cut in multiples of it, and a burst holds at least one.
pub const GRANULE: u64 = 4096;

/// A mount's share. Zero means no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Bytes per second of link traffic, reads and writes together.
    pub bw: u64,
    /// Operations per second.
    pub iops: u64,
    /// Bytes that may be moved at once after idling; 0 stands for 100 ms of `bw`.
    pub burst: u64,
    /// Weight among the mounts of one handler, 1 to 10,000.
    pub weight: u32,
}

impl Share {
    /// The burst in force, in bytes: at least one granule, so that something can be moved at all.
    #[must_use]
    pub fn burst_bytes(&self) -> u64 {
        let burst = match self.burst {
            0 => self.bw / 10,
            bytes => bytes,
        };
        burst.max(GRANULE)
    }
}

impl Default for Share {
    fn default() -> Self {
        Self {
            bw: 0,
            iops: 0,
            burst: 0,
            weight: 100,
        }
    }
}
