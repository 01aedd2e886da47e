//! The locks that one owner has in one file.

use crate::id::LockTicket;
use crate::lock::{Lock, LockKind, Span};

/// Of kinds that see each other no two overlap: an owner's later lock takes the place of its earlier ones.
#[derive(Debug, Default)]
pub(super) struct Owned {
    /// In the order of their first bytes.
    locks: Vec<Lock>,
    /// What was granted last, if its owner has asked for nothing since.
    pub(super) last: Option<(LockTicket, Lock)>,
}

impl Owned {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Lock> {
        self.locks.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.locks.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.locks.is_empty()
    }

    /// Puts a lock in the place of what is in its span, and joins it with its like.
    pub(super) fn set(&mut self, mut lock: Lock) {
        self.cut(lock.span, lock.kind);
        self.locks.retain(|other| {
            let alike = Lock {
                span: lock.span,
                ..*other
            } == lock;
            match other.span.joined(lock.span).filter(|_| alike) {
                Some(joined) => {
                    lock.span = joined;
                    false
                }
                None => true,
            }
        });
        self.locks.push(lock);
        self.locks.sort_unstable_by_key(|lock| lock.span.start());
    }

    /// Takes a span out of all locks of kinds that see this one.
    pub(super) fn cut(&mut self, span: Span, kind: LockKind) {
        let hit = |lock: &Lock| lock.kind.sees(kind) && lock.span.overlaps(span);
        let hits: Vec<Lock> = self.locks.extract_if(.., |lock| hit(lock)).collect();
        for lock in hits {
            let left = lock.span.without(span);
            self.locks.extend(left.map(|span| Lock { span, ..lock }));
        }
        self.locks.sort_unstable_by_key(|lock| lock.span.start());
    }

    /// Whether taking the span out makes one lock two.
    pub(super) fn splits(&self, span: Span, kind: LockKind) -> bool {
        let observed = self.locks.iter().filter(|lock| lock.kind.sees(kind));
        observed
            .filter(|lock| lock.span.overlaps(span))
            .any(|lock| lock.span.without(span).count() > 1)
    }
}
