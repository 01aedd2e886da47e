//! What the namespace keeps in its store, under which keys.
//!
//! | key | value |
//! | --- | --- |
//! | `Mformat` | one byte, the [`format`](super::format) of all this |
//! | `Mceiling` | u64, big-endian: inode ids from here on were never given out |
//! | `Midentity` | [`Identity`](super::identity::Identity): which pool this is |
//! | `I` inode | [`InodeRecord`], and behind it the inode flags, where there are any |
//! | `D` directory, name | cookie and inode of the entry |
//! | `L` inode, segment | the runs of one segment (64 MiB) of a file's layout, each copy with its state |
//! | `A` inode, name | the value of an extended attribute, its bytes as they are |
//! | `H` client owner | u64: its session takes leases, of so many milliseconds |
//!
//! Ids are 8 bytes big-endian, names are their bytes, values are postcard where nothing else is said. An inode whose link count is 0 is its own
//! orphan record: it and its segments are removed after a restart. The store's term is no pair.

use crate::acl::Acls;
use crate::attr::{Attr, FileKind};
use crate::flags::InodeFlags;
use crate::id::{ClientOwner, InodeId, Version};
use crate::layout::Run;
use crate::name::Name;
use crate::store::StoreError;
use crate::time::Timestamp;
use crate::tree::{Body, Directory, Inode};
use crate::xattr::XattrName;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub(super) const HEAD: &[u8] = b"M";
pub(super) const CEILING_KEY: &[u8] = b"Mceiling";
pub(super) const INODES: &[u8] = b"I";
pub(super) const ENTRIES: &[u8] = b"D";
pub(super) const SEGMENTS: &[u8] = b"L";
pub(super) const XATTRS: &[u8] = b"A";
pub(super) const HOLDERS: &[u8] = b"H";

/// No node gives a longer lease, in milliseconds: an hour.
pub(super) const LONGEST_LEASE: u64 = 3_600_000;

/// A stored inode; entries and layout have keys of their own.
#[derive(Debug)]
pub(super) struct InodeRecord {
    attr: AttrRecord,
    body: BodyRecord,
    /// As they are stored: there may be some among them that nobody knows.
    flags: u32,
}

/// Attributes as they were in the first format already, without flags.
#[derive(Debug, Serialize, Deserialize)]
struct AttrRecord {
    ino: InodeId,
    kind: FileKind,
    mode: u16,
    nlink: u32,
    uid: u32,
    gid: u32,
    rdev: u32,
    size: u64,
    allocated: u64,
    atime: Timestamp,
    mtime: Timestamp,
    ctime: Timestamp,
    birth: Timestamp,
    version: Version,
    truncate_seq: u64,
}

#[derive(Debug, Serialize, Deserialize)]
enum BodyRecord {
    File,
    Directory { parent: InodeId, next_cookie: u64 },
    Symlink(Vec<u8>),
    Special,
}

/// A stored directory entry.
pub(super) type EntryRecord = (u64, InodeId);
/// A stored segment of a layout.
pub(super) type SegmentRecord = Vec<Run>;

impl InodeRecord {
    pub(super) fn of(inode: &Inode) -> Self {
        let body = match &inode.body {
            Body::File { .. } => BodyRecord::File,
            Body::Directory(directory) => BodyRecord::Directory {
                parent: directory.parent,
                next_cookie: directory.next_cookie,
            },
            Body::Symlink(target) => BodyRecord::Symlink(target.clone()),
            Body::Special => BodyRecord::Special,
        };
        Self {
            attr: AttrRecord::of(&inode.attr),
            body,
            flags: inode.attr.flags.bits(),
        }
    }

    /// Inode flags, with what no flag has.
    pub(super) fn flags(&self) -> u32 {
        self.flags
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        match self.flags {
            0 => encode(&(&self.attr, &self.body)),
            flags => encode(&(&self.attr, &self.body, flags)),
        }
    }

    pub(super) fn decode(key: &[u8], value: &[u8]) -> Result<Self, StoreError> {
        let plain = decode::<(AttrRecord, BodyRecord)>(key, value);
        let (attr, body, flags) = match plain {
            Ok((attr, body)) => (attr, body, 0),
            Err(_) => decode(key, value)?,
        };
        Ok(Self { attr, body, flags })
    }

    pub(super) fn into_inode(self) -> Inode {
        let body = match self.body {
            BodyRecord::File => Body::File {
                layout: crate::layout::LayoutMap::default(),
                loose_tail: false,
                chosen: None,
            },
            BodyRecord::Directory { parent, next_cookie } => {
                let mut directory = Directory::new(parent);
                directory.next_cookie = next_cookie;
                Body::Directory(directory)
            }
            BodyRecord::Symlink(target) => Body::Symlink(target),
            BodyRecord::Special => Body::Special,
        };
        let attr = self.attr.with(InodeFlags::known(self.flags));
        Inode::new(attr, body)
    }
}

impl AttrRecord {
    fn of(attr: &Attr) -> Self {
        Self {
            ino: attr.ino,
            kind: attr.kind,
            mode: attr.mode,
            nlink: attr.nlink,
            uid: attr.uid,
            gid: attr.gid,
            rdev: attr.rdev,
            size: attr.size,
            allocated: attr.allocated,
            atime: attr.atime,
            mtime: attr.mtime,
            ctime: attr.ctime,
            birth: attr.birth,
            version: attr.version,
            truncate_seq: attr.truncate_seq,
        }
    }

    fn with(self, flags: InodeFlags) -> Attr {
        Attr {
            ino: self.ino,
            kind: self.kind,
            mode: self.mode,
            nlink: self.nlink,
            uid: self.uid,
            gid: self.gid,
            rdev: self.rdev,
            size: self.size,
            allocated: self.allocated,
            atime: self.atime,
            mtime: self.mtime,
            ctime: self.ctime,
            birth: self.birth,
            version: self.version,
            truncate_seq: self.truncate_seq,
            flags,
            // They are extended attributes, and stand under keys of their own.
            acls: Acls::None,
        }
    }
}

pub(super) fn inode_key(ino: InodeId) -> Vec<u8> {
    [INODES, &ino.0.to_be_bytes()].concat()
}

pub(super) fn entry_key(parent: InodeId, name: &Name) -> Vec<u8> {
    [ENTRIES, &parent.0.to_be_bytes(), name.as_bytes()].concat()
}

pub(super) fn segment_key(ino: InodeId, segment: u64) -> Vec<u8> {
    [SEGMENTS, &ino.0.to_be_bytes(), &segment.to_be_bytes()].concat()
}

pub(super) fn xattr_key(ino: InodeId, name: &XattrName) -> Vec<u8> {
    [XATTRS, &ino.0.to_be_bytes(), name.as_bytes()].concat()
}

pub(super) fn holder_key(owner: ClientOwner) -> Vec<u8> {
    [HOLDERS, &owner.0].concat()
}

/// The id after a key's first byte, and what follows it.
pub(super) fn split_key(key: &[u8]) -> Result<(InodeId, &[u8]), StoreError> {
    let (id, rest) = key
        .get(1..)
        .and_then(<[u8]>::split_first_chunk)
        .ok_or_else(|| damaged("a key", key))?;
    Ok((InodeId(u64::from_be_bytes(*id)), rest))
}

pub(super) fn number(bytes: &[u8]) -> Result<u64, StoreError> {
    let bytes = bytes.try_into().map_err(|_| damaged("a number", bytes))?;
    Ok(u64::from_be_bytes(bytes))
}

/// The bytes of a record. Ours always encode: every record is plain data in memory.
pub(super) fn encode<T: Serialize>(record: &T) -> Vec<u8> {
    postcard::to_allocvec(record).unwrap_or_default()
}

/// A record, and nothing behind it: what another format has added is not passed over.
pub(super) fn decode<T: DeserializeOwned>(key: &[u8], value: &[u8]) -> Result<T, StoreError> {
    match postcard::take_from_bytes(value) {
        Ok((record, [])) => Ok(record),
        _ => Err(damaged("the value of", key)),
    }
}

fn damaged(what: &str, bytes: &[u8]) -> StoreError {
    StoreError::Damaged(format!("{what} {} is malformed", bytes.escape_ascii()))
}
