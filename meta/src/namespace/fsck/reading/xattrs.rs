//! Extended attributes. Their bytes may be any, but for ACLs, so what can be wrong is whose they are, and how many and how long.

use super::reader::{Reader, inode_of, shown};
use crate::namespace::record::split_key;
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
        let is_acl = name.acl().is_some();
        if self.reading.tree.restore_xattr(ino, name, value).is_err() {
            self.leave_out(key);
            let (what, bytes) = (name_of(key), value.len());
            let what = match is_acl {
                true => format!("its ACL {what} of {bytes} bytes is none that it can have with its mode"),
                false => format!("its attribute {what} has {bytes} bytes, and that is more than it can have"),
            };
            self.report(ProblemKind::BadXattr, ino, what, "remove it");
        }
    }
}

fn name_of(key: &[u8]) -> String {
    shown(split_key(key).map_or(key, |(_, name)| name))
}
