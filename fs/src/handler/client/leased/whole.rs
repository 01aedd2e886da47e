//! Directories of which all names are held.
//!
//! A directory is *wholly known* from the stamp `since` to the stamp `confirmed`: what names it had in that time is held. Of a name that is held with a stamp from
//! `since` on, that is what it led to from then until `confirmed`, and what it leads to if its stamp is higher; a name that is not held so was absent all the time. Only names are excepted
//! that a call of this handler may be changing, and those that are held as unknown.
//!
//! What another session changes does not end that. It ends what is believed, by a floor above `confirmed`; then the directory can be *caught up*: the service
//! says which names changed after `confirmed`, this handler's own changes among them, and once these are learned anew `confirmed` is the stamp of that
//! answer, whether it may be believed or not. It does end when one of the names is pushed out, by a floor above `since`.

use super::floors::Floors;
use lru::LruCache;
use rdmafs_meta::id::{InodeId, Stamp};

#[derive(Clone, Copy, Debug)]
struct Span {
    since: Stamp,
    confirmed: Stamp,
}

/// The directories of which all names are held.
#[derive(Debug)]
pub(super) struct Whole {
    most: usize,
    spans: LruCache<InodeId, Span>,
    /// By directory: what began below them has lost names since.
    floors: Floors,
}

impl Whole {
    /// None.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            spans: LruCache::unbounded(),
            floors: Floors::new(),
        }
    }

    /// True when all names that the directory had then may still be held.
    pub(super) fn admits(&self, directory: InodeId, since: Stamp) -> bool {
        self.floors.admit(&directory, since)
    }

    /// All names that the directory had then are held.
    pub(super) fn learn(&mut self, directory: InodeId, since: Stamp) {
        if self.span(directory).is_some_and(|span| span.confirmed >= since) {
            return;
        }
        let confirmed = since;
        self.spans.put(directory, Span { since, confirmed });
        if self.spans.len() > self.most {
            self.spans.pop_lru();
        }
    }

    /// A name of the directory is not held that may be there; `newest` is the highest stamp so far.
    pub(super) fn lose(&mut self, directory: InodeId, newest: Stamp) {
        self.floors.raise(&directory, newest);
    }

    /// Since when all names are held, where that is believed; `floors` are those of what was forgotten.
    pub(super) fn believed(&mut self, directory: InodeId, floors: &Floors) -> Option<Stamp> {
        let span = self.span(directory)?;
        self.spans.promote(&directory);
        floors.admit(&directory, span.confirmed).then_some(span.since)
    }

    /// From when on the directory can be caught up, where it is not believed without that.
    pub(super) fn behind(&self, directory: InodeId, floors: &Floors) -> Option<Stamp> {
        let confirmed = self.span(directory)?.confirmed;
        (!floors.admit(&directory, confirmed)).then_some(confirmed)
    }

    /// True when all that changed after `from` is all that is to be learned.
    pub(super) fn follows(&self, directory: InodeId, from: Stamp) -> bool {
        self.span(directory).is_some_and(|span| span.confirmed >= from)
    }

    /// All names that changed until then are learned.
    pub(super) fn confirm(&mut self, directory: InodeId, stamp: Stamp) {
        if let Some(span) = self.spans.peek_mut(&directory) {
            span.confirmed = stamp.max(span.confirmed);
        }
    }

    /// Nobody knows what changed after `from`.
    pub(super) fn cannot_follow(&mut self, directory: InodeId, from: Stamp) {
        if self.span(directory).is_some_and(|span| span.confirmed <= from) {
            self.spans.pop(&directory);
        }
    }

    /// Nothing is held any more.
    pub(super) fn clear(&mut self) {
        self.spans.clear();
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.spans.len()
    }

    fn span(&self, directory: InodeId) -> Option<Span> {
        let span = self.spans.peek(&directory).copied();
        span.filter(|span| self.floors.admit(&directory, span.since))
    }
}
