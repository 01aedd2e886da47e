//! What is held of inodes beside attributes and names: values of extended attributes, lists of these, and targets of symbolic links.
//!
//! Held is only what the service answers alike to whomever it answers: `user.` and `security.` attributes, of which the caller decides nothing
//! but whether he may read them, and lists without `trusted.` names, which is how all but root get them. `trusted.`
//! attributes are asked for each time.
//!
//! All of an inode is forgotten by raising one floor, with which what is held is compared where it is looked up. Whatever changes an extra raises
//! it, so what is pushed out needs no floor of its own.

use super::bounds::Bounds;
use super::floors::Floors;
use lru::LruCache;
use rdmafs_meta::error::MetaError;
use rdmafs_meta::id::{InodeId, Stamp};
use rdmafs_meta::wire::{Answer, Reply, Request};
use rdmafs_meta::xattr::{XattrName, XattrSpace};

/// Longer values, lists and targets are asked for each time.
pub(in crate::handler) const LONGEST_HELD: u32 = 4096;

/// Something that an inode has beside attributes and names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::handler) enum Extra {
    /// The value of an extended attribute.
    Xattr(XattrName),
    /// The names of the extended attributes that everybody sees, a NUL after each.
    XattrNames,
    /// The target of a symbolic link.
    Target,
}

/// What is known of an extra.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::handler) enum Known {
    /// Its bytes, all of them.
    Bytes(Vec<u8>),
    /// The inode has no such extended attribute.
    Absent,
}

impl Known {
    /// The bytes, if there are any.
    pub(super) fn bytes(&self) -> Option<Vec<u8>> {
        match self {
            Self::Bytes(bytes) => Some(bytes.clone()),
            Self::Absent => None,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Absent => 0,
        }
    }
}

impl Extra {
    /// What the answer to the request says of an extra of an inode that is to be held.
    pub(super) fn answered(request: &Request, answer: &Answer) -> Option<(InodeId, (Self, Known))> {
        let (ino, extra, known) = match (request, answer) {
            (Request::GetXattr { name, .. }, _) if name.space() == XattrSpace::Trusted => return None,
            (
                Request::GetXattr {
                    ino, name, from: 0, ..
                },
                Ok(Reply::Xattr { total, page, .. }),
            ) if page.len() == *total as usize => {
                (ino, Self::Xattr(name.clone()), Known::Bytes(page.clone()))
            }
            (Request::GetXattr { ino, name, .. }, Err(MetaError::NoXattr)) => {
                (ino, Self::Xattr(name.clone()), Known::Absent)
            }
            (Request::ListXattr { ino }, Ok(Reply::XattrNames(names))) => {
                (ino, Self::XattrNames, Known::Bytes(shown_to_all(names)))
            }
            (Request::ReadLink { ino }, Ok(Reply::Target(target))) => {
                (ino, Self::Target, Known::Bytes(target.clone()))
            }
            _ => return None,
        };
        (known.len() <= LONGEST_HELD as usize).then_some((*ino, (extra, known)))
    }

    fn len(&self) -> usize {
        match self {
            Self::Xattr(name) => name.as_bytes().len(),
            Self::XattrNames | Self::Target => 0,
        }
    }
}

/// The names of a list without those that only root sees.
fn shown_to_all(names: &[u8]) -> Vec<u8> {
    let each = names.split_inclusive(|byte| *byte == 0);
    let shown = each.filter(|name| {
        let parsed = XattrName::new(name.strip_suffix(&[0]).unwrap_or(name));
        parsed.is_ok_and(|name| name.space() != XattrSpace::Trusted)
    });
    shown.flatten().copied().collect()
}

/// All extras that are held.
#[derive(Debug)]
pub(super) struct Extras {
    bounds: Bounds,
    held: LruCache<(InodeId, Extra), (Stamp, Known)>,
    /// Bytes of those, and of their names.
    bytes: usize,
    /// By inode: below them none of its extras is believed.
    floors: Floors,
}

impl Extras {
    /// Holds nothing.
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            held: LruCache::unbounded(),
            bytes: 0,
            floors: Floors::new(),
        }
    }

    /// What is known of it.
    pub(super) fn get(&mut self, ino: InodeId, extra: &Extra) -> Option<&Known> {
        let (stamp, known) = self.held.get(&(ino, extra.clone()))?;
        self.floors.admit(&ino, *stamp).then_some(known)
    }

    /// It is so.
    pub(super) fn learn(&mut self, of: (InodeId, Extra), known: Known, stamp: Stamp) {
        let newer = self.held.peek(&of).is_some_and(|(held, _)| *held > stamp);
        if newer || !self.floors.admit(&of.0, stamp) {
            return;
        }
        let name = of.1.len();
        self.bytes += name + known.len();
        if let Some((_, before)) = self.held.put(of, (stamp, known)) {
            self.bytes -= name + before.len();
        }
        while self.held.len() > self.bounds.extras || self.bytes > self.bounds.extra_bytes {
            let Some(((_, extra), (_, known))) = self.held.pop_lru() else {
                return;
            };
            self.bytes -= extra.len() + known.len();
        }
    }

    /// What was learned of the inode with this stamp or a lower one is forgotten.
    pub(super) fn forget(&mut self, ino: InodeId, stamp: Stamp) {
        self.floors.raise(&ino, stamp);
    }

    /// Everything is forgotten.
    pub(super) fn clear(&mut self) {
        self.held.clear();
        self.bytes = 0;
    }
}
