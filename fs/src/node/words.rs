//! Changing words of the arena for programs.

use super::service::Service;
use rdmafs_meta::namespace::WordChange;
use rdmafs_meta::wire::AtomicOp;
use rdmafs_rdma::arena::Arena;

impl Service {
    /// Changes the word and says what it was. Under the service's lock, like every other atomic; never blocks.
    pub(super) fn change_word(&self, change: &WordChange) -> u64 {
        let place = self.range(&change.place);
        let before = place.and_then(|place| apply(&self.arena, place.start, change.op));
        before.unwrap_or_else(|| {
            tracing::error!(?change, "asked to change a word beyond the arena");
            0
        })
    }
}

/// What the word at this place of the arena was. `None` when it is no word of it.
pub(crate) fn apply(arena: &Arena, offset: u64, op: AtomicOp) -> Option<u64> {
    match op {
        AtomicOp::FetchAdd(add) => arena.fetch_add(offset, add),
        AtomicOp::CompareSwap { expected, new } => arena.compare_swap(offset, expected, new),
    }
}
