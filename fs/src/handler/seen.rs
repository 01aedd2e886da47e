//! What a mount's kernel believes of each inode, so that opening an unchanged file keeps its cached pages
//! (close-to-open).

use lru::LruCache;
use rdmafs_meta::attr::Attr;
use rdmafs_meta::id::{InodeId, Version};
use std::num::NonZeroUsize;

/// Inodes remembered; an inode that was forgotten is opened without its cached pages.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(1 << 16).expect("above 0");

/// What the kernel was told.
#[derive(Clone, Copy, Debug, Default)]
struct Belief {
    /// The version that its cached pages are of.
    pages: Option<Version>,
    /// Version and size of the attributes it was last given.
    attributes: Option<(Version, u64)>,
}

/// What to do when a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    /// Cached pages are those of this version.
    pub(super) keep_cache: bool,
    /// The kernel has the attributes.
    pub(super) attributes_known: bool,
}

/// Beliefs about the inodes used last.
pub(super) struct Seen {
    beliefs: LruCache<InodeId, Belief>,
}

impl Seen {
    pub(super) fn new() -> Self {
        Self {
            beliefs: LruCache::new(REMEMBERED),
        }
    }

    /// The kernel is given these attributes.
    pub(super) fn shown(&mut self, attr: &Attr) {
        let belief = self.beliefs.get_or_insert_mut(attr.ino, Belief::default);
        belief.attributes = Some((attr.version, attr.size));
    }

    /// The kernel opens a file with these attributes. `foreign`: its bytes are not all of that version.
    pub(super) fn opened(&mut self, attr: &Attr, foreign: bool) -> Validity {
        let belief = self.beliefs.get_or_insert_mut(attr.ino, Belief::default);
        let validity = Validity {
            keep_cache: !foreign && belief.pages == Some(attr.version),
            attributes_known: belief.attributes == Some((attr.version, attr.size)),
        };
        belief.pages = (!foreign).then_some(attr.version);
        belief.attributes = Some((attr.version, attr.size));
        validity
    }

    /// This mount alone changed the file from `before` to `after`.
    pub(super) fn advanced(&mut self, ino: InodeId, before: Version, after: Version) {
        if let Some(belief) = self.beliefs.peek_mut(&ino)
            && belief.pages == Some(before)
        {
            belief.pages = Some(after);
        }
    }

    /// A new session: the node may be another one, with other files under the same ids, or with their bytes lost.
    pub(super) fn forget(&mut self) {
        self.beliefs.clear();
    }

    /// Another changed the file. True when the kernel may have cached something of it.
    pub(super) fn changed(&mut self, ino: InodeId) -> bool {
        self.beliefs.pop(&ino).is_some()
    }
}
