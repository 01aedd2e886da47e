//! Sessions: their leases, what they hold, and the recalls they owe.
//!
//! A session that has an inode open may hold its layout and have operations in flight on it, so every open counts as a
//! held layout. A recall is over when each session that had the inode open when it began acknowledged it, closed the
//! inode, or was fenced; the end of a lease alone ends nothing but the session's right to ask.
//!
//! A session outlives its connections. When one breaks, all work of it has been fenced, so the session owes no recall; but it goes on
//! holding what it had open for as long as its lease runs (from its last call, not from the break), and its answers are kept. A handler that comes back in time, known by its
//! client owner, goes on as if nothing had happened: what its programs wrote and did not sync is there, and a call whose answer was lost is
//! answered again and not done again.

use crate::error::MetaError;
use crate::extent::Extent;
use crate::id::{ClientOwner, InodeId, RecallId, RequestId, SessionId, Term};
use crate::wire::{Answer, MAX_STAGED};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::RangeInclusive;
use std::time::Duration;

/// Answers kept for retries, per session: more than a handler has calls under way.
const REPLIES: usize = 256;

/// What a session has of one inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Open {
    /// Times it is open, above 0.
    pub(crate) count: u32,
    /// One of these opens was for writing.
    pub(crate) writable: bool,
    /// One of them was to run it as a program.
    pub(crate) runs: bool,
    /// And it gave rights to who ran it.
    pub(crate) ran_with_rights: bool,
}

/// A recall, or the part of one, that is over.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    /// Extents that the session gave up.
    pub(crate) revoke: Vec<Extent>,
    /// Of these, the ones that nobody holds any more.
    pub(crate) clean: Vec<Extent>,
}

/// What a step of time brought.
#[derive(Debug, Default)]
pub(crate) struct Expired {
    /// Their leases ran out while connected: to be fenced.
    pub(crate) disconnect: Vec<SessionId>,
    /// Nobody came back to them in time, or they were kept for nobody any more: they may be closed for good.
    pub(crate) let_go: Vec<InodeId>,
    /// Sessions that are over.
    pub(crate) ended: Vec<SessionId>,
}

/// How a session is with its handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// A connection speaks for it.
    Connected,
    /// Its connection is gone, with all work of it; the handler may come back until the lease runs out.
    Broken,
    /// Its lease ran out and its connection is still to be fenced.
    Ended,
}

#[derive(Debug)]
struct Session {
    client_owner: ClientOwner,
    standing: Standing,
    expires: Duration,
    replies: VecDeque<(RequestId, Answer)>,
    /// First parts of values, at most [`MAX_STAGED`].
    staged: VecDeque<(u64, Vec<u8>)>,
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
    /// What somebody may have found by its name just now and be about to open, and until when it is kept for them.
    kept: BTreeMap<InodeId, Duration>,
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

    /// The session of this client owner goes on over a new connection, or a new one begins.
    ///
    /// # Errors
    /// The session whose earlier connection must be fenced first.
    pub(crate) fn begin(&mut self, client_owner: ClientOwner, now: Duration) -> Result<SessionId, SessionId> {
        let expires = now + self.lease;
        let known = self
            .all
            .iter_mut()
            .find(|(_, session)| session.client_owner == client_owner);
        match known {
            Some((id, session)) if session.standing == Standing::Broken => {
                session.standing = Standing::Connected;
                session.expires = expires;
                return Ok(*id);
            }
            Some((id, _)) => return Err(*id),
            None => {}
        }
        let id = SessionId(self.next);
        self.next += 1;
        let session = Session {
            client_owner,
            standing: Standing::Connected,
            expires,
            replies: VecDeque::new(),
            staged: VecDeque::new(),
        };
        self.all.insert(id, session);
        Ok(id)
    }

    /// A sign of life: every call renews the lease.
    pub(crate) fn renew(&mut self, id: SessionId, now: Duration) -> Result<(), MetaError> {
        let connected = |session: &&mut Session| session.standing == Standing::Connected;
        let session = self.all.get_mut(&id).filter(connected);
        session.ok_or(MetaError::SessionEnded)?.expires = now + self.lease;
        Ok(())
    }

    /// How often [`Sessions::expire`] is to be called at least.
    pub(crate) fn tick(&self) -> Duration {
        self.lease / 40
    }

    /// Ends the leases that run out before the next two ticks: what a session held is free within its lease, also when a tick is late. What
    /// a connected session holds stays held until it is fenced.
    pub(crate) fn expire(&mut self, now: Duration) -> Expired {
        let mut expired = Expired::default();
        let mut given_up = Vec::new();
        let next = now + self.tick() * 2;
        let late = self.all.iter_mut().filter(|(_, session)| session.expires < next);
        for (id, session) in late {
            match session.standing {
                Standing::Connected => {
                    session.standing = Standing::Ended;
                    expired.disconnect.push(*id);
                }
                Standing::Broken => given_up.push(*id),
                Standing::Ended => {}
            }
        }
        for id in given_up {
            expired.let_go.extend(self.remove(id));
            expired.ended.push(id);
        }
        let due = self.kept.extract_if(.., |_, until| *until < now);
        expired.let_go.extend(due.map(|(ino, _)| ino));
        expired
    }

    /// The connection of a session is gone, and no work of it runs or will run. Gives what its recalls set free, and, when its
    /// lease had run out before, the inodes that it had open.
    pub(crate) fn fenced(&mut self, id: SessionId) -> (Vec<InodeId>, Acknowledged) {
        let acknowledged = self.acknowledge_where(id, |_| true);
        let Some(session) = self.all.get_mut(&id) else {
            return (Vec::new(), acknowledged);
        };
        if session.standing == Standing::Ended {
            return (self.remove(id), acknowledged);
        }
        session.standing = Standing::Broken;
        (Vec::new(), acknowledged)
    }

    /// Whether the session exists and is not over.
    pub(crate) fn exists(&self, id: SessionId) -> bool {
        self.all.contains_key(&id)
    }

    /// Whose session it is.
    pub(crate) fn owner(&self, id: SessionId) -> Result<ClientOwner, MetaError> {
        let session = self.all.get(&id).ok_or(MetaError::SessionEnded)?;
        Ok(session.client_owner)
    }

    /// The session has not been heard of since its connection broke.
    fn is_broken(&self, id: SessionId) -> bool {
        let session = self.all.get(&id);
        session.is_some_and(|session| session.standing == Standing::Broken)
    }

    fn remove(&mut self, id: SessionId) -> Vec<InodeId> {
        self.all.remove(&id);
        let inodes: Vec<InodeId> = self.opened(id).collect();
        for ino in &inodes {
            self.forget(id, *ino);
        }
        inodes
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

    /// The answer that was kept was not the one that was sent; does nothing where none is kept.
    pub(crate) fn correct(&mut self, id: SessionId, request: RequestId, answer: Answer) {
        let session = self.all.get_mut(&id);
        let mut replies = session.into_iter().flat_map(|session| &mut session.replies);
        if let Some((_, kept)) = replies.find(|(known, _)| *known == request) {
            *kept = answer;
        }
    }

    /// Keeps the first part of a value; the oldest one goes for it.
    pub(crate) fn stage(&mut self, id: SessionId, token: u64, part: Vec<u8>) {
        if let Some(session) = self.all.get_mut(&id) {
            session.staged.retain(|(known, _)| *known != token);
            if session.staged.len() == MAX_STAGED {
                session.staged.pop_front();
            }
            session.staged.push_back((token, part));
        }
    }

    /// Takes one that was kept.
    pub(crate) fn take_staged(&mut self, id: SessionId, token: u64) -> Option<Vec<u8>> {
        let staged = &mut self.all.get_mut(&id)?.staged;
        let at = staged.iter().position(|(known, _)| *known == token)?;
        staged.remove(at).map(|(_, part)| part)
    }

    /// Counts what the session opened, so often and so.
    pub(crate) fn open(&mut self, id: SessionId, ino: InodeId, more: Open) {
        let none = Open {
            count: 0,
            writable: false,
            runs: false,
            ran_with_rights: false,
        };
        let open = self.opens.entry((ino, id)).or_insert(none);
        open.count = open.count.saturating_add(more.count);
        open.writable |= more.writable;
        open.runs |= more.runs;
        open.ran_with_rights |= more.ran_with_rights;
        self.opened_by.insert((id, ino));
    }

    /// What sessions other than `id` have of the inode.
    pub(crate) fn held_by_others(&self, id: SessionId, ino: InodeId) -> impl Iterator<Item = Open> {
        let opens = self.opens.range(all_of(ino));
        opens.filter(move |((_, by), _)| *by != id).map(|(_, open)| *open)
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

    /// True while any session has it open, or somebody may be about to open it.
    pub(crate) fn is_held(&self, ino: InodeId) -> bool {
        self.kept.contains_key(&ino) || self.holders(ino).next().is_some()
    }

    /// Keeps an inode for whoever may have found it just now, until then.
    pub(crate) fn keep(&mut self, ino: InodeId, until: Duration) {
        self.kept.insert(ino, until);
    }

    /// Gives up what is kept just in case.
    pub(crate) fn let_go_of_kept(&mut self) -> Vec<InodeId> {
        std::mem::take(&mut self.kept).into_keys().collect()
    }

    /// Begins a recall of extents from all holders of the inode that are connected, or not fenced yet; `None`, and the extents are
    /// free to be cleaned, when there are none.
    pub(crate) fn recall(&mut self, ino: InodeId, extents: &[Extent]) -> Option<(RecallId, Vec<SessionId>)> {
        let holders = self.holders(ino);
        let waiting: BTreeSet<SessionId> = holders.filter(|id| !self.is_broken(*id)).collect();
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

    /// Inodes that any session has open, or somebody may be about to open.
    pub(crate) fn open_inodes(&self) -> impl Iterator<Item = InodeId> {
        let opens = self.opens.keys().map(|(ino, _)| *ino);
        opens.chain(self.kept.keys().copied())
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

/// Keys of one inode, with any session.
fn all_of(ino: InodeId) -> RangeInclusive<(InodeId, SessionId)> {
    (ino, SessionId(0))..=(ino, SessionId(u64::MAX))
}
