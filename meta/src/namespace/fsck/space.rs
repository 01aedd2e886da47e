//! Layouts: each file's own, and that no two files have the same memory.
//!
//! Where two files claim the same memory, the one with the smaller inode id keeps it, and of one file the run that comes first. The
//! bytes of the other are lost: reading them is an error, never what somebody else wrote.

use super::found::{Fix, Found};
use crate::attr::{Attr, FileKind};
use crate::extent::{Extent, granule_ceil};
use crate::id::{Incarnation, InodeId, NodeId};
use crate::layout::{LayoutMap, Run};
use crate::namespace::space::MAX_SIZE;
use crate::problem::ProblemKind;
use crate::tree::{Body, Tree};
use std::collections::BTreeMap;

/// Notes down everything that is wrong with layouts, and gives the bytes that all files have. `closed` knows the files that
/// nobody has open.
pub(in crate::namespace) fn examine(
    tree: &Tree,
    closed: &dyn Fn(InodeId) -> bool,
    found: &mut Vec<Found>,
) -> u64 {
    let mut bytes: u64 = 0;
    let mut extents = Vec::new();
    for (attr, layout) in files(tree) {
        bytes = bytes.saturating_add(layout.allocated());
        file(attr, layout, closed, found);
        extents.extend(layout.runs().flat_map(places));
    }
    // Who shares what is asked only if somebody does.
    extents.sort_unstable();
    let overlap = |pair: &[Extent]| {
        (pair[0].node, pair[0].incarnation) == (pair[1].node, pair[1].incarnation)
            && pair[0].end() > pair[1].offset
    };
    if extents.windows(2).any(overlap) {
        shared(tree, found);
    }
    bytes
}

fn shared(tree: &Tree, found: &mut Vec<Found>) {
    let mut claimed = Claims::default();
    for (attr, layout) in files(tree) {
        for run in layout.runs() {
            let with = claimed.by(attr.ino, run);
            found.extend(with.map(|with| shares(attr.ino, run, with)));
        }
    }
}

fn files(tree: &Tree) -> impl Iterator<Item = (&Attr, &LayoutMap)> {
    tree.iter().filter_map(|inode| match &inode.body {
        Body::File { layout, .. } => Some((&inode.attr, layout)),
        _ => None,
    })
}

/// Where the copies of a run lie, but for those that lie nowhere any more.
fn places(run: &Run) -> impl Iterator<Item = Extent> {
    let extents = run.replicas.iter().map(|copy| copy.extent);
    extents.filter(|extent| extent.incarnation != Incarnation::NEVER)
}

fn file(attr: &Attr, layout: &LayoutMap, closed: &dyn Fn(InodeId) -> bool, found: &mut Vec<Found>) {
    let ino = attr.ino;
    if attr.kind != FileKind::Regular || attr.size > MAX_SIZE {
        let what = format!(
            "it has a layout, is a {:?} and has {} bytes",
            attr.kind, attr.size
        );
        found.push(Found::about(
            ProblemKind::BadAttribute,
            ino,
            what,
            "restart the node",
        ));
    }
    let counted: u64 = layout.runs().map(Run::len).sum();
    if counted != layout.allocated() || counted != attr.allocated {
        let what = format!("its runs have {counted} bytes and it says {}", attr.allocated);
        let wrong = Found::about(ProblemKind::WrongAllocated, ino, what, format!("say {counted}"));
        found.push(wrong.fixed_by(Fix::Allocated(ino)));
    }
    if layout.end() > granule_ceil(attr.size) && closed(ino) {
        let what = format!(
            "nobody has it open, it has {} bytes, and memory up to {}",
            attr.size,
            layout.end()
        );
        found.push(Found::about(
            ProblemKind::LooseSpace,
            ino,
            what,
            "restart the node",
        ));
    }
}

fn shares(ino: InodeId, run: &Run, with: InodeId) -> Found {
    let what = format!(
        "its bytes {} to {} lie where bytes of inode {with} lie",
        run.start,
        run.end()
    );
    let remedy = format!("inode {with} keeps them; reading them here is an error from then on");
    Found::about(ProblemKind::SharedExtent, ino, what, remedy)
        .fixed_by(Fix::Lose(ino, (run.start, run.end())))
}

/// Memory and who has it: disjoint ranges of each arena, by their start.
#[derive(Default)]
struct Claims {
    arenas: BTreeMap<(NodeId, Incarnation), BTreeMap<u64, (u64, InodeId)>>,
}

impl Claims {
    /// Claims the memory of a run; says who has some of it already, and then claims nothing of that extent.
    fn by(&mut self, ino: InodeId, run: &Run) -> Option<InodeId> {
        places(run).fold(None, |shared, extent| self.claim(ino, extent).or(shared))
    }

    fn claim(&mut self, ino: InodeId, extent: Extent) -> Option<InodeId> {
        let arena = self.arenas.entry((extent.node, extent.incarnation)).or_default();
        let before = arena.range(..extent.end()).next_back();
        if let Some((_, (end, owner))) = before
            && *end > extent.offset
        {
            return Some(*owner);
        }
        arena.insert(extent.offset, (extent.end(), ino));
        None
    }
}
