//! One inode, and the entries of a directory.
//!
//! A directory numbers its entries with cookies that only rise, so a listing that goes on after a cookie sees every
//! entry that stayed once, whatever came and went meanwhile.

use super::accounts::Charge;
use crate::acl::Acls;
use crate::attr::{Attr, FileKind};
use crate::flags::InodeFlags;
use crate::id::{InodeId, Version};
use crate::layout::LayoutMap;
use crate::name::Name;
use crate::time::Timestamp;
use std::collections::BTreeMap;

/// Cookies 1 and 2 are "." and "..".
pub(crate) const FIRST_COOKIE: u64 = 3;

/// An inode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Inode {
    pub(crate) attr: Attr,
    pub(crate) body: Body,
    /// What its owner is charged for it; nothing before the end of the step that made it.
    pub(super) charge: Charge,
}

impl Inode {
    pub(crate) fn new(attr: Attr, body: Body) -> Self {
        let charge = Charge::default();
        Self { attr, body, charge }
    }
}

/// What an inode has beside attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// A regular file.
    File {
        layout: LayoutMap,
        /// Someone may have written past the size, within its last granule, and not committed it.
        loose_tail: bool,
        /// When a program last chose the mtime, while somebody had the file open: what was written before that does not set it.
        chosen: Option<Timestamp>,
    },
    Directory(Directory),
    Symlink(Vec<u8>),
    Special,
}

/// The entries of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Directory {
    pub(crate) parent: InodeId,
    pub(crate) next_cookie: u64,
    names: BTreeMap<Name, (u64, InodeId)>,
    cookies: BTreeMap<u64, Name>,
}

impl Directory {
    pub(crate) fn new(parent: InodeId) -> Self {
        Self {
            parent,
            next_cookie: FIRST_COOKIE,
            names: BTreeMap::new(),
            cookies: BTreeMap::new(),
        }
    }

    pub(crate) fn get(&self, name: &Name) -> Option<(u64, InodeId)> {
        self.names.get(name).copied()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// All entries by name.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&Name, u64, InodeId)> {
        self.names
            .iter()
            .map(|(name, (cookie, ino))| (name, *cookie, *ino))
    }

    /// Entries whose cookie is greater, in cookie order.
    pub(crate) fn after(&self, cookie: u64) -> impl Iterator<Item = (u64, &Name, InodeId)> {
        let listed = self.cookies.range(cookie.saturating_add(1)..);
        listed.filter_map(|(cookie, name)| Some((*cookie, name, self.names.get(name)?.1)))
    }

    /// Each entry has a place of its own that was given out.
    pub(crate) fn is_sound(&self) -> bool {
        let placed = |(name, (cookie, _)): (&Name, &(u64, InodeId))| {
            *cookie < self.next_cookie && self.cookies.get(cookie) == Some(name)
        };
        self.cookies.len() == self.names.len() && self.names.iter().all(placed)
    }

    /// Adds a name that is not there.
    pub(crate) fn add(&mut self, name: &Name, ino: InodeId) {
        let cookie = self.next_cookie;
        self.next_cookie += 1;
        self.put(name, cookie, ino);
    }

    /// Lets a name lead to another inode; it keeps its place.
    pub(crate) fn redirect(&mut self, name: &Name, ino: InodeId) {
        if let Some(entry) = self.names.get_mut(name) {
            entry.1 = ino;
        }
    }

    pub(crate) fn remove(&mut self, name: &Name) {
        if let Some((cookie, _)) = self.names.remove(name) {
            self.cookies.remove(&cookie);
        }
    }

    /// Puts an entry where the store says it stands. False when its place is taken or was never given out.
    pub(crate) fn restore(&mut self, name: &Name, cookie: u64, ino: InodeId) -> bool {
        let sound = (FIRST_COOKIE..self.next_cookie).contains(&cookie) && !self.cookies.contains_key(&cookie);
        if sound {
            self.put(name, cookie, ino);
        }
        sound
    }

    fn put(&mut self, name: &Name, cookie: u64, ino: InodeId) {
        self.names.insert(name.clone(), (cookie, ino));
        self.cookies.insert(cookie, name.clone());
    }
}

/// Attributes of a new inode that nothing links to yet.
pub(crate) fn blank(ino: InodeId, kind: FileKind, now: Timestamp) -> Attr {
    Attr {
        ino,
        kind,
        mode: 0,
        nlink: 0,
        uid: 0,
        gid: 0,
        rdev: 0,
        size: 0,
        allocated: 0,
        atime: now,
        mtime: now,
        ctime: now,
        birth: now,
        version: Version(1),
        truncate_seq: 0,
        flags: InodeFlags::NONE,
        acls: Acls::None,
    }
}
