//! Telling the store what changed.
//!
//! The tree remembers which keys changed, and their values are read when the step is over: a key that changed twice is
//! written once. Inodes, entries and the extended attributes that are set come first, so that a tree operation is one batch; the segments of a
//! long layout, and the attributes of what is removed, may need more. Whatever of them a crash leaves behind lies past the size, or under no
//! inode, and is dropped at load.

use super::fsck::lost_bytes;
use super::output::Output;
use super::record::{self, InodeRecord, encode};
use super::service::Namespace;
use crate::id::{ClientOwner, InodeId};
use crate::store::Batch;
use crate::tree::Tree;
use crate::xattr::XattrName;

/// Inode ids that are reserved at a time.
pub(super) const ID_BLOCK: u64 = 1 << 20;

/// What happens to a key.
pub(super) type Change = (Vec<u8>, Option<Vec<u8>>);

impl Namespace {
    /// Hands the changes since the last time to the store.
    pub(super) fn persist(&mut self, out: &mut Output) {
        let changes = self.take_changes();
        out.batch.extend(Batch::split(changes));
    }

    /// The changes since the last time, in the order in which the store must see them.
    pub(super) fn take_changes(&mut self) -> Vec<Change> {
        let mut changes: Vec<Change> = self.raised_ceiling().into_iter().collect();
        changes.extend(changes_of(&mut self.tree));
        changes.extend(self.changed_holders());
        self.recount_lost(&changes);
        changes
    }

    /// Who takes leases now, or takes none any more.
    fn changed_holders(&mut self) -> Vec<Change> {
        let lease = u64::try_from(self.config.lease.as_millis()).unwrap_or(u64::MAX);
        let lease = lease.min(record::LONGEST_LEASE);
        let changed = self.holders.take_changes().into_iter();
        let change =
            |(owner, takes): (ClientOwner, bool)| (record::holder_key(owner), takes.then(|| encode(&lease)));
        changed.map(change).collect()
    }

    /// Of the files that have lost bytes, those that changed may have fewer now. None ever loses more while the service lives.
    fn recount_lost(&mut self, changes: &[Change]) {
        if self.lost.is_empty() {
            return;
        }
        let of_files = |key: &[u8]| key.starts_with(record::INODES) || key.starts_with(record::SEGMENTS);
        let keys = changes.iter().map(|(key, _)| key.as_slice());
        for (ino, _) in keys
            .filter(|key| of_files(key))
            .filter_map(|key| record::split_key(key).ok())
        {
            let Some(bytes) = self.lost.get_mut(&ino) else {
                continue;
            };
            *bytes = self.tree.layout(ino).map_or(0, lost_bytes);
            if *bytes == 0 {
                self.lost.remove(&ino);
            }
        }
    }

    /// Reserves the next block of ids when half of the last one is used, long before the store could be late.
    fn raised_ceiling(&mut self) -> Option<Change> {
        if self.tree.next.0 + ID_BLOCK / 2 < self.ceiling.0 {
            return None;
        }
        self.ceiling = InodeId(self.tree.next.0 + ID_BLOCK);
        Some((
            record::CEILING_KEY.to_vec(),
            Some(self.ceiling.0.to_be_bytes().to_vec()),
        ))
    }
}

/// What changed in a tree since the last time: inodes, then entries, extended attributes, segments, and those of inodes that are gone.
pub(super) fn changes_of(tree: &mut Tree) -> Vec<Change> {
    let keys = tree.take_changes();
    let tree = &*tree;
    let inodes = keys.inodes.into_iter().map(|ino| inode_change(tree, ino));
    let entries = keys.entries.into_iter().map(|(parent, name)| {
        let directory = tree.directory(parent).ok();
        let entry = directory.and_then(|(_, directory)| directory.get(&name));
        (
            record::entry_key(parent, &name),
            entry.map(|entry| encode(&entry)),
        )
    });
    let segments = keys.segments.into_iter().map(|(ino, segment)| {
        let runs = tree
            .layout(ino)
            .map(|layout| layout.segment(segment))
            .unwrap_or_default();
        let value = (!runs.is_empty()).then(|| encode(&runs));
        (record::segment_key(ino, segment), value)
    });
    let there = |(ino, _): &(InodeId, XattrName)| tree.get(*ino).is_ok();
    let (kept, gone): (Vec<_>, Vec<_>) = keys.xattrs.into_iter().partition(there);
    let xattrs = |(ino, name): (InodeId, XattrName)| {
        let value = tree.xattrs(ino).and_then(|xattrs| xattrs.get(&name));
        let value = value.map(|(bytes, _)| bytes.to_vec());
        (record::xattr_key(ino, &name), value)
    };
    let (kept, gone) = (kept.into_iter().map(xattrs), gone.into_iter().map(xattrs));
    inodes
        .chain(entries)
        .chain(kept)
        .chain(segments)
        .chain(gone)
        .collect()
}

fn inode_change(tree: &Tree, ino: InodeId) -> Change {
    let inode = tree.get(ino).ok();
    let value = inode.map(|inode| InodeRecord::of(inode).encode());
    (record::inode_key(ino), value)
}
