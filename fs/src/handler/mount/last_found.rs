//! What each thread looked up last, so that a rename that another host overtakes is not taken for done.
//!
//! rename(2) has the kernel look up its old name and then its new one; where both lead to one inode it does nothing and succeeds, without a request. If another
//! host renames the one to the other between both lookups, both hosts succeed, and a message that was renamed to be taken is taken twice. Two lookups of one
//! thread, one right after the other, of an inode that never had both names, are therefore answered ESTALE: the kernel then begins the system call
//! anew, with names that it looks up anew (`retry_estale` in its `fs/namei.c`), and the program hears nothing of it.

use crate::handler::lock_order::Mutex;
use lru::LruCache;
use rdmafs_meta::id::InodeId;
use std::num::NonZeroUsize;

/// Most threads that are remembered: what one of them does between two lookups that follow each other is little.
const THREADS: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// A name in a directory.
pub(super) type Place = (InodeId, Vec<u8>);

/// By thread: the last name that was looked up and found, and its inode.
#[derive(Debug)]
pub(super) struct LastFound {
    found: Mutex<LruCache<u32, (Place, InodeId)>>,
}

impl Default for LastFound {
    fn default() -> Self {
        Self {
            found: Mutex::new(LruCache::new(THREADS)),
        }
    }
}

impl LastFound {
    /// The thread looks up another name: the last one is last no more.
    pub(super) fn take(&self, thread: u32) -> Option<(Place, InodeId)> {
        self.found.lock().pop(&thread)
    }

    /// The thread was answered that a name leads to the inode.
    pub(super) fn set(&self, thread: u32, place: Place, ino: InodeId) {
        self.found.lock().put(thread, (place, ino));
    }
}
