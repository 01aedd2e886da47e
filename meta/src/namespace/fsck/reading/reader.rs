//! What the parts of a reading share.

use crate::id::{ClientOwner, InodeId};
use crate::name::Name;
use crate::namespace::fsck::found::Found;
use crate::namespace::record::split_key;
use crate::problem::ProblemKind;
use crate::time::Timestamp;
use crate::tree::Tree;
use std::collections::BTreeSet;
use std::time::Duration;

/// No inode has a greater id: whatever is stored beyond is damage.
pub(in crate::namespace) const MAX_INODE: u64 = u64::MAX / 2 - 2 * FRESH;
/// Where it is not known which ids were given out, new ones begin this far after the greatest that is seen.
pub(super) const FRESH: u64 = 1 << 32;

/// What a store holds.
#[derive(Debug)]
pub(in crate::namespace) struct Reading {
    /// All that makes sense. What differs from the store is in its changes.
    pub(in crate::namespace) tree: Tree,
    /// What was wrong.
    pub(in crate::namespace) found: Vec<Found>,
    /// Keys that must not stay.
    pub(in crate::namespace) remove: BTreeSet<Vec<u8>>,
    /// Nothing at all is stored: the namespace of a new pool.
    pub(in crate::namespace) is_new: bool,
    /// First inode id that was never given out, if the store knows.
    pub(in crate::namespace) ceiling: Option<InodeId>,
    /// Who takes leases, and of how long.
    pub(in crate::namespace) holders: Vec<(ClientOwner, Duration)>,
    /// Another version may have written it: nothing may be changed.
    pub(in crate::namespace) foreign: bool,
}

/// A reading on its way.
pub(super) struct Reader {
    pub(super) now: Timestamp,
    pub(super) reading: Reading,
    pub(super) format: Option<Vec<u8>>,
    /// Of entries too: an id that is spoken of was given out.
    pub(super) greatest: u64,
    /// Bytes of the largest arena that there was.
    pub(super) largest: u64,
    /// Directories whose entries all get new places.
    pub(super) anew: BTreeSet<InodeId>,
    /// Entries whose place is taken.
    pub(super) displaced: Vec<(InodeId, Name, InodeId)>,
    /// Files whose layout is not as it was stored.
    pub(super) relaid: BTreeSet<InodeId>,
}

impl Reader {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            now,
            reading: Reading {
                tree: Tree::new(Default::default(), InodeId(0)),
                found: Vec::new(),
                remove: BTreeSet::new(),
                is_new: true,
                ceiling: None,
                holders: Vec::new(),
                foreign: false,
            },
            format: None,
            greatest: InodeId::ROOT.0,
            largest: u64::MAX,
            anew: BTreeSet::new(),
            displaced: Vec::new(),
            relaid: BTreeSet::new(),
        }
    }

    /// A key that means nothing.
    pub(super) fn unknown(&mut self, key: &[u8], _: &[u8]) {
        self.leave_out(key);
        let what = format!("the key {} means nothing", shown(key));
        self.report(ProblemKind::MalformedKey, None, what, "remove it");
    }

    pub(super) fn report(
        &mut self,
        kind: ProblemKind,
        ino: impl Into<Option<InodeId>>,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.reading.found.push(Found::about(kind, ino, what, remedy));
    }

    /// The key must not stay.
    pub(super) fn leave_out(&mut self, key: &[u8]) {
        self.reading.is_new = false;
        self.reading.remove.insert(key.to_vec());
    }

    /// The inode differs from what is stored.
    pub(super) fn touch(&mut self, ino: InodeId) {
        // It was put there before.
        let _there = self.reading.tree.get_mut(ino);
    }
}

/// Whether this is the id of any inode.
pub(super) fn is_inode(ino: InodeId) -> bool {
    (InodeId::ROOT.0..=MAX_INODE).contains(&ino.0)
}

/// The inode that a key is about, and the rest of the key. `None` for ids that no inode has.
pub(super) fn inode_of(key: &[u8]) -> Option<(InodeId, &[u8])> {
    split_key(key).ok().filter(|(ino, _)| is_inode(*ino))
}

/// Bytes as a person can read them, not too many.
pub(super) fn shown(bytes: &[u8]) -> String {
    const MOST: usize = 40;
    let cut = if bytes.len() > MOST { "..." } else { "" };
    format!("{}{cut}", bytes[..bytes.len().min(MOST)].escape_ascii())
}
