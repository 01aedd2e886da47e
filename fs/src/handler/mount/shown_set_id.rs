//! Which programs a mount's kernel takes for set-id ones.

use crate::handler::lock_order::Mutex;
use lru::LruCache;
use rdmafs_meta::attr::{Attr, FileKind};
use rdmafs_meta::id::InodeId;
use rdmafs_meta::permission::has_set_id;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};

/// Inodes remembered: more than a kernel is shown between its look at a program's mode and the program's opening.
const MAX_SHOWN: NonZeroUsize = NonZeroUsize::new(1 << 12).expect("above 0");

/// The inodes that the kernel was shown with set-id bits last.
pub(super) struct ShownSetId {
    any: AtomicBool,
    inodes: Mutex<LruCache<InodeId, ()>>,
}

impl Default for ShownSetId {
    fn default() -> Self {
        Self {
            any: AtomicBool::new(false),
            inodes: Mutex::new(LruCache::new(MAX_SHOWN)),
        }
    }
}

impl ShownSetId {
    /// The kernel is shown these attributes. While its programs write the file it may pass them over for older ones, since of an answer and a write that cross it keeps
    /// what it had (`fuse_change_attributes` of Linux): then bits that are gone still count.
    pub(super) fn shown(&self, attr: &Attr, is_written: impl FnOnce() -> bool) {
        if attr.kind == FileKind::Regular && has_set_id(attr.mode) {
            let mut inodes = self.inodes.lock();
            inodes.put(attr.ino, ());
            self.any.store(true, Ordering::Release);
        } else if self.has(attr.ino) && !is_written() {
            let mut inodes = self.inodes.lock();
            inodes.pop(&attr.ino);
            self.any.store(!inodes.is_empty(), Ordering::Release);
        }
    }

    /// Whether the kernel may still take it for a set-id program.
    pub(super) fn has(&self, ino: InodeId) -> bool {
        self.any.load(Ordering::Acquire) && self.inodes.lock().contains(&ino)
    }
}
