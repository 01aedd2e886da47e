//! In which directory each directory lies, apart from all else that is known of them.
//!
//! A directory must not come below itself, so a rename walks from its target up to the root. Directories are as deep as users make them, and
//! everybody waits for the walk: in a map of nothing else, in which neighbours by number lie side by side, a level takes a fourth of what it takes among
//! the inodes.

use super::inode::{Body, Inode};
use crate::id::InodeId;
use std::collections::BTreeMap;

/// Directories and their parents; the root is its own.
#[derive(Debug, Default)]
pub(super) struct Ancestry(BTreeMap<InodeId, InodeId>);

impl Ancestry {
    pub(super) fn of<'a>(inodes: impl Iterator<Item = &'a Inode>) -> Self {
        let mut ancestry = Self::default();
        inodes.for_each(|inode| ancestry.put(inode));
        ancestry
    }

    /// Takes note of an inode that is new.
    pub(super) fn put(&mut self, inode: &Inode) {
        if let Body::Directory(directory) = &inode.body {
            self.set(inode.attr.ino, directory.parent);
        }
    }

    /// A directory lies in another one now.
    pub(super) fn set(&mut self, ino: InodeId, parent: InodeId) {
        self.0.insert(ino, parent);
    }

    pub(super) fn remove(&mut self, ino: InodeId) {
        self.0.remove(&ino);
    }

    /// True when it knows these inodes, and no others.
    pub(super) fn is_true_of<'a>(&self, inodes: impl Iterator<Item = &'a Inode>) -> bool {
        self.0 == Self::of(inodes).0
    }

    /// True when `ino` is `ancestor` or lies below it.
    pub(super) fn is_within(&self, mut ino: InodeId, ancestor: InodeId) -> bool {
        while ino != ancestor {
            match self.0.get(&ino) {
                Some(parent) if ino != InodeId::ROOT => ino = *parent,
                _ => return false,
            }
        }
        true
    }
}
