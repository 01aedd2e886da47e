//! What the namespace keeps in its store, under which keys.
//!
//! | key | value |
//! | --- | --- |
//! | `Mformat` | one byte, the format of all this: 2 |
//! | `Mceiling` | u64, big-endian: inode ids from here on were never given out |
//! | `Midentity` | [`Identity`](super::identity::Identity): which pool this is |
//! | `I` inode | [`InodeRecord`] |
//! | `D` directory, name | cookie and inode of the entry |
//! | `L` inode, piece | the runs of one piece (64 MiB) of a file's layout |
//! | `A` inode, name | the value of an extended attribute, its bytes as they are |
//!
//! Ids are 8 bytes big-endian, names are their bytes, values are postcard where nothing else is said. An inode whose link count is 0 is its own
//! orphan record: it and its pieces are removed after a restart. The store's term is no pair.
//!
//! Format 1 is the same without `A`: it is read, and becomes format 2 at the next start. So a version that knows only format 1 refuses a store
//! that may have extended attributes, its start and its `fsck --repair` alike, and drops none.

use crate::attr::Attr;
use crate::id::InodeId;
use crate::layout::Run;
use crate::name::Name;
use crate::store::StoreError;
use crate::tree::{Body, Directory, Inode};
use crate::xattr::XattrName;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub(super) const HEAD: &[u8] = b"M";
pub(super) const FORMAT_KEY: &[u8] = b"Mformat";
pub(super) const FORMAT: u8 = 2;
/// The formats that are read.
pub(super) const KNOWN_FORMATS: [u8; 2] = [1, FORMAT];
pub(super) const CEILING_KEY: &[u8] = b"Mceiling";
pub(super) const INODES: &[u8] = b"I";
pub(super) const ENTRIES: &[u8] = b"D";
pub(super) const PIECES: &[u8] = b"L";
pub(super) const XATTRS: &[u8] = b"A";

/// A stored inode; entries and layout have keys of their own.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct InodeRecord {
    attr: Attr,
    body: BodyRecord,
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
/// A stored piece of a layout.
pub(super) type PieceRecord = Vec<Run>;

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
        let attr = inode.attr.clone();
        Self { attr, body }
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
        Inode {
            attr: self.attr,
            body,
        }
    }
}

pub(super) fn inode_key(ino: InodeId) -> Vec<u8> {
    [INODES, &ino.0.to_be_bytes()].concat()
}

pub(super) fn entry_key(parent: InodeId, name: &Name) -> Vec<u8> {
    [ENTRIES, &parent.0.to_be_bytes(), name.as_bytes()].concat()
}

pub(super) fn piece_key(ino: InodeId, piece: u64) -> Vec<u8> {
    [PIECES, &ino.0.to_be_bytes(), &piece.to_be_bytes()].concat()
}

pub(super) fn xattr_key(ino: InodeId, name: &XattrName) -> Vec<u8> {
    [XATTRS, &ino.0.to_be_bytes(), name.as_bytes()].concat()
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
