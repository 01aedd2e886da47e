//! Leases for attributes and names: which session believes what of which inode, and who is asked to forget it.
//!
//! A lease is of one inode and one session: it covers the inode's attributes, extended ones too, and, of a directory, all its names, absent ones too. It is given
//! with each answer that tells of the inode, and ends when the session acknowledges a recall, gives all leases up, or its session is over.
//! What another session wants to change is recalled first; until the last holder has acknowledged, nobody gets a new lease of that inode.
//!
//! A session's leases are kept under a [`Holder`], a number that it gets anew each time it begins to take leases, so that those of before need
//! not be sought out one by one: a holder that is gone holds nothing.

use crate::id::{InodeId, RecallId, SessionId};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::time::Duration;

/// Most leases of a pool: some 40 bytes each. For one more, one that was not used lately is recalled.
pub(crate) const MOST_LEASES: usize = 1 << 20;

/// The wait for those who had leases before the service started: a recall that nobody is asked for.
pub(crate) const GRACE_PERIOD: RecallId = RecallId(0);

/// Leases that are looked at to find one to give up.
const LOOKS: usize = 64;

/// A session from the time on at which it began to take leases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Holder(u64);

/// A call that waits until recalls are over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DelayedId(pub u64);

/// A session that is asked to forget what it believes of an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) session: SessionId,
    pub(crate) recall: RecallId,
    pub(crate) ino: InodeId,
}

#[derive(Debug)]
struct Recall {
    ino: InodeId,
    /// Who was asked, and when.
    waiting: BTreeMap<SessionId, Duration>,
}

/// All leases of a pool.
#[derive(Debug)]
pub(crate) struct Leases {
    most: usize,
    /// True: it was given or used since the hand went past it.
    held: BTreeMap<(InodeId, Holder), bool>,
    holders: BTreeMap<SessionId, Holder>,
    sessions: BTreeMap<Holder, SessionId>,
    next_holder: u64,
    /// Behind the lease that was looked at last.
    hand: (InodeId, Holder),
    recalls: BTreeMap<RecallId, Recall>,
    recalled: BTreeMap<InodeId, RecallId>,
    next_recall: u64,
    /// Of which nobody gets a lease because bytes are moved for them.
    moving: BTreeMap<InodeId, u32>,
    delayed: BTreeMap<DelayedId, BTreeSet<RecallId>>,
    next_delayed: u64,
    /// The time of the last tick.
    latest: Duration,
}

impl Leases {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            held: BTreeMap::new(),
            holders: BTreeMap::new(),
            sessions: BTreeMap::new(),
            next_holder: 1,
            hand: (InodeId(0), Holder(0)),
            recalls: BTreeMap::new(),
            recalled: BTreeMap::new(),
            next_recall: 1,
            moving: BTreeMap::new(),
            delayed: BTreeMap::new(),
            next_delayed: 1,
            latest: Duration::ZERO,
        }
    }

    /// How many leases there are, those of holders that are gone among them.
    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    /// The session takes leases from now on, and has forgotten all that it believed before. Gives the calls that waited for it alone.
    pub(crate) fn take(&mut self, session: SessionId) -> Vec<DelayedId> {
        let ready = self.end(session);
        let holder = Holder(self.next_holder);
        self.next_holder += 1;
        self.holders.insert(session, holder);
        self.sessions.insert(holder, session);
        ready
    }

    /// The session believes nothing any more. Gives the calls that waited for it alone.
    pub(crate) fn end(&mut self, session: SessionId) -> Vec<DelayedId> {
        if let Some(holder) = self.holders.remove(&session) {
            self.sessions.remove(&holder);
        }
        let owed = self
            .recalls
            .iter()
            .filter(|(_, recall)| recall.waiting.contains_key(&session));
        let owed: Vec<RecallId> = owed.map(|(id, _)| *id).collect();
        owed.into_iter()
            .flat_map(|recall| self.acknowledge(session, recall))
            .collect()
    }

    /// Nobody takes leases, so nobody believes anything.
    pub(crate) fn are_untaken(&self) -> bool {
        self.holders.is_empty()
    }

    /// More than one session takes leases.
    pub(crate) fn are_shared(&self) -> bool {
        self.holders.len() > 1
    }

    /// Whether the session takes leases.
    pub(crate) fn takes(&self, session: SessionId) -> bool {
        self.holders.contains_key(&session)
    }

    /// The session is told of an inode: false when it must not believe that. `ask` hears of a lease that must be given up for it.
    pub(crate) fn grant(
        &mut self,
        session: SessionId,
        ino: InodeId,
        now: Duration,
        ask: &mut Vec<Ask>,
    ) -> bool {
        let Some(holder) = self.holders.get(&session).copied() else {
            return false;
        };
        if self.recalled.contains_key(&ino) || self.moving.contains_key(&ino) {
            return false;
        }
        if let Some(used) = self.held.get_mut(&(ino, holder)) {
            *used = true;
            return true;
        }
        if self.held.len() >= self.most {
            self.make_room(now, ask);
        }
        if self.held.len() >= self.most {
            return false;
        }
        self.held.insert((ino, holder), true);
        true
    }

    fn drop_lease(&mut self, session: SessionId, ino: InodeId) {
        if let Some(holder) = self.holders.get(&session) {
            self.held.remove(&(ino, *holder));
        }
    }

    /// The sessions that believe something of the inode.
    pub(crate) fn believers(&self, ino: InodeId) -> impl Iterator<Item = SessionId> {
        let range = (ino, Holder(0))..=(ino, Holder(u64::MAX));
        let holders = self.held.range(range).map(|((_, holder), _)| holder);
        holders.filter_map(|holder| self.sessions.get(holder).copied())
    }

    /// `session` changes the inode, or the service by itself: all others who believe something of it are asked to forget it. `None` when nobody does.
    pub(crate) fn recall(
        &mut self,
        ino: InodeId,
        session: Option<SessionId>,
        now: Duration,
        ask: &mut Vec<Ask>,
    ) -> Option<RecallId> {
        let others: BTreeSet<SessionId> = self
            .believers(ino)
            .filter(|other| Some(*other) != session)
            .collect();
        let Some(going_on) = self.recalled.get(&ino).copied() else {
            return self.begin(ino, others, now, ask);
        };
        // Whoever wants the change that it is for was not asked yet.
        for other in others {
            self.recall_from(other, ino, now, ask);
        }
        Some(going_on)
    }

    /// What the session believes of the inode is not so any more, and its answer does not say how it is: it is asked to forget that, and who changes
    /// the inode next waits until it has.
    pub(crate) fn recall_from(
        &mut self,
        session: SessionId,
        ino: InodeId,
        now: Duration,
        ask: &mut Vec<Ask>,
    ) {
        if !self.believers(ino).any(|believer| believer == session) {
            return;
        }
        match self.recalled.get(&ino).copied() {
            None => drop(self.begin(ino, BTreeSet::from([session]), now, ask)),
            Some(recall) => {
                self.drop_lease(session, ino);
                if let Some(going_on) = self.recalls.get_mut(&recall) {
                    going_on.waiting.insert(session, now.max(self.latest));
                }
                ask.push(Ask { session, recall, ino });
            }
        }
    }

    /// A session has forgotten what it was asked to. Gives the calls that waited for nothing else.
    pub(crate) fn acknowledge(&mut self, session: SessionId, id: RecallId) -> Vec<DelayedId> {
        let Some(recall) = self.recalls.get_mut(&id) else {
            return Vec::new();
        };
        recall.waiting.remove(&session);
        if !recall.waiting.is_empty() {
            return Vec::new();
        }
        self.recalled.remove(&recall.ino);
        self.recalls.remove(&id);
        self.is_over(id)
    }

    /// A recall is over. Gives the calls that waited for nothing else.
    pub(crate) fn is_over(&mut self, id: RecallId) -> Vec<DelayedId> {
        for waits_for in self.delayed.values_mut() {
            waits_for.remove(&id);
        }
        let ready = self.delayed.extract_if(.., |_, waits_for| waits_for.is_empty());
        ready.map(|(id, _)| id).collect()
    }

    /// A call waits for these recalls.
    pub(crate) fn delay(&mut self, recalls: BTreeSet<RecallId>) -> DelayedId {
        assert!(!recalls.is_empty(), "a call waits for something");
        let id = DelayedId(self.next_delayed);
        self.next_delayed += 1;
        self.delayed.insert(id, recalls);
        id
    }

    /// Calls that wait.
    pub(crate) fn delayed_count(&self) -> usize {
        self.delayed.len()
    }

    /// A call waits no longer.
    pub(crate) fn forget_delayed(&mut self, id: DelayedId) {
        self.delayed.remove(&id);
    }

    /// Bytes are moved for a change of this inode that comes later: until then nobody gets a lease of it.
    pub(crate) fn begin_move(&mut self, ino: InodeId) {
        *self.moving.entry(ino).or_insert(0) += 1;
    }

    /// They were moved, or could not be.
    pub(crate) fn end_move(&mut self, ino: InodeId) {
        if let Some(count) = self.moving.get_mut(&ino) {
            *count -= 1;
            if *count == 0 {
                self.moving.remove(&ino);
            }
        }
    }

    /// So late it is.
    pub(crate) fn ticks(&mut self, now: Duration) {
        self.latest = now;
    }

    /// Sessions that have kept a recall waiting since before `since`.
    pub(crate) fn late(&self, since: Duration) -> BTreeSet<SessionId> {
        let asked = self.recalls.values().flat_map(|recall| &recall.waiting);
        let late = asked.filter(|(_, asked_at)| **asked_at < since);
        late.map(|(session, _)| *session).collect()
    }

    fn begin(
        &mut self,
        ino: InodeId,
        sessions: BTreeSet<SessionId>,
        now: Duration,
        ask: &mut Vec<Ask>,
    ) -> Option<RecallId> {
        if sessions.is_empty() {
            return None;
        }
        let recall = RecallId(self.next_recall);
        self.next_recall += 1;
        for session in sessions.iter().copied() {
            self.drop_lease(session, ino);
            ask.push(Ask { session, recall, ino });
        }
        self.recalled.insert(ino, recall);
        let asked_at = now.max(self.latest);
        let waiting = sessions.into_iter().map(|session| (session, asked_at));
        let waiting = waiting.collect();
        self.recalls.insert(recall, Recall { ino, waiting });
        Some(recall)
    }

    /// Gives up leases of holders that are gone, or recalls one that was not used since it was looked at last.
    fn make_room(&mut self, now: Duration, ask: &mut Vec<Ask>) {
        for _ in 0..LOOKS {
            let next = self.held.range_mut((Excluded(self.hand), Unbounded)).next();
            let Some((&(ino, holder), used)) = next else {
                self.hand = (InodeId(0), Holder(0));
                continue;
            };
            self.hand = (ino, holder);
            match self.sessions.get(&holder).copied() {
                None => {
                    self.held.remove(&(ino, holder));
                }
                Some(_) if std::mem::take(used) => {}
                Some(_) if self.recalled.contains_key(&ino) => {}
                Some(session) => {
                    self.begin(ino, BTreeSet::from([session]), now, ask);
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
