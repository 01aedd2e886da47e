//! What files have lost: bytes that lay in memory which is gone. That is no damage of the namespace, and nothing mends it.

use super::paths::Paths;
use crate::id::InodeId;
use crate::layout::{LayoutMap, Run};
use crate::problem::{Lost, LostFile, MAX_LISTED};
use crate::tree::{Body, Tree};

/// Counts and lists it. `memory_is_there`: a node serves these files; else all that they had in memory is gone.
pub(in crate::namespace) fn lost(tree: &Tree, memory_is_there: bool) -> Lost {
    let of = |layout: &LayoutMap| match memory_is_there {
        true => lost_bytes(layout),
        false => layout.allocated(),
    };
    let mut lost = Lost::default();
    let mut listed: Vec<(InodeId, u64)> = Vec::new();
    for inode in tree.iter() {
        let Body::File { layout, .. } = &inode.body else {
            continue;
        };
        let bytes = of(layout);
        if bytes == 0 {
            continue;
        }
        lost.files += 1;
        lost.bytes = lost.bytes.saturating_add(bytes);
        if listed.len() < MAX_LISTED {
            listed.push((inode.attr.ino, bytes));
        }
    }
    let paths = Paths::to_these(tree, listed.iter().map(|(ino, _)| *ino).collect());
    let file = |(inode, bytes)| LostFile {
        inode,
        path: paths.to(inode, None),
        bytes,
    };
    lost.listed = listed.into_iter().map(file).collect();
    lost
}

/// Bytes of a layout that lay in memory which is gone.
pub(in crate::namespace) fn lost_bytes(layout: &LayoutMap) -> u64 {
    layout.runs().filter(|run| run.is_lost()).map(Run::len).sum()
}
