//! Sessions: their leases, what they hold, and the recalls they owe.
//!
//! A session that has an inode open may hold its layout and have operations in flight on it, so every open counts as a
//! held layout. A recall is over when each session that had the inode open when it began acknowledged it, closed the
//! inode, or was fenced; the end of a lease alone ends nothing but the session's right to ask.
//!
//! A connection may break while its handler lives and its programs have files open. So what a fenced session had open counts as
//! held for as long as its lease would have been: a handler that comes back finds what its programs wrote and did not sync.

use crate::error::MetaError;
use crate::extent::Extent;
use crate::id::{InodeId, RecallId, RequestId, SessionId, Term};
use crate::wire::Answer;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::RangeInclusive;
use std::time::Duration;

/// Answers kept for retries, per session.
const REPLIES: usize = 64;

/// What a session has of one inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Open {
    /// Times it is open, above 0.
    pub(crate) count: u32,
    /// One of these opens was for writing.
    pub(crate) writable: bool,
}

/// A recall, or the part of one, that is over.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    /// Extents that the session gave up.
    pub(crate) revoke: Vec<Extent>,
    /// Of these, the ones that nobody holds any more.
    pub(crate) clean: Vec<Extent>,
}

#[derive(Debug)]
struct Session {
    expires: Duration,
    ended: bool,
    replies: VecDeque<(RequestId, Answer)>,
}

#[derive(Debug)]
struct Recall {
    ino: InodeId,
    extents: Vec<Extent>,
    waiting: BTreeSet<SessionId>,
}

/// All sessions of a pool.
#[derive(Debug)]
pub(crate) struct Sessions {
    lease: Duration,
    next: u64,
    next_recall: u64,
    all: BTreeMap<SessionId, Session>,
    opens: BTreeMap<(InodeId, SessionId), Open>,
    opened_by: BTreeSet<(SessionId, InodeId)>,
    /// What fenced sessions had open, or somebody may be about to open, and until when it is kept for them.
    kept: BTreeMap<(InodeId, SessionId), Duration>,
    recalls: BTreeMap<RecallId, Recall>,
}

impl Sessions {
    /// No sessions. Ids carry the term in their upper half, so that none comes twice in the life of a pool.
    pub(crate) fn new(term: Term, lease: Duration) -> Self {
        Self {
            lease,
            next: (term.0 << 32) + 1,
            next_recall: 1,
            all: BTreeMap::new(),
            opens: BTreeMap::new(),
            opened_by: BTreeSet::new(),
            kept: BTreeMap::new(),
            recalls: BTreeMap::new(),
        }
    }

    pub(crate) fn begin(&mut self, now: Duration) -> SessionId {
        let id = SessionId(self.next);
        self.next += 1;
        let session = Session {
            expires: now + self.lease,
            ended: false,
            replies: VecDeque::new(),
        };
        self.all.insert(id, session);
        id
    }

    /// A sign of life: every call renews the lease.
    pub(crate) fn renew(&mut self, id: SessionId, now: Duration) -> Result<(), MetaError> {
        let session = self.all.get_mut(&id).filter(|session| !session.ended);
        session.ok_or(MetaError::SessionEnded)?.expires = now + self.lease;
        Ok(())
    }

    /// Ends the leases that ran out. What these sessions hold stays held until they are fenced.
    pub(crate) fn expire(&mut self, now: Duration) -> Vec<SessionId> {
        let late = self
            .all
            .iter_mut()
            .filter(|(_, session)| !session.ended && session.expires < now);
        late.map(|(id, session)| {
            session.ended = true;
            *id
        })
        .collect()
    }

    /// Removes a fenced session, its opens and its debts. What it had open is kept for a lease more, unless its lease had run
    /// out. Gives the inodes that it had open, and what its recalls set free.
    pub(crate) fn remove(&mut self, id: SessionId, now: Duration) -> (Vec<InodeId>, Acknowledged) {
        let may_come_back = self.all.remove(&id).is_some_and(|session| !session.ended);
        let inodes: Vec<InodeId> = self.opened(id).collect();
        for ino in &inodes {
            self.forget(id, *ino);
            if may_come_back {
                self.kept.insert((*ino, id), now + self.lease);
            }
        }
        (inodes, self.acknowledge_where(id, |_| true))
    }

    pub(crate) fn cached(&self, id: SessionId, request: RequestId) -> Option<&Answer> {
        let replies = &self.all.get(&id)?.replies;
        replies
            .iter()
            .find(|(known, _)| *known == request)
            .map(|(_, answer)| answer)
    }

    pub(crate) fn remember(&mut self, id: SessionId, request: RequestId, answer: Answer) {
        if let Some(session) = self.all.get_mut(&id) {
            if session.replies.len() == REPLIES {
                session.replies.pop_front();
            }
            session.replies.push_back((request, answer));
        }
    }

    pub(crate) fn open(&mut self, id: SessionId, ino: InodeId, opens: u32, writable: bool) {
        let none = Open {
            count: 0,
            writable: false,
        };
        let open = self.opens.entry((ino, id)).or_insert(none);
        open.count = open.count.saturating_add(opens);
        open.writable |= writable;
        self.opened_by.insert((id, ino));
    }

    /// What the session has of an inode that it must have open.
    pub(crate) fn held(&self, id: SessionId, ino: InodeId) -> Result<Open, MetaError> {
        self.opens.get(&(ino, id)).copied().ok_or(MetaError::Stale)
    }

    /// Takes `opens` back; `Some` when that was the last one of the session.
    pub(crate) fn close(&mut self, id: SessionId, ino: InodeId, opens: u32) -> Option<Open> {
        let open = self.opens.get_mut(&(ino, id))?;
        open.count = open.count.saturating_sub(opens);
        if open.count > 0 {
            return None;
        }
        self.forget(id, ino)
    }

    /// Drops all opens of one inode by one session.
    pub(crate) fn forget(&mut self, id: SessionId, ino: InodeId) -> Option<Open> {
        self.opened_by.remove(&(id, ino));
        self.opens.remove(&(ino, id))
    }

    /// The sessions that have the inode open.
    pub(crate) fn holders(&self, ino: InodeId) -> impl Iterator<Item = SessionId> {
        self.opens.range(all_of(ino)).map(|((_, id), _)| *id)
    }

    /// True while any session has it open, or may come back to it.
    pub(crate) fn is_held(&self, ino: InodeId) -> bool {
        self.kept.range(all_of(ino)).next().is_some() || self.holders(ino).next().is_some()
    }

    /// True when everything of the inode is as the session left it, which has been fenced since.
    pub(crate) fn keeps(&self, ino: InodeId, before: SessionId) -> bool {
        self.kept.contains_key(&(ino, before))
    }

    /// Keeps an inode for whoever may have found it just now, until then.
    pub(crate) fn keep(&mut self, ino: InodeId, until: Duration) {
        self.kept.insert((ino, ANYBODY), until);
    }

    /// Gives up what is kept for nobody in particular.
    pub(crate) fn let_go_of_kept(&mut self) -> Vec<InodeId> {
        let unclaimed = self.kept.extract_if(.., |(_, id), _| *id == ANYBODY);
        unclaimed.map(|((ino, _), _)| ino).collect()
    }

    /// Inodes that are kept no more for sessions that did not come back.
    pub(crate) fn let_go(&mut self, now: Duration) -> Vec<InodeId> {
        let due = self.kept.extract_if(.., |_, until| *until < now);
        due.map(|((ino, _), _)| ino).collect()
    }

    /// Begins a recall of extents from all holders of the inode; `None`, and the extents are free to be cleaned, when
    /// there are none.
    pub(crate) fn recall(&mut self, ino: InodeId, extents: &[Extent]) -> Option<(RecallId, Vec<SessionId>)> {
        let waiting: BTreeSet<SessionId> = self.holders(ino).collect();
        if waiting.is_empty() {
            return None;
        }
        let id = RecallId(self.next_recall);
        self.next_recall += 1;
        let asked = waiting.iter().copied().collect();
        let extents = extents.to_vec();
        self.recalls.insert(
            id,
            Recall {
                ino,
                extents,
                waiting,
            },
        );
        Some((id, asked))
    }

    /// A session has nothing in flight on a recalled layout. Unknown rounds and repeats change nothing.
    pub(crate) fn acknowledge(&mut self, id: SessionId, round: RecallId) -> Acknowledged {
        let Some(recall) = self.recalls.get_mut(&round) else {
            return Acknowledged::default();
        };
        if !recall.waiting.remove(&id) {
            return Acknowledged::default();
        }
        let revoke = recall.extents.clone();
        if !recall.waiting.is_empty() {
            return Acknowledged {
                revoke,
                clean: Vec::new(),
            };
        }
        let clean = self
            .recalls
            .remove(&round)
            .map(|recall| recall.extents)
            .unwrap_or_default();
        Acknowledged { revoke, clean }
    }

    /// A session closed an inode for good: it acknowledges what is recalled of it.
    pub(crate) fn acknowledge_inode(&mut self, id: SessionId, ino: InodeId) -> Acknowledged {
        self.acknowledge_where(id, |recall| recall.ino == ino)
    }

    /// Extents whose recall is not over.
    pub(crate) fn recalled(&self) -> impl Iterator<Item = &Extent> {
        self.recalls.values().flat_map(|recall| &recall.extents)
    }

    /// Inodes that any session has open, or may come back to.
    pub(crate) fn open_inodes(&self) -> impl Iterator<Item = InodeId> {
        self.opens
            .keys()
            .map(|(ino, _)| *ino)
            .chain(self.kept.keys().map(|(ino, _)| *ino))
    }

    fn opened(&self, id: SessionId) -> impl Iterator<Item = InodeId> {
        let range = (id, InodeId(0))..=(id, InodeId(u64::MAX));
        self.opened_by.range(range).map(|(_, ino)| *ino)
    }

    fn acknowledge_where(&mut self, id: SessionId, which: impl Fn(&Recall) -> bool) -> Acknowledged {
        let owed = self
            .recalls
            .iter()
            .filter(|(_, recall)| which(recall) && recall.waiting.contains(&id));
        let owed: Vec<RecallId> = owed.map(|(round, _)| *round).collect();
        let mut all = Acknowledged::default();
        for round in owed {
            let part = self.acknowledge(id, round);
            all.revoke.extend(part.revoke);
            all.clean.extend(part.clean);
        }
        all
    }
}

/// No session has this id.
const ANYBODY: SessionId = SessionId(0);

/// Keys of one inode, with any session.
fn all_of(ino: InodeId) -> RangeInclusive<(InodeId, SessionId)> {
    (ino, ANYBODY)..=(ino, SessionId(u64::MAX))
}
