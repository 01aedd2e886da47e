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
    /// Of those who run it: it gave them rights.
    with_rights: usize,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(in crate::handler) struct TextUse {
    of: Arc<TextUses>,
    writes: bool,
    runs: bool,
    with_rights: bool,
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
        let with_rights = false;
        TextUse {
            of,
            writes,
            runs,
            with_rights,
        }
    }

    /// Whether the file is open for writing here.
    pub(in crate::handler) fn is_written(&self) -> bool {
        self.uses.lock().writers > 0
    }
}

impl TextUse {
    /// Whether somebody else runs what this use writes, or writes what it runs, where the file `gives_rights` to who runs it now, or did when that began:
    /// whoever may write a file can take its bits away first.
    pub(in crate::handler) fn is_at_odds(&mut self, gives_rights: bool) -> bool {
        let mut uses = self.of.uses.lock();
        if self.runs && gives_rights && !self.with_rights {
            self.with_rights = true;
            uses.with_rights += 1;
        }
        let others_run = match gives_rights {
            true => uses.runners > usize::from(self.runs),
            false => uses.with_rights > usize::from(self.with_rights),
        };
        let others_write = gives_rights && uses.writers > usize::from(self.writes);
        self.writes && others_run || self.runs && others_write
    }
}

impl Drop for TextUse {
    fn drop(&mut self) {
        if self.writes || self.runs {
            let mut uses = self.of.uses.lock();
            uses.writers -= usize::from(self.writes);
            uses.runners -= usize::from(self.runs);
            uses.with_rights -= usize::from(self.with_rights);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_writes_another_does_not_run() {
        let uses = Arc::new(TextUses::default());
        let mut reads = uses.begin(false, false);
        let mut writes = uses.begin(true, false);
        assert!(!reads.is_at_odds(true) && !writes.is_at_odds(true));
        let mut other = uses.begin(true, false);
        assert!(!writes.is_at_odds(true), "two may write");
        let mut runs = uses.begin(false, true);
        assert!(!runs.is_at_odds(false), "as anybody");
        assert!(writes.is_at_odds(true) && !writes.is_at_odds(false));
        assert!(runs.is_at_odds(true) && other.is_at_odds(true) && !reads.is_at_odds(true));
        drop((writes, other));
        assert!(!runs.is_at_odds(true));
        let mut two = uses.begin(false, true);
        assert!(!runs.is_at_odds(true) && !two.is_at_odds(true), "two may run it");
        let mut late = uses.begin(true, false);
        assert!(late.is_at_odds(true));
        assert!(late.is_at_odds(false), "it was run with rights that are gone now");
        drop((runs, two));
        assert!(!late.is_at_odds(true));
        drop((late, reads));
        let counts = uses.uses.lock();
        assert_eq!((counts.writers, counts.runners, counts.with_rights), (0, 0, 0));
    }
}
