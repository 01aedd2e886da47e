//! In which directory each directory lies, apart from all else that is known of them.
//!
//! A directory must not come below itself, so a rename walks from its target up to the root. Directories are as deep as users make them, and
//! everybody waits for the walk: from number to number in one vector a level takes some nanoseconds, among the inodes half a microsecond.

use super::inode::{Body, Inode};
use crate::id::InodeId;
use std::collections::BTreeMap;

/// Directories and their parents; the root is its own.
#[derive(Debug, Default)]
pub(super) struct Ancestry {
    places: BTreeMap<InodeId, usize>,
    /// By place: where the parent has its own. A directory of which only an entry is known is its own parent.
    parents: Vec<usize>,
    /// Places without a directory.
    free: Vec<usize>,
}

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
        let (place, parent) = (self.place(ino), self.place(parent));
        self.parents[place] = parent;
    }

    /// A directory in which no other one lies is gone.
    pub(super) fn remove(&mut self, ino: InodeId) {
        self.free.extend(self.places.remove(&ino));
    }

    /// True when it knows the parent of every directory among these inodes.
    pub(super) fn is_true_of<'a>(&self, mut inodes: impl Iterator<Item = &'a Inode>) -> bool {
        inodes.all(|inode| match &inode.body {
            Body::Directory(directory) => {
                let parent = self.places.get(&inode.attr.ino).map(|place| self.parents[*place]);
                parent.is_some() && parent.as_ref() == self.places.get(&directory.parent)
            }
            _ => true,
        })
    }

    /// True when `ino` is `ancestor` or lies below it.
    pub(super) fn is_within(&self, ino: InodeId, ancestor: InodeId) -> bool {
        let (Some(place), Some(ancestor)) = (self.places.get(&ino), self.places.get(&ancestor)) else {
            return ino == ancestor;
        };
        let mut place = *place;
        while place != *ancestor {
            let parent = self.parents[place];
            if parent == place {
                return false;
            }
            place = parent;
        }
        true
    }

    fn place(&mut self, ino: InodeId) -> usize {
        if let Some(place) = self.places.get(&ino) {
            return *place;
        }
        let place = self.free.pop().unwrap_or_else(|| {
            self.parents.push(0);
            self.parents.len() - 1
        });
        self.parents[place] = place;
        self.places.insert(ino, place);
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: InodeId = InodeId::ROOT;

    #[test]
    fn a_walk_ends_at_the_root_and_where_nothing_is_known() {
        let [a, b, c, unknown] = [11, 12, 13, 14].map(InodeId);
        let mut ancestry = Ancestry::default();
        for (ino, parent) in [(b, a), (ROOT, ROOT), (a, ROOT), (c, unknown)] {
            ancestry.set(ino, parent);
        }
        assert!(ancestry.is_within(b, ROOT) && ancestry.is_within(b, a) && ancestry.is_within(b, b));
        assert!(!ancestry.is_within(a, b) && !ancestry.is_within(c, ROOT) && !ancestry.is_within(c, a));
        assert!(ancestry.is_within(c, unknown) && !ancestry.is_within(InodeId(99), ROOT));
        ancestry.set(b, ROOT);
        assert!(!ancestry.is_within(b, a));
    }

    #[test]
    fn the_place_of_one_that_is_gone_is_given_to_the_next() {
        let mut ancestry = Ancestry::default();
        ancestry.set(ROOT, ROOT);
        for ino in 11..1000 {
            ancestry.set(InodeId(ino), ROOT);
            assert!(ancestry.is_within(InodeId(ino), ROOT));
            ancestry.remove(InodeId(ino));
            assert!(!ancestry.is_within(InodeId(ino), ROOT));
        }
        assert_eq!(ancestry.parents.len(), 2);
    }
}
