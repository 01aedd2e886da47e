//! Extended attributes of a tree: each is an inode's, and no inode has more than it may.

use super::found::Found;
use crate::acl::Acls;
use crate::problem::ProblemKind;
use crate::tree::Tree;

/// Notes down everything that is wrong with extended attributes.
pub(in crate::namespace) fn examine(tree: &Tree, found: &mut Vec<Found>) {
    let bare = tree.iter().map(|inode| &inode.attr);
    for attr in bare.filter(|attr| attr.acls != Acls::None && tree.xattrs(attr.ino).is_none()) {
        let what = "it is believed to have ACLs, and has none";
        found.push(Found::about(
            ProblemKind::BadXattr,
            attr.ino,
            what,
            "restart the node",
        ));
    }
    for (ino, attributes) in tree.all_xattrs() {
        let mut wrong = |kind, what: String| {
            found.push(Found::about(kind, ino, what, "restart the node"));
        };
        if tree.get(ino).is_err() {
            let what = format!("{} attributes are there, and no such inode", attributes.len());
            wrong(ProblemKind::StrayXattr, what);
        }
        let attr = tree.get(ino).map(|inode| &inode.attr);
        if attr.is_ok_and(|attr| attributes.acls(attr).as_ref() != Ok(&attr.acls)) {
            wrong(ProblemKind::BadXattr, "its ACLs are none that it can have".into());
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
