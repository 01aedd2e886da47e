//! Who has locked what, for an operator who asks.

use super::fsck::Paths;
use super::service::Namespace;
use crate::id::{InodeId, SessionId};
use crate::lock::Lock;
use crate::tree::NAME;
use crate::wire::{Room, Space};
use std::collections::BTreeSet;
use std::time::Duration;

/// Names that are looked at for paths, at most: they are looked for while nobody else is served.
const MOST_NAMES: usize = 1 << 20;

/// A lock that is held or waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locked {
    /// The inode that is locked.
    pub ino: InodeId,
    /// A path to it; `None` where no name leads to it, or the pool has too many names to look for it.
    pub path: Option<String>,
    /// The session whose programs have the lock, or wait for it.
    pub session: SessionId,
    /// The lock: its kind, owner and bytes.
    pub lock: Lock,
    /// For how long it is waited for; `None`: it is held.
    pub waits: Option<Duration>,
}

impl Namespace {
    /// At most `most` locks and waiters, in the order of inodes, and how many more there are. Takes time in proportion to the names in the
    /// pool, up to a million of them.
    #[must_use]
    pub fn locked(&self, most: usize) -> (Vec<Locked>, usize) {
        let mut all = self.locks.all();
        let notified: Vec<_> = all.by_ref().take(most).collect();
        let more = all.count();
        let wanted: BTreeSet<InodeId> = notified.iter().map(|(ino, ..)| *ino).collect();
        let paths = Paths::to_any_of(&self.tree, wanted, MOST_NAMES);
        let locked = notified.into_iter().map(|(ino, session, lock, waits)| Locked {
            ino,
            path: paths.to(ino, None),
            session,
            lock,
            waits,
        });
        (locked.collect(), more)
    }

    /// How full the pool is, with names.
    #[must_use]
    pub fn space_and_names(&self) -> Room {
        let (limit, charged) = self.tree.accounts.space();
        Room {
            space: self.space(),
            names: limit / NAME,
            names_free: limit.saturating_sub(charged) / NAME,
        }
    }

    /// How full the pool is.
    #[must_use]
    pub fn space(&self) -> Space {
        Space {
            total: self.alloc.total(),
            free: self.alloc.free_bytes() + self.alloc.quarantined_bytes(),
            inodes: self.tree.len(),
            lost_files: self.lost.len() as u64,
            lost_bytes: self.lost.values().sum(),
        }
    }
}
