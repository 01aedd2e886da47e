//! By which mounts of this host a file is open for writing, and by which it is run. Of one mount the kernel sees that nobody writes what is run; between mounts
//! nobody does, and for programs that change who runs them it must not be.

use crate::handler::lock_order::Mutex;
use crate::handler::values::MountId;
use std::sync::Arc;

/// Those of one inode. The lock is a leaf.
#[derive(Debug, Default)]
pub(in crate::handler) struct TextUses {
    uses: Mutex<Vec<Use>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Use {
    mount: MountId,
    writes: bool,
    runs: bool,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(in crate::handler) struct TextUse {
    of: Arc<TextUses>,
    this: Use,
}

impl TextUses {
    /// The file is about to be opened so.
    pub(in crate::handler) fn begin(self: &Arc<Self>, mount: MountId, writes: bool, runs: bool) -> TextUse {
        let this = Use { mount, writes, runs };
        if writes || runs {
            self.uses.lock().push(this);
        }
        let of = self.clone();
        TextUse { of, this }
    }
}

impl TextUse {
    /// Whether another mount runs what this use writes, or writes what it runs.
    pub(in crate::handler) fn is_at_odds(&self) -> bool {
        let (writes, runs) = (self.this.writes, self.this.runs);
        let uses = self.of.uses.lock();
        let mut others = uses.iter().filter(|other| other.mount != self.this.mount);
        others.any(|other| writes && other.runs || runs && other.writes)
    }
}

impl Drop for TextUse {
    fn drop(&mut self) {
        let mut uses = self.of.uses.lock();
        if let Some(at) = uses.iter().position(|other| *other == self.this) {
            uses.swap_remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_mount_writes_another_does_not_run() {
        let uses = Arc::new(TextUses::default());
        let (a, b) = (MountId(1), MountId(2));
        let reads = uses.begin(b, false, false);
        let writes = uses.begin(a, true, false);
        let runs_there = uses.begin(a, false, true);
        assert!(!reads.is_at_odds() && !writes.is_at_odds() && !runs_there.is_at_odds());
        let runs = uses.begin(b, false, true);
        assert!(runs.is_at_odds() && writes.is_at_odds() && !runs_there.is_at_odds());
        drop(writes);
        assert!(!runs.is_at_odds());
        let late = uses.begin(a, true, false);
        assert!(late.is_at_odds());
        drop((runs, late, runs_there, reads));
        assert!(uses.uses.lock().is_empty());
    }
}
