//! Bytes that the node moves itself: copies and zeroes within its arena.
//!
//! In the thread of the peer that asked, outside the service's lock: others are served meanwhile. That peer is not served again, nor said
//! to have left, before its thread is through (see [`Desk`](rdmafs_rdma::door::Desk)), on which all safety rests: see
//! `rdmafs_meta::namespace`'s module about copying.

use super::service::Service;
use rdmafs_meta::namespace::{ByteMove, Moving};

impl Service {
    /// Moves the bytes. Blocking, for some milliseconds at most.
    pub(super) fn move_bytes(&self, moving: &Moving) {
        for ByteMove { from, to } in &moving.moves {
            let moved = match from {
                None => {
                    self.zero(to);
                    continue;
                }
                Some(from) => match (self.range(from), self.range(to)) {
                    (Some(from), Some(to)) => self.arena.copy(from.start, to),
                    // Of an earlier life of the arena: gone with it.
                    _ => continue,
                },
            };
            if moved.is_none() {
                tracing::error!(
                    ?from,
                    ?to,
                    "asked to copy bytes beyond the arena, or onto themselves"
                );
            }
        }
    }
}
