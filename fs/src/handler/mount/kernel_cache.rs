//! What a mount's kernel believes of each inode, so that opening an unchanged file keeps its cached pages
//! (close-to-open).
//!
//! The handler cannot see the kernel act on an answer, so nothing counts as believed before it is sure: attributes when they are in an
//! answer that is sent, and doubtful when they follow others (of two answers that cross, the kernel keeps the one that comes first);
//! pages as dropped when the file that was opened without them is used.

use lru::LruCache;
use rdmafs_meta::attr::Attr;
use rdmafs_meta::id::{InodeId, Version};
use std::num::NonZeroUsize;

/// Inodes remembered; an inode that was forgotten is opened without its cached pages.
const MAX_TRACKED: NonZeroUsize = NonZeroUsize::new(1 << 16).expect("above 0");

/// What the kernel was told.
#[derive(Clone, Copy, Debug, Default)]
struct Belief {
    /// The version that its cached pages are of.
    pages: Option<Version>,
    /// Version and size of the attributes it was last given.
    attributes: Option<(Version, u64)>,
    /// It may have kept attributes that it was given before those.
    doubtful: bool,
    /// The last version that this mount alone made: the kernel knew that size before the answer told it.
    own: Option<Version>,
}

/// What to do when a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::handler) struct Validity {
    /// Cached pages are those of this version.
    pub(in crate::handler) keep_cache: bool,
    /// The kernel has the attributes.
    pub(in crate::handler) attributes_known: bool,
}

/// An open that makes the kernel drop its pages: from its first use on, those that it has are of this version at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::handler) struct Fresh {
    ino: InodeId,
    version: Version,
    session: u64,
}

/// Beliefs about the inodes used last.
pub(in crate::handler) struct KernelCacheState {
    beliefs: LruCache<InodeId, Belief>,
    /// Counts the sessions: versions of different ones are not to be compared.
    session: u64,
}

impl KernelCacheState {
    pub(in crate::handler) fn new() -> Self {
        Self {
            beliefs: LruCache::new(MAX_TRACKED),
            session: 0,
        }
    }

    /// The kernel is given these attributes.
    pub(in crate::handler) fn shown(&mut self, attr: &Attr) {
        let belief = self.belief(attr.ino);
        let others = belief
            .attributes
            .is_some_and(|(version, _)| version != attr.version && belief.own != Some(attr.version));
        belief.doubtful |= others;
        belief.attributes = Some((attr.version, attr.size));
    }

    /// The kernel opens a file with these attributes. `foreign`: its bytes are not all of that version.
    pub(in crate::handler) fn opens(&mut self, attr: &Attr, foreign: bool) -> (Validity, Option<Fresh>) {
        let session = self.session;
        let belief = self.belief(attr.ino);
        let keep_cache = !foreign && belief.pages == Some(attr.version);
        if !keep_cache {
            belief.pages = None;
        }
        let validity = Validity {
            keep_cache,
            attributes_known: !belief.doubtful && belief.attributes == Some((attr.version, attr.size)),
        };
        let fresh = Fresh {
            ino: attr.ino,
            version: attr.version,
            session,
        };
        (validity, (!keep_cache && !foreign).then_some(fresh))
    }

    /// The kernel has these attributes or newer ones, or none: it dropped its own since the service gave these.
    pub(in crate::handler) fn settled(&mut self, attr: &Attr) {
        let belief = self.belief(attr.ino);
        belief.attributes = Some((attr.version, attr.size));
        belief.doubtful = false;
    }

    /// A file that was opened so is used: the kernel has read the answer to its open.
    pub(in crate::handler) fn used(&mut self, fresh: Fresh) {
        if fresh.session == self.session {
            self.belief(fresh.ino).pages = Some(fresh.version);
        }
    }

    /// This mount alone changed the file from `before` to `after`.
    pub(in crate::handler) fn advanced(&mut self, ino: InodeId, before: Version, after: Version) {
        if let Some(belief) = self.beliefs.peek_mut(&ino) {
            belief.own = Some(after);
            if belief.pages == Some(before) {
                belief.pages = Some(after);
            }
        }
    }

    /// A new session: the node may be another one, with other files under the same ids, or with their bytes lost.
    pub(in crate::handler) fn forget(&mut self) {
        self.beliefs.clear();
        self.session += 1;
    }

    /// Nothing that the kernel was told is true any more: of these inodes it may have something.
    pub(in crate::handler) fn forget_all(&mut self) -> Vec<InodeId> {
        let all = self.beliefs.iter().map(|(ino, _)| *ino).collect();
        self.forget();
        all
    }

    /// Another changed the file. True when the kernel may have cached something of it.
    pub(in crate::handler) fn changed(&mut self, ino: InodeId) -> bool {
        self.beliefs.pop(&ino).is_some()
    }

    fn belief(&mut self, ino: InodeId) -> &mut Belief {
        self.beliefs.get_or_insert_mut(ino, Belief::default)
    }
}
