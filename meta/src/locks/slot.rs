//! Locks that are alike in what they exclude.

use crate::lock::{Lock, LockKind};

/// Locks of one slot and one owner never overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot {
    /// Those of fcntl(2) are all [`LockKind::Posix`] here.
    kind: LockKind,
    exclusive: bool,
}

const KINDS: [LockKind; 3] = [LockKind::Flock, LockKind::Posix, LockKind::Unknown];

impl Slot {
    /// How many there are.
    pub(super) const COUNT: usize = 2 * KINDS.len();

    /// Of a lock.
    pub(super) fn of(lock: &Lock) -> Self {
        let kind = match lock.kind {
            LockKind::Ofd => LockKind::Posix,
            kind => kind,
        };
        let exclusive = lock.exclusive;
        Self { kind, exclusive }
    }

    /// The kind of its locks, as others see it.
    pub(super) fn kind(self) -> LockKind {
        self.kind
    }

    /// Its number, below [`Slot::COUNT`].
    pub(super) fn number(self) -> usize {
        let kind = match self.kind {
            LockKind::Flock => 0,
            LockKind::Posix | LockKind::Ofd => 1,
            LockKind::Unknown => 2,
        };
        2 * kind + usize::from(self.exclusive)
    }

    /// Those with locks that a lock of this kind sees.
    pub(super) fn observed_by(kind: LockKind) -> impl Iterator<Item = Slot> {
        let observed = KINDS.into_iter().filter(move |other| kind.sees(*other));
        observed.flat_map(|kind| [false, true].map(|exclusive| Self { kind, exclusive }))
    }

    /// Those with locks that another owner cannot have beside this one.
    pub(super) fn excluded_by(lock: &Lock) -> impl Iterator<Item = Slot> + use<> {
        let exclusive = lock.exclusive;
        Self::observed_by(lock.kind).filter(move |slot| exclusive || slot.exclusive)
    }
}
