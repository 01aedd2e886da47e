//! Entries of directories that were read here, in the order of their places.
//!
//! A listing grows by the pages of one pass, from the directory's start: of a pass that is not over its beginning is held. All of it is so since
//! the stamp of its first page. What changes the names of a directory, or what its ".." is, raises the directory's floor: a listing
//! that is not above it is not shown, and grows no further. So what is pushed out needs no floor of its own.
//!
//! An entry takes 32 bytes, and its name's bytes are shared with what is held of the name.

use super::bounds::Bounds;
use super::floors::Floors;
use lru::LruCache;
use rdmafs_meta::id::{InodeId, Stamp};
use rdmafs_meta::name::Name;
use rdmafs_meta::wire::DirEntry;

/// How an entry is called.
#[derive(Clone, Debug, PartialEq, Eq)]
enum EntryName {
    /// ".".
    Itself,
    /// "..".
    Parent,
    Name(Name),
}

impl EntryName {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Itself => b".",
            Self::Parent => b"..",
            Self::Name(name) => name.as_bytes(),
        }
    }
}

/// One entry. The kind is its inode's, and so in the attributes that are held of that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ListedEntry {
    pub(super) cookie: u64,
    pub(super) ino: InodeId,
    name: EntryName,
}

impl ListedEntry {
    /// The entry, and its name unless that is "." or "..". `None`: the service gives no such entry.
    pub(super) fn of(entry: &DirEntry, name: Option<&Name>) -> Option<Self> {
        let name = match (entry.name.as_slice(), name) {
            (b".", _) => EntryName::Itself,
            (b"..", _) => EntryName::Parent,
            (_, Some(name)) => EntryName::Name(name.clone()),
            (_, None) => return None,
        };
        Some(Self {
            cookie: entry.cookie,
            ino: entry.attr.ino,
            name,
        })
    }

    /// Its name, also "." and "..".
    pub(super) fn name(&self) -> &[u8] {
        self.name.bytes()
    }
}

/// A page of a directory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Page {
    /// Its entries stand after this place.
    pub(super) after: u64,
    /// The place of its last entry.
    pub(super) last: u64,
    /// Nothing stands after it.
    pub(super) end: bool,
    /// The place that the directory's next name gets.
    pub(super) next: u64,
}

/// What is held of one directory.
#[derive(Debug)]
pub(super) struct Listing {
    since: Stamp,
    /// The place that the next name gets.
    next: u64,
    /// All entries up to `last`.
    entries: Vec<ListedEntry>,
    last: u64,
    /// Nothing stands after `last`.
    whole: bool,
    /// Bytes of the names.
    bytes: usize,
}

impl Listing {
    /// The place that the directory's next name gets.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Entries after `after`, at most `limit`: at least one, unless the directory has none there. `None`: that is not known.
    pub(super) fn page(&self, after: u64, limit: usize) -> Option<&[ListedEntry]> {
        let first = self.entries.partition_point(|entry| entry.cookie <= after);
        let rest = &self.entries[first..];
        (self.whole || !rest.is_empty()).then(|| &rest[..rest.len().min(limit)])
    }

    /// A listing that begins with this page, without its entries.
    fn begins(page: Page, since: Stamp) -> Self {
        Self {
            since,
            next: page.next,
            entries: Vec::new(),
            last: 0,
            whole: false,
            bytes: 0,
        }
    }

    /// A page of an earlier pass may come late.
    fn is_followed_by(&self, page: Page, stamp: Stamp) -> bool {
        !self.whole && self.last == page.after && self.since < stamp
    }

    /// A page that follows what is held is added.
    fn grow(&mut self, page: Page, entries: Vec<ListedEntry>) {
        self.bytes += entries.iter().map(|entry| entry.name().len()).sum::<usize>();
        self.entries.extend(entries);
        (self.last, self.whole) = (page.last, page.end);
        if self.whole {
            self.entries.shrink_to_fit();
        }
    }
}

/// All listings that are held.
#[derive(Debug)]
pub(super) struct Listings {
    bounds: Bounds,
    held: LruCache<InodeId, Listing>,
    /// Entries of these.
    entries: usize,
    /// Bytes of their names.
    bytes: usize,
    /// By directory: below them no listing is believed.
    floors: Floors,
}

impl Listings {
    /// Holds nothing.
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            held: LruCache::unbounded(),
            entries: 0,
            bytes: 0,
            floors: Floors::new(),
        }
    }

    /// What is held of the directory.
    pub(super) fn get(&mut self, directory: InodeId) -> Option<&Listing> {
        let floors = &self.floors;
        let listing = self.held.get(&directory);
        listing.filter(|listing| floors.admit(&directory, listing.since))
    }

    /// A page of the directory has these entries. It is of use where it follows what is held, or is a beginning that is longer than that.
    pub(super) fn learn(&mut self, directory: InodeId, page: Page, entries: Vec<ListedEntry>, stamp: Stamp) {
        let floors = &self.floors;
        let valid = |held: &&Listing| floors.admit(&directory, held.since);
        let held = self.held.peek(&directory).filter(valid);
        let begins = page.after == 0 && held.is_none_or(|held| !held.whole && held.last < page.last);
        let mut listing = if begins && floors.admit(&directory, stamp) {
            Listing::begins(page, stamp)
        } else if held.is_some_and(|held| held.is_followed_by(page, stamp))
            && let Some(held) = self.pop(directory)
        {
            held
        } else {
            return;
        };
        listing.grow(page, entries);
        self.pop(directory);
        // Of more entries the attributes are not held either.
        if listing.entries.len() <= self.bounds.attributes {
            self.put(directory, listing);
        }
    }

    fn put(&mut self, directory: InodeId, listing: Listing) {
        self.entries += listing.entries.len();
        self.bytes += listing.bytes;
        self.held.put(directory, listing);
        while self.entries > self.bounds.listed || self.bytes > self.bounds.listed_bytes {
            let Some((_, listing)) = self.held.pop_lru() else {
                return;
            };
            self.less(&listing);
        }
    }

    fn pop(&mut self, directory: InodeId) -> Option<Listing> {
        let listing = self.held.pop(&directory)?;
        self.less(&listing);
        Some(listing)
    }

    fn less(&mut self, listing: &Listing) {
        self.entries -= listing.entries.len();
        self.bytes -= listing.bytes;
    }

    /// The directory was changed after the step with this stamp, or in it.
    pub(super) fn forget(&mut self, directory: InodeId, stamp: Stamp) {
        self.floors.raise(&directory, stamp);
        if self.held.peek(&directory).is_some_and(|held| held.since <= stamp) {
            self.pop(directory);
        }
    }

    /// Any directory may have been changed up to this stamp.
    pub(super) fn forget_all(&mut self, stamp: Stamp) {
        self.floors.raise_all(stamp);
        self.clear();
    }

    /// Nothing is held any more.
    pub(super) fn clear(&mut self) {
        self.held.clear();
        (self.entries, self.bytes) = (0, 0);
    }

    /// Entries that are held, and bytes of their names.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.entries, self.bytes)
    }
}
