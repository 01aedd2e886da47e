//! Changing words of the arena for programs.

use super::service::Service;
use rdmafs_meta::namespace::WordChange;
use rdmafs_meta::wire::AtomicOp;

impl Service {
    /// Changes the word and says what it was. Under the service's lock, like every other atomic; never blocks.
    pub(super) fn change_word(&self, change: &WordChange) -> u64 {
        let before = self.range(&change.place).and_then(|place| match change.op {
            AtomicOp::FetchAdd(add) => self.arena.fetch_add(place.start, add),
            AtomicOp::CompareSwap { expected, new } => self.arena.compare_swap(place.start, expected, new),
        });
        before.unwrap_or_else(|| {
            tracing::error!(?change, "asked to change a word beyond the arena");
            0
        })
    }
}
