//! POSIX ACLs, as acl(5) has them and Linux keeps them in extended attributes.
//!
//! The bytes are those of `include/uapi/linux/posix_acl_xattr.h`: a version, and an entry of tag, permissions and id for each; all
//! little-endian. What an ACL means is what Linux makes of it (`fs/posix_acl.c`).

use crate::error::MetaError;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Most entries of one ACL: as many as fit the page in which a kernel sends and takes it (`fs/fuse/acl.c`).
pub const MAX_ACL_ENTRIES: usize = (4096 - VERSION.len()) / ENTRY;

/// `POSIX_ACL_XATTR_VERSION`.
const VERSION: [u8; 4] = 2_u32.to_le_bytes();
/// Bytes of an entry.
const ENTRY: usize = 8;
/// `ACL_UNDEFINED_ID`: of an entry that names nobody.
const NO_ID: u32 = u32::MAX;
/// Read, write and execute.
const ALL: u16 = 7;

const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// Which of the ACLs of an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AclKind {
    /// Decides who may do what.
    Access,
    /// Of a directory: what is made in it begins with this one.
    Default,
}

/// An ACL. Permissions are the bits r = 4, w = 2, x = 1. Always one that [`Acl::decode`] takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
pub struct Acl {
    owner: u16,
    /// In their order: the first that names a user counts.
    users: Vec<(u32, u16)>,
    group: u16,
    groups: Vec<(u32, u16)>,
    mask: Option<u16>,
    other: u16,
}

impl Acl {
    /// Reads the bytes of an extended attribute; `None` where there are no entries, which stands for no ACL.
    ///
    /// # Errors
    /// [`MetaError::Invalid`] for what no ACL has: lengths, permissions, tags missing, twice or out of order, named entries without a
    /// mask. [`MetaError::Unsupported`] for another version, [`MetaError::XattrTooBig`] for more than [`MAX_ACL_ENTRIES`].
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, MetaError> {
        let (version, entries) = bytes.split_first_chunk().ok_or(MetaError::Invalid)?;
        if *version != VERSION {
            return Err(MetaError::Unsupported);
        }
        let (entries, rest) = entries.as_chunks::<ENTRY>();
        match entries.len() {
            _ if !rest.is_empty() => Err(MetaError::Invalid),
            0 => Ok(None),
            number if number > MAX_ACL_ENTRIES => Err(MetaError::XattrTooBig),
            _ => Self::of(entries).map(Some),
        }
    }

    fn of(entries: &[[u8; ENTRY]]) -> Result<Self, MetaError> {
        let mut rest = entries.iter().map(|entry| {
            let [a, b, c, d, id @ ..] = *entry;
            let (tag, permissions) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
            (tag, permissions, u32::from_le_bytes(id))
        });
        let mut rest = rest.by_ref().peekable();
        let mut next = |wanted: u16| {
            let found = rest.next_if(|(tag, ..)| *tag == wanted);
            match found {
                Some((_, permissions, _)) if permissions > ALL => Err(MetaError::Invalid),
                // There is no such user or group.
                Some((USER | GROUP, _, NO_ID)) => Err(MetaError::Invalid),
                found => Ok(found.map(|(_, permissions, id)| (id, permissions))),
            }
        };
        let owner = next(USER_OBJ)?.ok_or(MetaError::Invalid)?.1;
        let mut users = Vec::new();
        while let Some(user) = next(USER)? {
            users.push(user);
        }
        let group = next(GROUP_OBJ)?.ok_or(MetaError::Invalid)?.1;
        let mut groups = Vec::new();
        while let Some(group) = next(GROUP)? {
            groups.push(group);
        }
        let mask = next(MASK)?.map(|(_, mask)| mask);
        let other = next(OTHER)?.ok_or(MetaError::Invalid)?.1;
        let named = !users.is_empty() || !groups.is_empty();
        if rest.next().is_some() || named && mask.is_none() {
            return Err(MetaError::Invalid);
        }
        Ok(Self {
            owner,
            users,
            group,
            groups,
            mask,
            other,
        })
    }

    /// The bytes of the extended attribute.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let named = |tag| move |(id, permissions): &(u32, u16)| (tag, *permissions, *id);
        let entries = [(USER_OBJ, self.owner, NO_ID)]
            .into_iter()
            .chain(self.users.iter().map(named(USER)))
            .chain([(GROUP_OBJ, self.group, NO_ID)])
            .chain(self.groups.iter().map(named(GROUP)))
            .chain(self.mask.map(|mask| (MASK, mask, NO_ID)))
            .chain([(OTHER, self.other, NO_ID)]);
        let mut bytes = VERSION.to_vec();
        for (tag, permissions, id) in entries {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(permissions.to_le_bytes());
            bytes.extend(id.to_le_bytes());
        }
        bytes
    }

    /// True when permission bits of a mode say the same: there are neither names nor a mask.
    #[must_use]
    pub fn is_mode(&self) -> bool {
        self.mask.is_none()
    }

    /// The permission bits of an inode with this access ACL, 0 to 0o777: those of its group are the mask where there is one.
    #[must_use]
    pub fn mode(&self) -> u16 {
        self.owner << 6 | self.mask.unwrap_or(self.group) << 3 | self.other
    }

    /// Permission bits that give nobody more than this does, for who judges by them alone.
    #[must_use]
    pub fn least_mode(&self) -> u16 {
        let named = self.users.iter().chain(&self.groups);
        let least = named.fold(self.mask.unwrap_or(ALL), |least, (_, permissions)| {
            least & permissions
        });
        let other = match self.users.is_empty() && self.groups.is_empty() {
            true => self.other,
            false => self.other & least,
        };
        self.owner << 6 | (self.group & least) << 3 | other
    }

    /// The access ACL after chmod(2) to this mode.
    #[must_use]
    pub fn with_mode(&self, mode: u16) -> Self {
        let mut changed = self.clone();
        (changed.owner, changed.other) = (mode >> 6 & ALL, mode & ALL);
        match &mut changed.mask {
            Some(mask) => *mask = mode >> 3 & ALL,
            None => changed.group = mode >> 3 & ALL,
        }
        changed
    }

    /// The access ACL of what is made with these permission bits in a directory that has this as its default ACL: nobody has more than both give.
    #[must_use]
    pub fn inherited(&self, mode: u16) -> Self {
        self.with_mode(mode & self.mode())
    }

    /// What this gives a caller who is not the owner; `is_in` says which groups are his. `wanted` chooses among the entries of several groups: any one that
    /// gives all of it.
    #[must_use]
    pub fn granted(&self, uid: u32, gid: u32, is_in: impl Fn(u32) -> bool, wanted: u16) -> u16 {
        let mask = self.mask.unwrap_or(ALL);
        if let Some((_, permissions)) = self.users.iter().find(|(user, _)| *user == uid) {
            return permissions & mask;
        }
        let named = self.groups.iter().copied();
        let mut his = [(gid, self.group)]
            .into_iter()
            .chain(named)
            .filter(|(id, _)| is_in(*id))
            .peekable();
        if his.peek().is_none() {
            return self.other;
        }
        let gives_all = his.find(|(_, permissions)| wanted & !permissions == 0);
        gives_all.map_or(0, |(_, permissions)| permissions & mask)
    }

    /// The most that a caller whose groups are not known may have who is not the owner.
    #[must_use]
    pub fn granted_by_any_group(&self, uid: u32) -> u16 {
        let mask = self.mask.unwrap_or(ALL);
        match self.users.iter().find(|(user, _)| *user == uid) {
            Some((_, permissions)) => permissions & mask,
            None => {
                let groups = self.groups.iter().map(|(_, permissions)| permissions);
                let most = groups.fold(self.group, |most, permissions| most | permissions);
                self.other | most & mask
            }
        }
    }
}

impl TryFrom<Vec<u8>> for Acl {
    type Error = MetaError;

    fn try_from(bytes: Vec<u8>) -> Result<Self, MetaError> {
        Self::decode(&bytes)?.ok_or(MetaError::Invalid)
    }
}

impl From<Acl> for Vec<u8> {
    fn from(acl: Acl) -> Self {
        acl.encode()
    }
}

/// What is known of the ACLs of an inode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Acls {
    /// There are none; its mode says all.
    #[default]
    None,
    /// There are these, one at least.
    Here(Arc<AclPair>),
    /// There are some, which did not fit the message: they are to be asked for.
    Unasked,
}

/// The ACLs of an inode.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AclPair {
    /// Says more than a mode.
    pub access: Option<Acl>,
    /// Of directories only.
    pub default: Option<Acl>,
}

impl Acls {
    /// These, if there are any.
    #[must_use]
    pub fn of(pair: AclPair) -> Self {
        match pair {
            AclPair {
                access: None,
                default: None,
            } => Self::None,
            pair => Self::Here(Arc::new(pair)),
        }
    }

    /// The ACL of this kind; `None` as well where it is not known.
    #[must_use]
    pub fn get(&self, kind: AclKind) -> Option<&Acl> {
        let Self::Here(pair) = self else { return None };
        match kind {
            AclKind::Access => pair.access.as_ref(),
            AclKind::Default => pair.default.as_ref(),
        }
    }

    /// With another one of this kind, or none.
    #[must_use]
    pub fn with(&self, kind: AclKind, acl: Option<Acl>) -> Self {
        let mut pair = match self {
            Self::Here(pair) => AclPair::clone(pair),
            Self::None | Self::Unasked => AclPair::default(),
        };
        match kind {
            AclKind::Access => pair.access = acl,
            AclKind::Default => pair.default = acl,
        }
        Self::of(pair)
    }

    /// After chmod(2) to this mode.
    #[must_use]
    pub fn with_mode(&self, mode: u16) -> Self {
        match self.get(AclKind::Access) {
            Some(acl) => self.with(AclKind::Access, Some(acl.with_mode(mode))),
            None => self.clone(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
