//! Extended attributes. Their bytes may be any, but for ACLs, so what can be wrong is whose they are, and how many and how long.

use super::reader::{Reader, inode_of, shown};
use crate::acl::AclKind;
use crate::id::InodeId;
use crate::namespace::record::split_key;
use crate::permission::{GROUP_BITS, OTHER_BITS};
use crate::problem::ProblemKind;
use crate::xattr::XattrName;

impl Reader {
    pub(super) fn xattr(&mut self, key: &[u8], value: &[u8]) {
        self.reading.is_new = false;
        let named = inode_of(key).and_then(|(ino, name)| Some((ino, XattrName::new(name).ok()?)));
        let Some((ino, name)) = named else {
            return self.unknown(key, value);
        };
        if self.reading.tree.get(ino).is_err() {
            self.leave_out(key);
            let what = format!("its attribute {} is there, and no such inode", name_of(key));
            return self.report(ProblemKind::StrayXattr, ino, what, "remove it");
        }
        let kind = name.acl();
        if self.reading.tree.restore_xattr(ino, name, value).is_ok() {
            return;
        }
        self.leave_out(key);
        let (what, bytes) = (name_of(key), value.len());
        let (what, remedy) = match kind {
            None => (
                format!("its attribute {what} has {bytes} bytes, and that is more than it can have"),
                "remove it",
            ),
            Some(AclKind::Default) => (format!("its ACL {what} is none that it can have"), "remove it"),
            Some(AclKind::Access) => {
                self.close_to_others(ino);
                (
                    format!("its ACL {what} is none that it can have with its mode"),
                    "remove it, and what its mode gives the group and others: it may have denied them that",
                )
            }
        };
        self.report(ProblemKind::BadXattr, ino, what, remedy);
    }

    /// Without its ACL the bits of its group, which were the mask, would give them to the group, and those of others to users whom it denied them.
    fn close_to_others(&mut self, ino: InodeId) {
        if let Ok(inode) = self.reading.tree.get_mut_lazily(ino) {
            inode.attr.mode &= !(GROUP_BITS | OTHER_BITS);
            self.touch(ino);
        }
    }
}

fn name_of(key: &[u8]) -> String {
    shown(split_key(key).map_or(key, |(_, name)| name))
}
