//! What must be true between two calls. Tests ask after every step, and a load before it serves.

use super::service::Namespace;
use super::space::MAX_SIZE;
use crate::alloc::Allocator;
use crate::attr::FileKind;
use crate::extent::{Extent, granule_ceil};
use crate::id::InodeId;
use crate::layout::{CopyState, LayoutMap};
use crate::tree::{Body, Inode, Tree};
use std::collections::{BTreeMap, BTreeSet};

impl Namespace {
    /// Checks every invariant of the namespace; says which one is broken. Takes time in proportion to the pool.
    ///
    /// # Errors
    /// One line about the first that does not hold.
    pub fn check(&self) -> Result<(), String> {
        let open: BTreeSet<InodeId> = self.sessions.open_inodes().collect();
        check_names(&self.tree)?;
        for inode in self.tree.iter() {
            let ino = inode.attr.ino;
            let kept = inode.attr.nlink > 0 || open.contains(&ino) || self.doomed.contains(&ino);
            ensure(kept, || format!("inode {ino} has neither names nor opens"))?;
            ensure(ino < self.tree.next, || {
                format!("inode id {ino} was never given out")
            })?;
            if let Body::File { layout, .. } = &inode.body {
                let closed = !open.contains(&ino) && !self.doomed.contains(&ino);
                check_file(inode, layout, closed)?;
            }
        }
        ensure(self.doomed.is_disjoint(&open), || "a doomed inode is open".into())?;
        let existing = open.iter().all(|ino| self.tree.get(*ino).is_ok());
        ensure(existing, || "an open inode does not exist".into())?;
        check_space(&self.tree, &self.alloc)?;
        let recalled: u64 = self.sessions.recalled().map(|extent| extent.len).sum();
        ensure(recalled <= self.alloc.quarantined_bytes(), || {
            "a recalled extent is not in quarantine".into()
        })
    }
}

/// Entries lead to inodes, link counts are the entries, and every directory hangs on the root by one name.
fn check_names(tree: &Tree) -> Result<(), String> {
    let mut links: BTreeMap<InodeId, u64> = BTreeMap::from([(InodeId::ROOT, 2)]);
    let mut to_visit = vec![(InodeId::ROOT, InodeId::ROOT)];
    let mut visited = BTreeSet::new();
    while let Some((parent, ino)) = to_visit.pop() {
        let directory = tree
            .directory(ino)
            .map_err(|_| format!("{parent} leads to {ino}, which is no directory"))?
            .1;
        ensure(visited.insert(ino), || format!("directory {ino} has two names"))?;
        ensure(directory.parent == parent, || {
            format!("directory {ino} does not know its parent {parent}")
        })?;
        let listed = directory.after(0).count();
        ensure(listed == directory.entries().count(), || {
            format!("directory {ino} has names without cookies")
        })?;
        for (_, cookie, child) in directory.entries() {
            ensure(cookie < directory.next_cookie, || {
                format!("directory {ino} never gave out cookie {cookie}")
            })?;
            let inode = tree
                .get(child)
                .map_err(|_| format!("directory {ino} leads to {child}, which is not there"))?;
            if inode.attr.kind == FileKind::Directory {
                to_visit.push((ino, child));
                *links.entry(ino).or_default() += 1;
            }
            let from_below = if inode.attr.kind == FileKind::Directory {
                2
            } else {
                1
            };
            *links.entry(child).or_default() += from_below;
        }
    }
    for inode in tree.iter() {
        let (ino, nlink) = (inode.attr.ino, inode.attr.nlink);
        let counted = links.get(&ino).copied().unwrap_or(0);
        ensure(counted == nlink.into(), || {
            format!("inode {ino} has {counted} links and says {nlink}")
        })?;
    }
    Ok(())
}

fn check_file(inode: &Inode, layout: &LayoutMap, closed: bool) -> Result<(), String> {
    let attr = &inode.attr;
    let ino = attr.ino;
    ensure(attr.kind == FileKind::Regular, || {
        format!("inode {ino} is no file and has a layout")
    })?;
    ensure(attr.size <= MAX_SIZE, || format!("inode {ino} is too big"))?;
    let counted: u64 = layout.runs().map(|run| run.len()).sum();
    let counts_agree = counted == layout.allocated() && counted == attr.allocated;
    ensure(counts_agree, || {
        format!("inode {ino} has {counted} bytes and says {}", attr.allocated)
    })?;
    let loose = closed && layout.end() > granule_ceil(attr.size);
    ensure(!loose, || {
        format!("inode {ino} is closed and has space past its size")
    })
}

/// Every byte of every arena is free, quarantined, or in one place of one file.
fn check_space(tree: &Tree, alloc: &Allocator) -> Result<(), String> {
    let files = tree.iter().filter_map(|inode| match &inode.body {
        Body::File { layout, .. } => Some(layout),
        _ => None,
    });
    let copies = files.flat_map(LayoutMap::runs).flat_map(|run| &run.copies);
    let mut used: Vec<Extent> = Vec::new();
    for copy in copies {
        let extent = copy.extent;
        let present = alloc.present(extent.node) == Some(extent.incarnation);
        let told = copy.state == CopyState::Valid;
        ensure(present == told, || format!("{extent:?} is {:?}", copy.state))?;
        used.extend(present.then_some(extent));
    }
    used.sort_unstable();
    let overlap = used
        .windows(2)
        .find(|pair| pair[0].node == pair[1].node && pair[0].end() > pair[1].offset);
    ensure(overlap.is_none(), || format!("two files share {overlap:?}"))?;
    let used: u64 = used.iter().map(|extent| extent.len).sum();
    let counted = used + alloc.free_bytes() + alloc.quarantined_bytes();
    ensure(counted == alloc.total(), || {
        format!("{counted} bytes are accounted for of {}", alloc.total())
    })
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}
