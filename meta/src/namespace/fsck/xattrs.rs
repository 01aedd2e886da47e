//! Extended attributes of a tree: each is an inode's, and no inode has more than it may.

use super::found::Found;
use crate::problem::ProblemKind;
use crate::tree::Tree;

/// Notes down everything that is wrong with extended attributes.
pub(in crate::namespace) fn examine(tree: &Tree, found: &mut Vec<Found>) {
    for (ino, attributes) in tree.all_xattrs() {
        let mut wrong = |kind, what: String| {
            found.push(Found::about(kind, ino, what, "restart the node"));
        };
        if tree.get(ino).is_err() {
            let what = format!("{} attributes are there, and no such inode", attributes.len());
            wrong(ProblemKind::StrayXattr, what);
        }
        if !attributes.is_sound() {
            let what = format!(
                "it has {} attributes, or too many bytes in them",
                attributes.len()
            );
            wrong(ProblemKind::BadXattr, what);
        }
    }
}
