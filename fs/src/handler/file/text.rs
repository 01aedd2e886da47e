//! How often a file is open for writing by the mounts of this host, and how often it is run. Of one mount the kernel sees that nobody writes what is run, but it goes by the
//! mode that it was shown before; between mounts nobody does. For programs that change who runs them it must not be.

use crate::handler::lock_order::Mutex;
use std::sync::Arc;

/// Those of one inode. The lock is a leaf.
#[derive(Debug, Default)]
pub(in crate::handler) struct TextUses {
    uses: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    writers: usize,
    runners: usize,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(in crate::handler) struct TextUse {
    of: Arc<TextUses>,
    writes: bool,
    runs: bool,
}

impl TextUses {
    /// The file is about to be opened so.
    pub(in crate::handler) fn begin(self: &Arc<Self>, writes: bool, runs: bool) -> TextUse {
        if writes || runs {
            let mut uses = self.uses.lock();
            uses.writers += usize::from(writes);
            uses.runners += usize::from(runs);
        }
        let of = self.clone();
        TextUse { of, writes, runs }
    }
}

impl TextUse {
    /// Whether somebody else runs what this use writes, or writes what it runs.
    pub(in crate::handler) fn is_at_odds(&self) -> bool {
        let uses = self.of.uses.lock();
        let others_run = uses.runners > usize::from(self.runs);
        let others_write = uses.writers > usize::from(self.writes);
        self.writes && others_run || self.runs && others_write
    }
}

impl Drop for TextUse {
    fn drop(&mut self) {
        if self.writes || self.runs {
            let mut uses = self.of.uses.lock();
            uses.writers -= usize::from(self.writes);
            uses.runners -= usize::from(self.runs);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_writes_another_does_not_run() {
        let uses = Arc::new(TextUses::default());
        let reads = uses.begin(false, false);
        let writes = uses.begin(true, false);
        assert!(!reads.is_at_odds() && !writes.is_at_odds());
        let other = uses.begin(true, false);
        assert!(!writes.is_at_odds(), "two may write");
        let runs = uses.begin(false, true);
        assert!(runs.is_at_odds() && writes.is_at_odds() && other.is_at_odds() && !reads.is_at_odds());
        drop((writes, other));
        assert!(!runs.is_at_odds());
        let two = uses.begin(false, true);
        assert!(!runs.is_at_odds() && !two.is_at_odds(), "two may run it");
        let late = uses.begin(true, false);
        assert!(late.is_at_odds());
        drop((runs, two, late, reads));
        let counts = uses.uses.lock();
        assert_eq!((counts.writers, counts.runners), (0, 0));
    }
}
