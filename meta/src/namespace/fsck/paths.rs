//! Paths of the inodes that something is wrong with. Made only when something is: a namespace keeps no way back from a file to
//! its names.

use crate::id::InodeId;
use crate::name::Name;
use crate::problem::MAX_PATH;
use crate::tree::{Body, Tree};
use std::collections::{BTreeMap, BTreeSet};

/// Where inodes are named.
pub(in crate::namespace) struct Paths<'a> {
    names: BTreeMap<InodeId, (InodeId, &'a Name)>,
}

impl<'a> Paths<'a> {
    /// Ready to tell the paths of these inodes.
    pub(super) fn to_these(tree: &'a Tree, wanted: BTreeSet<InodeId>) -> Self {
        Self::to_any_of(tree, wanted, usize::MAX)
    }

    /// Ready to tell the paths of those of these inodes that the first `most` names in the tree lead to.
    pub(in crate::namespace) fn to_any_of(tree: &'a Tree, wanted: BTreeSet<InodeId>, most: usize) -> Self {
        let mut names = BTreeMap::new();
        if wanted.is_empty() {
            return Self { names };
        }
        let mut left = most;
        for inode in tree.iter() {
            let Body::Directory(directory) = &inode.body else {
                continue;
            };
            for (name, _, child) in directory.entries() {
                if left == 0 {
                    return Self { names };
                }
                left -= 1;
                let child_directory = tree.directory(child).ok();
                if child_directory.is_none() && !wanted.contains(&child) {
                    continue;
                }
                let is_parent = child_directory.is_some_and(|(_, entries)| entries.parent == inode.attr.ino);
                if is_parent || !names.contains_key(&child) {
                    names.insert(child, (inode.attr.ino, name));
                }
            }
        }
        Self { names }
    }

    /// The path of an inode, or of an entry of it. `None` where none leads there.
    pub(in crate::namespace) fn to(&self, ino: InodeId, entry: Option<&Name>) -> Option<String> {
        let mut steps: Vec<&[u8]> = entry.map(Name::as_bytes).into_iter().collect();
        let mut at = ino;
        while at != InodeId::ROOT {
            let (parent, name) = self.names.get(&at)?;
            steps.push(name.as_bytes());
            at = *parent;
            if steps.len() > self.names.len() + 1 {
                return None; // It goes round in a circle.
            }
        }
        if steps.is_empty() {
            return Some("/".into());
        }
        let path: String = steps
            .iter()
            .rev()
            .map(|step| format!("/{}", step.escape_ascii()))
            .collect();
        let cut = path.len().saturating_sub(MAX_PATH);
        // Escaped bytes are ASCII: every byte is a character.
        Some(if cut > 0 {
            format!("...{}", &path[cut..])
        } else {
            path
        })
    }
}
