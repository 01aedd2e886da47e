//! The ACLs of inodes: extended attributes, of which the attributes have what they say.

use super::table::Tree;
use crate::acl::{Acl, AclKind, AclPair, Acls};
use crate::cred::Credentials;
use crate::error::MetaError;
use crate::id::InodeId;
use crate::time::Timestamp;
use crate::wire::XattrMode;
use crate::xattr::XattrName;

impl Tree {
    /// Gives an inode that is there an ACL, or takes it away, and the mode that it has then; stamps the change.
    pub(crate) fn set_acl(
        &mut self,
        who: &Credentials,
        ino: InodeId,
        (kind, acl, mode): (AclKind, Option<Acl>, u16),
        now: Timestamp,
    ) -> Result<(), MetaError> {
        let name = XattrName::of_acl(kind);
        let acl = acl.filter(|acl| kind == AclKind::Default || !acl.is_mode());
        let acls = self.get(ino)?.attr.acls.with(kind, acl.clone());
        match acl {
            Some(acl) => {
                let value = (acl.encode(), XattrMode::default());
                self.set_xattr(who, ino, name, value, now)?;
            }
            None => match self.remove_xattr(ino, &name, now) {
                Ok(()) | Err(MetaError::NoXattr) => {}
                Err(error) => return Err(error),
            },
        }
        let attr = &mut self.get_mut(ino)?.attr;
        (attr.mode, attr.acls, attr.ctime) = (mode, acls, now);
        Ok(())
    }

    /// The access ACL of an inode follows its permission bits, as chmod(2) has set them.
    pub(crate) fn acl_follows_mode(&mut self, ino: InodeId) -> Result<(), MetaError> {
        let attr = &mut self.get_mut(ino)?.attr;
        attr.acls = attr.acls.with_mode(attr.mode);
        if let Some(acl) = attr.acls.get(AclKind::Access) {
            let value = acl.encode();
            self.replace_xattr(ino, XattrName::of_acl(AclKind::Access), value);
        }
        Ok(())
    }

    /// The ACLs of a new inode that is in the tree, and charged for them.
    pub(super) fn begin_acls(&mut self, ino: InodeId, pair: AclPair) -> Result<(), MetaError> {
        for (kind, acl) in [(AclKind::Access, &pair.access), (AclKind::Default, &pair.default)] {
            if let Some(acl) = acl {
                self.replace_xattr(ino, XattrName::of_acl(kind), acl.encode());
            }
        }
        self.get_mut(ino)?.attr.acls = Acls::of(pair);
        Ok(())
    }
}
