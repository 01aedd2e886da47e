//! What a file lock is: whose, of which kind, and over which bytes.

use crate::id::LockOwner;
use serde::{Deserialize, Serialize};

/// The last byte that a lock can cover (`OFFSET_MAX`).
pub const LAST_BYTE: u64 = i64::MAX as u64;

/// Bytes from `start` to `last`, both included.
///
/// Decoding refuses what is empty or goes past [`LAST_BYTE`], so a neighbour's position never overflows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "(u64, u64)", into = "(u64, u64)")]
pub struct Span {
    start: u64,
    last: u64,
}

impl Span {
    /// The whole of a file, however long it becomes.
    pub const WHOLE: Span = Span {
        start: 0,
        last: LAST_BYTE,
    };

    /// `None` when it is empty or goes past [`LAST_BYTE`].
    #[must_use]
    pub fn new(start: u64, last: u64) -> Option<Self> {
        (start <= last && last <= LAST_BYTE).then_some(Self { start, last })
    }

    /// First byte.
    #[must_use]
    pub fn start(self) -> u64 {
        self.start
    }

    /// Last byte, at most [`LAST_BYTE`].
    #[must_use]
    pub fn last(self) -> u64 {
        self.last
    }

    /// True when a byte is in both.
    #[must_use]
    pub fn overlaps(self, other: Span) -> bool {
        self.start <= other.last && other.start <= self.last
    }

    /// The smallest span that covers both, when no byte lies between them.
    #[must_use]
    pub fn joined(self, other: Span) -> Option<Span> {
        let touches = self.start <= other.last + 1 && other.start <= self.last + 1;
        touches.then(|| self.hull(other))
    }

    /// The smallest span that covers both, with what lies between them.
    #[must_use]
    pub fn hull(self, other: Span) -> Span {
        Span {
            start: self.start.min(other.start),
            last: self.last.max(other.last),
        }
    }

    /// What is left of it before and after `other`.
    pub fn without(self, other: Span) -> impl Iterator<Item = Span> {
        let before = other
            .start
            .checked_sub(1)
            .and_then(|last| Span::new(self.start, last.min(self.last)));
        let after = Span::new(self.start.max(other.last + 1), self.last);
        before.into_iter().chain(after)
    }
}

impl TryFrom<(u64, u64)> for Span {
    type Error = &'static str;
    fn try_from((start, last): (u64, u64)) -> Result<Self, Self::Error> {
        Span::new(start, last).ok_or("no range of bytes")
    }
}

impl From<Span> for (u64, u64) {
    fn from(span: Span) -> Self {
        (span.start, span.last)
    }
}

/// By which call a lock was taken. As on local file systems, the locks of flock(2) and those of fcntl(2) do not see each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum LockKind {
    /// flock(2).
    Flock,
    /// F_SETLK, F_SETLKW: of a process.
    Posix,
    /// F_OFD_SETLK, F_OFD_SETLKW: of an open file.
    Ofd,
    /// It could not be told: such a lock sees all others.
    Unknown,
}

impl LockKind {
    /// True when locks of these kinds can be in each other's way.
    #[must_use]
    pub fn sees(self, other: LockKind) -> bool {
        let unknown = self == Self::Unknown || other == Self::Unknown;
        unknown || (self == Self::Flock) == (other == Self::Flock)
    }
}

/// A lock, held or wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// Whose: chosen by the handler, and never used again for another one in its session.
    pub owner: LockOwner,
    /// The call that takes such locks: flock(2) or fcntl(2).
    pub kind: LockKind,
    /// Nobody else may have these bytes, too.
    pub exclusive: bool,
    /// The bytes that are locked.
    pub span: Span,
    /// The process, in the handler's numbers; 0: it cannot be told. Processes that wait for each other are found by it.
    pub process: u64,
}

impl Lock {
    /// True when two owners cannot have both.
    #[must_use]
    pub fn excludes(&self, other: &Lock) -> bool {
        (self.exclusive || other.exclusive) && self.kind.sees(other.kind) && self.span.overlaps(other.span)
    }
}

/// How it stands with a lock that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LockState {
    /// The lock is held.
    Held,
    /// The lock waits for its turn.
    Waiting,
    /// The lock is neither held nor waited for.
    Free,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start: u64, last: u64) -> Span {
        Span::new(start, last).unwrap()
    }

    #[test]
    fn what_is_left_of_a_span() {
        let without = |a: Span, b: Span| a.without(b).collect::<Vec<_>>();
        assert_eq!(without(span(10, 20), span(12, 15)), [span(10, 11), span(16, 20)]);
        assert_eq!(without(span(10, 20), span(0, 15)), [span(16, 20)]);
        assert_eq!(without(span(10, 20), span(15, LAST_BYTE)), [span(10, 14)]);
        assert_eq!(without(span(10, 20), Span::WHOLE), []);
        assert_eq!(
            without(Span::WHOLE, span(LAST_BYTE, LAST_BYTE)),
            [span(0, LAST_BYTE - 1)]
        );
        assert_eq!(without(span(10, 20), span(30, 40)), [span(10, 20)]);
        assert_eq!(without(span(10, 20), span(0, 4)), [span(10, 20)]);
    }

    #[test]
    fn neighbours_join_and_ends_do_not_overflow() {
        assert_eq!(span(0, 4).joined(span(5, 9)), Some(span(0, 9)));
        assert_eq!(span(0, 4).joined(span(6, 9)), None);
        assert_eq!(Span::WHOLE.joined(Span::WHOLE), Some(Span::WHOLE));
        assert_eq!(Span::new(5, 4), None);
        assert_eq!(Span::new(0, LAST_BYTE + 1), None);
    }
}
