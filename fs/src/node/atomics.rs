//! Changing words of an arena for programs.

use rdmafs_meta::wire::AtomicOp;
use rdmafs_rdma::arena::Arena;

/// What the word at this place of the arena was. `None` when it is no word of it.
pub(crate) fn apply(arena: &Arena, offset: u64, op: AtomicOp) -> Option<u64> {
    match op {
        AtomicOp::FetchAdd(add) => arena.fetch_add(offset, add),
        AtomicOp::CompareSwap { expected, new } => arena.compare_swap(offset, expected, new),
    }
}
