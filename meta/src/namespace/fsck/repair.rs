//! Putting right in memory what was found. The tree remembers what changed, as after any other step.

use super::found::{Fix, Found};
use crate::time::Timestamp;
use crate::tree::Tree;

/// Does what is to be done about all that was found: what exists gets its right place first, then what has none is saved.
pub(in crate::namespace) fn repair(tree: &mut Tree, found: &[Found], now: Timestamp) {
    let saves = |found: &&Found| matches!(found.fix, Fix::Save(_));
    let (saved, placed): (Vec<_>, Vec<_>) = found.iter().partition(saves);
    for found in placed.into_iter().chain(saved) {
        apply(tree, &found.fix, now);
    }
}

fn apply(tree: &mut Tree, fix: &Fix, now: Timestamp) {
    let done = match fix {
        Fix::None => Ok(()),
        Fix::RemoveEntry(parent, name) => tree.drop_entry(*parent, name),
        Fix::Links(ino, links) => tree.set_links(*ino, *links),
        Fix::Parent(ino, parent) => tree.set_parent(*ino, *parent),
        Fix::Lose(ino, (start, end)) => tree.edit_layout(*ino, |layout| ((), layout.lose(*start, *end))),
        Fix::Allocated(ino) => tree.edit_layout(*ino, |_| ((), Default::default())),
        Fix::Save(ino) => tree.save(*ino, now),
    };
    // What is fixed was found in this tree. If it was not there after all, the examination that follows says so.
    debug_assert!(done.is_ok(), "{fix:?}: {done:?}");
}
