//! The extended attributes of one inode.

use super::accounts::XATTR;
use crate::acl::{Acl, AclKind, AclPair, Acls};
use crate::attr::{Attr, FileKind};
use crate::error::MetaError;
use crate::wire::XattrMode;
use crate::xattr::{MAX_XATTR_BYTES, MAX_XATTR_VALUE, MAX_XATTRS, XattrName};
use std::collections::BTreeMap;

/// Attributes by name; never more, nor more bytes, than one inode may have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Xattrs {
    values: BTreeMap<XattrName, Value>,
    /// Of all values.
    bytes: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Value {
    bytes: Vec<u8>,
    edition: u64,
}

impl Xattrs {
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &XattrName> {
        self.values.keys()
    }

    /// A value, and the number of the change that set it.
    pub(crate) fn get(&self, name: &XattrName) -> Option<(&[u8], u64)> {
        let value = self.values.get(name)?;
        Some((&value.bytes, value.edition))
    }

    /// Whether this can be set.
    pub(crate) fn may_set(&self, name: &XattrName, value: &[u8], mode: XattrMode) -> Result<(), MetaError> {
        let before = self.values.get(name);
        let replaced = before.map_or(0, |value| value.bytes.len());
        match before {
            _ if value.len() > MAX_XATTR_VALUE => Err(MetaError::XattrTooBig),
            Some(_) if mode.create => Err(MetaError::Exists),
            None if mode.replace => Err(MetaError::NoXattr),
            None if self.values.len() >= MAX_XATTRS => Err(MetaError::XattrsFull),
            _ if self.bytes - replaced + value.len() > MAX_XATTR_BYTES => Err(MetaError::XattrsFull),
            _ => Ok(()),
        }
    }

    /// What the inode's owner is charged for them.
    pub(super) fn charge(&self) -> u64 {
        let each = self.values.iter();
        let each = each.map(|(name, value)| {
            XATTR + name.as_bytes().len() as u64 + charge_of_bytes(name, value.bytes.len())
        });
        each.sum()
    }

    /// How much more that is with this value; 0 if it is not more.
    pub(super) fn growth(&self, name: &XattrName, value: &[u8]) -> u64 {
        match self.values.get(name) {
            Some(before) => charge_of_bytes(name, value.len().saturating_sub(before.bytes.len())),
            None => XATTR + name.as_bytes().len() as u64 + charge_of_bytes(name, value.len()),
        }
    }

    /// Sets what may be set.
    pub(super) fn put(&mut self, name: XattrName, bytes: Vec<u8>, edition: u64) {
        self.bytes += bytes.len();
        let before = self.values.insert(name, Value { bytes, edition });
        self.bytes -= before.map_or(0, |value| value.bytes.len());
    }

    pub(super) fn remove(&mut self, name: &XattrName) -> Result<(), MetaError> {
        let value = self.values.remove(name).ok_or(MetaError::NoXattr)?;
        self.bytes -= value.bytes.len();
        Ok(())
    }

    /// What the attributes of an inode with these have of ACLs.
    ///
    /// # Errors
    /// One cannot be read, or is none that the inode can have.
    pub(crate) fn acls(&self, attr: &Attr) -> Result<Acls, MetaError> {
        let mut acls = Acls::None;
        for kind in [AclKind::Access, AclKind::Default] {
            if let Some((value, _)) = self.get(&XattrName::of_acl(kind)) {
                acls = acls.with(kind, Some(acl_of(attr, kind, value)?));
            }
        }
        Ok(acls)
    }

    /// The limits hold, and the sum is right.
    pub(crate) fn is_sound(&self) -> bool {
        let lengths = || self.values.values().map(|value| value.bytes.len());
        self.bytes == lengths().sum::<usize>()
            && self.bytes <= MAX_XATTR_BYTES
            && self.values.len() <= MAX_XATTRS
            && lengths().all(|len| len <= MAX_XATTR_VALUE)
    }
}

/// An ACL is kept twice: as its bytes, and with the attributes.
fn charge_of_bytes(name: &XattrName, bytes: usize) -> u64 {
    let copies = if name.acl().is_some() { 2 } else { 1 };
    copies * bytes as u64
}

/// The ACL of an inode with these attributes whose extended attribute has this value.
///
/// # Errors
/// [`MetaError`]: it cannot be read, is none that the inode can have, or the inode's mode says something else.
pub(super) fn acl_of(attr: &Attr, kind: AclKind, value: &[u8]) -> Result<Acl, MetaError> {
    let acl = Acl::decode(value)?.ok_or(MetaError::Invalid)?;
    let fits = match kind {
        AclKind::Access => {
            attr.kind != FileKind::Symlink && !acl.is_mode() && acl.mode() == attr.mode & 0o777
        }
        AclKind::Default => attr.kind == FileKind::Directory,
    };
    fits.then_some(acl).ok_or(MetaError::Invalid)
}

/// What the owner of an inode is charged for these.
pub(super) fn charge_of_acls(pair: &AclPair) -> u64 {
    let kinds = [(AclKind::Access, &pair.access), (AclKind::Default, &pair.default)];
    let none = Xattrs::default();
    let charges = kinds.into_iter().filter_map(|(kind, acl)| {
        let value = acl.as_ref()?.encode();
        Some(none.growth(&XattrName::of_acl(kind), &value))
    });
    charges.sum()
}
