//! Extended attributes: what their names can be, and how many an inode may have.

use crate::acl::AclKind;
use crate::error::MetaError;
use serde::{Deserialize, Serialize};

/// The longest name with its prefix, in bytes (XATTR_NAME_MAX).
pub const MAX_XATTR_NAME: usize = 255;
/// The longest value, in bytes (XATTR_SIZE_MAX).
pub const MAX_XATTR_VALUE: usize = 65_536;
/// Most attributes of one inode, as Linux lets a user give one in memory (`SIMPLE_XATTR_MAX_NR`); their names fit one message.
pub const MAX_XATTRS: usize = 128;
/// Most bytes of all values of one inode (`SIMPLE_XATTR_MAX_SIZE`).
pub const MAX_XATTR_BYTES: usize = 128 << 10;

/// Which rules an attribute is under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum XattrSpace {
    /// `user.`: of files and directories, by their mode bits.
    User,
    /// `trusted.`: root's, and nobody else sees them.
    Trusted,
    /// `security.`: everybody reads, root changes.
    Security,
    /// `system.posix_acl_access` and `system.posix_acl_default`: everybody reads, the owner changes.
    Acl,
}

const PREFIXES: [(&[u8], XattrSpace); 3] = [
    (b"user.", XattrSpace::User),
    (b"trusted.", XattrSpace::Trusted),
    (b"security.", XattrSpace::Security),
];

const ACCESS_ACL: &[u8] = b"system.posix_acl_access";
const DEFAULT_ACL: &[u8] = b"system.posix_acl_default";

/// The name of an extended attribute: that of an ACL, or one of the prefixes and at least a byte more, without NUL.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
pub struct XattrName(Vec<u8>);

impl XattrName {
    /// Where file capabilities are: what gives a program privileges when it is run.
    pub const CAPABILITY: &[u8] = b"security.capability";

    /// Parses a name.
    ///
    /// # Errors
    /// [`MetaError::Unsupported`] for other prefixes, [`MetaError::Invalid`] for what is no name.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, MetaError> {
        let bytes = bytes.into();
        if acl_of(&bytes).is_some() {
            return Ok(Self(bytes));
        }
        let prefix = prefix_of(&bytes).ok_or(MetaError::Unsupported)?.0;
        if bytes.len() == prefix.len() || bytes.len() > MAX_XATTR_NAME || bytes.contains(&0) {
            return Err(MetaError::Invalid);
        }
        Ok(Self(bytes))
    }

    /// The name of file capabilities.
    #[must_use]
    pub fn capability() -> Self {
        Self(Self::CAPABILITY.to_vec())
    }

    /// The name of an ACL.
    #[must_use]
    pub fn of_acl(kind: AclKind) -> Self {
        let name = match kind {
            AclKind::Access => ACCESS_ACL,
            AclKind::Default => DEFAULT_ACL,
        };
        Self(name.to_vec())
    }

    /// Which ACL it is the name of, if of any.
    #[must_use]
    pub fn acl(&self) -> Option<AclKind> {
        acl_of(&self.0)
    }

    /// The bytes, prefix and all.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Which rules it is under.
    #[must_use]
    pub fn space(&self) -> XattrSpace {
        if self.acl().is_some() {
            return XattrSpace::Acl;
        }
        // Every other name has one of the prefixes: asked when it was made.
        prefix_of(&self.0).map_or(XattrSpace::Trusted, |(_, space)| space)
    }

    /// Whether it is that of file capabilities.
    #[must_use]
    pub fn is_capability(&self) -> bool {
        self.0 == Self::CAPABILITY
    }
}

fn acl_of(bytes: &[u8]) -> Option<AclKind> {
    match bytes {
        ACCESS_ACL => Some(AclKind::Access),
        DEFAULT_ACL => Some(AclKind::Default),
        _ => None,
    }
}

fn prefix_of(bytes: &[u8]) -> Option<(&'static [u8], XattrSpace)> {
    PREFIXES.into_iter().find(|(prefix, _)| bytes.starts_with(prefix))
}

impl TryFrom<Vec<u8>> for XattrName {
    type Error = MetaError;

    fn try_from(bytes: Vec<u8>) -> Result<Self, MetaError> {
        Self::new(bytes)
    }
}

impl From<XattrName> for Vec<u8> {
    fn from(name: XattrName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As tmpfs answers, whose kernel has cut off longer names before.
    #[test]
    fn names_have_a_prefix_and_more() {
        let longest = [&b"user."[..], &[b'a'; 250]].concat();
        for (name, wanted) in [
            (&b"user.a"[..], Ok(XattrSpace::User)),
            (&longest, Ok(XattrSpace::User)),
            (b"trusted.x", Ok(XattrSpace::Trusted)),
            (XattrName::CAPABILITY, Ok(XattrSpace::Security)),
            (b"", Err(MetaError::Unsupported)),
            (b"user", Err(MetaError::Unsupported)),
            (b"User.a", Err(MetaError::Unsupported)),
            (b"system.posix_acl_access", Ok(XattrSpace::Acl)),
            (b"system.posix_acl_default", Ok(XattrSpace::Acl)),
            (b"system.posix_acl_defaults", Err(MetaError::Unsupported)),
            (b"system.nfs4_acl", Err(MetaError::Unsupported)),
            (b"user.", Err(MetaError::Invalid)),
            (b"security.", Err(MetaError::Invalid)),
            (b"user.a\0b", Err(MetaError::Invalid)),
            (&[&longest[..], b"a"].concat(), Err(MetaError::Invalid)),
        ] {
            let parsed = XattrName::new(name).map(|name| name.space());
            assert_eq!(parsed, wanted, "{}", name.escape_ascii());
        }
        for kind in [AclKind::Access, AclKind::Default] {
            assert_eq!(XattrName::of_acl(kind).acl(), Some(kind));
        }
        assert!(XattrName::capability().is_capability());
        assert_eq!(XattrName::new(XattrName::CAPABILITY), Ok(XattrName::capability()));
    }
}
