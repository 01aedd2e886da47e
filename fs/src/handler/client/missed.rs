//! Directories in which names are looked for in vain: after a few of these a small directory is read as a whole, so that it is known which names it lacks. Whoever makes
//! many files has each name looked up first.

use crate::handler::lock_order::Mutex;
use lru::LruCache;
use rdmafs_meta::id::InodeId;
use std::num::NonZeroUsize;

/// Names that are looked for in vain before a directory is read.
const IN_VAIN: u8 = 3;
/// Most entries of one that is known as a whole afterwards, "." and ".." too: of a larger one that much is read once, and no more.
pub(super) const ENTRIES: u32 = 256;
/// Most directories that are remembered.
const DIRECTORIES: NonZeroUsize = NonZeroUsize::new(256).unwrap();

/// By directory: how many names were not there.
#[derive(Debug)]
pub(in crate::handler) struct Missed {
    counts: Mutex<LruCache<InodeId, u8>>,
}

impl Default for Missed {
    fn default() -> Self {
        Self {
            counts: Mutex::new(LruCache::new(DIRECTORIES)),
        }
    }
}

impl Missed {
    /// A name of the directory is not there, and that was not known. True when the directory is to be read now.
    pub(super) fn is_due(&self, directory: InodeId) -> bool {
        let mut counts = self.counts.lock();
        let count = counts.get_or_insert_mut(directory, || 0);
        *count = count.saturating_add(1);
        *count == IN_VAIN
    }

    /// All its names are known, for now.
    pub(super) fn is_known(&self, directory: InodeId) {
        self.counts.lock().pop(&directory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_due_once_until_it_is_known() {
        let (missed, directory) = (Missed::default(), InodeId(7));
        let due = |of| (0..600).filter(|_| missed.is_due(of)).count();
        assert!(!missed.is_due(InodeId(8)));
        assert_eq!(due(directory), 1);
        missed.is_known(directory);
        assert!(!missed.is_due(directory) && !missed.is_due(directory));
        assert!(missed.is_due(directory));
        for other in 0..1000 {
            missed.is_due(InodeId(100 + other));
        }
        assert_eq!(missed.counts.lock().len(), DIRECTORIES.get());
    }
}
