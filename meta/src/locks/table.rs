//! All locks of a pool.

use super::balanced::Steps;
use super::bounds::{Account, Tallies};
use super::file::{File, PATIENCE};
use super::index::{Arrival, Holder, Obstacle};
use super::owned::Held;
use super::queue::Waiter;
use super::unsettled::Unsettled;
use crate::error::MetaError;
use crate::id::{InodeId, LockOwner, LockTicket, SessionId};
use crate::lock::{Lock, LockKind, LockState, Span};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Who got what they waited for.
pub(crate) type Grants = Vec<(SessionId, LockTicket)>;

/// Somebody asks for a lock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) session: SessionId,
    pub(crate) account: Account,
    pub(crate) ino: InodeId,
    pub(crate) ticket: LockTicket,
    pub(crate) lock: Lock,
    pub(crate) wait: bool,
}

/// All locks and waiters. Time is an argument where somebody may come or go; what it lets in comes back as [`Grants`].
///
/// What a call costs is bounded: steps by the logarithm of how many locks there are, one for each lock that it takes away, and some thousand to let
/// others in. Who is not let in by then is with the next calls and ticks.
#[derive(Debug, Default)]
pub(crate) struct Locks {
    pub(super) files: BTreeMap<InodeId, File>,
    /// Files in which a session has locks or waits.
    pub(super) used: BTreeSet<(SessionId, InodeId)>,
    pub(super) tallies: Tallies,
    pub(super) waiting: BTreeMap<(SessionId, LockTicket), (InodeId, Arrival)>,
    /// Waits of processes that can be told apart.
    waits: BTreeSet<(SessionId, u64, LockTicket)>,
    /// What was granted last to an owner who has asked for nothing since.
    pub(super) granted: BTreeMap<(SessionId, LockTicket), (InodeId, LockOwner)>,
    pub(super) unsettled: Unsettled,
    arrivals: Arrival,
    /// Of the last call or tick.
    pub(super) now: Duration,
    /// Of the last call or tick.
    pub(super) steps: Steps,
    /// The last call or tick did.
    pub(super) has_let_in: bool,
}

impl Locks {
    /// Takes a lock, or asks how it stands with it.
    ///
    /// # Errors
    /// [`MetaError::Locked`], [`MetaError::Deadlock`], [`MetaError::TooManyLocks`], [`MetaError::Invalid`] for a ticket that waits
    /// somewhere else.
    pub(crate) fn lock(
        &mut self,
        asked: &Asked,
        now: Duration,
        grants: &mut Grants,
    ) -> Result<LockState, MetaError> {
        let &Asked {
            session, ino, ticket, ..
        } = asked;
        let holder = (session, asked.lock.owner);
        self.begin(now);
        if let Some((waits_in, _)) = self.waiting.get(&(session, ticket)) {
            return match *waits_in == ino {
                true => Ok(LockState::Waiting),
                false => Err(MetaError::Invalid),
            };
        }
        if self.granted.get(&(session, ticket)) == Some(&(ino, holder.1)) {
            return Ok(LockState::Held);
        }
        self.forget_granted(ino, holder);
        self.files.entry(ino).or_default();
        self.used.insert((session, ino));
        let state = self.decide(asked, holder);
        debug_assert!(asked.wait || state != Ok(LockState::Waiting));
        let waiter = Waiter {
            session,
            account: asked.account,
            ticket,
            lock: asked.lock,
            since: self.now,
        };
        match state {
            Ok(LockState::Held) => self.give(ino, &waiter),
            Ok(LockState::Waiting) => self.enqueue(ino, waiter),
            _ => {}
        }
        self.settle(ino, grants);
        self.tidy(session, ino);
        state
    }

    fn decide(&mut self, asked: &Asked, holder: Holder) -> Result<LockState, MetaError> {
        let &Asked {
            account, ino, lock, ..
        } = asked;
        let Some(file) = self.files.get_mut(&ino) else {
            return Err(MetaError::Invalid);
        };
        if let Some(given_up) = file.prepare_flock(&mut self.tallies, holder, &lock) {
            self.unsettled.freed(ino, given_up, 0);
        }
        let obstacle = Obstacle {
            holder,
            lock,
            before: Arrival::MAX,
        };
        let steps = &mut self.steps;
        let taken = file.in_the_way(holder, &lock, steps).is_some();
        let held_back = asked.wait && !taken && file.is_held_back(&obstacle, steps);
        if !taken && !held_back {
            let held = Held { lock, account };
            return match file.has_room(&self.tallies, holder, &held) {
                true => Ok(LockState::Held),
                false => Err(MetaError::TooManyLocks),
            };
        }
        if !asked.wait {
            return Err(MetaError::Locked);
        }
        if !file.has_room_to_wait(&self.tallies, holder, account) {
            return Err(MetaError::TooManyLocks);
        }
        match self.is_deadlock(ino, holder, &lock) {
            true => Err(MetaError::Deadlock),
            false => Ok(LockState::Waiting),
        }
    }

    /// Gives locks of an owner back.
    ///
    /// # Errors
    /// [`MetaError::TooManyLocks`] when that would make one more.
    pub(crate) fn unlock(
        &mut self,
        (session, ino): (SessionId, InodeId),
        owner: LockOwner,
        what: (Span, LockKind),
        grants: &mut Grants,
    ) -> Result<(), MetaError> {
        let holder = (session, owner);
        self.begin(self.now);
        self.forget_granted(ino, holder);
        let Some(file) = self.files.get_mut(&ino) else {
            return Ok(());
        };
        if !file.may_cut(&self.tallies, holder, what) {
            return Err(MetaError::TooManyLocks);
        }
        if let Some(cut) = file.cut(&mut self.tallies, holder, what) {
            self.steps.0 += cut.locks;
            self.unsettled.freed(ino, cut.freed(), 0);
        }
        self.settle(ino, grants);
        self.tidy(session, ino);
        Ok(())
    }

    /// Ends an asking. `give_back`: also when it was granted, unless its owner has asked for something since.
    pub(crate) fn cancel(
        &mut self,
        session: SessionId,
        ticket: LockTicket,
        give_back: bool,
        grants: &mut Grants,
    ) -> LockState {
        self.begin(self.now);
        if let Some((ino, arrival)) = self.waiting.get(&(session, ticket)).copied() {
            self.give_up(ino, arrival);
            self.settle(ino, grants);
            self.tidy(session, ino);
            return LockState::Free;
        }
        let Some((ino, lock)) = self.last_granted(session, ticket) else {
            return LockState::Free;
        };
        if !give_back {
            return LockState::Held;
        }
        // One lock less, or one in its middle that was joined with others: never refused for long.
        match self.unlock((session, ino), lock.owner, (lock.span, lock.kind), grants) {
            Ok(()) => LockState::Free,
            Err(_) => LockState::Held,
        }
    }

    /// The lock that is in the way of this one: the one that starts first.
    pub(crate) fn conflict(&mut self, session: SessionId, ino: InodeId, lock: &Lock) -> Option<Lock> {
        self.begin(self.now);
        let file = self.files.get(&ino)?;
        let (holder, held) = file.in_the_way((session, lock.owner), lock, &mut self.steps)?;
        let process = match holder.0 == session {
            true => held.lock.process,
            false => 0,
        };
        Some(Lock { process, ..held.lock })
    }

    /// The session has closed the inode: its locks and waits there end.
    pub(crate) fn leave(&mut self, session: SessionId, ino: InodeId, grants: &mut Grants) {
        if !self.used.contains(&(session, ino)) {
            return;
        }
        self.begin(self.now);
        self.drop_all(session, ino);
        self.settle(ino, grants);
        self.tidy(session, ino);
    }

    /// All locks that are held, and all waits with their times, inode by inode.
    pub(crate) fn all(&self) -> impl Iterator<Item = (InodeId, SessionId, Lock, Option<Duration>)> {
        self.files.iter().flat_map(|(ino, file)| {
            let held = file.owners.iter().flat_map(|((session, _), owned)| {
                let mut locks: Vec<Lock> = owned.iter().map(|held| held.lock).collect();
                locks.sort_by_key(|lock| lock.span.start());
                locks.into_iter().map(|lock| (*ino, *session, lock, None))
            });
            let waits = file.queue.iter().map(|(_, waiter)| {
                let waited = self.now.saturating_sub(waiter.since);
                (*ino, waiter.session, waiter.lock, Some(waited))
            });
            held.chain(waits)
        })
    }

    /// What a process waits for.
    pub(super) fn waits_of(
        &self,
        (session, process): (SessionId, u64),
    ) -> impl Iterator<Item = (InodeId, Arrival)> {
        let range = (session, process, LockTicket(0))..=(session, process, LockTicket(u64::MAX));
        let tickets = self.waits.range(range).map(|(_, _, ticket)| *ticket);
        tickets.filter_map(move |ticket| self.waiting.get(&(session, ticket)).copied())
    }

    /// The beginning of each call and tick.
    pub(super) fn begin(&mut self, now: Duration) {
        self.now = self.now.max(now);
        self.steps = Steps::default();
        self.has_let_in = false;
    }

    /// Gives somebody the lock.
    pub(super) fn give(&mut self, ino: InodeId, waiter: &Waiter) {
        let &Waiter {
            session,
            account,
            ticket,
            lock,
            ..
        } = waiter;
        let holder = waiter.holder();
        self.forget_granted(ino, holder);
        let Some(file) = self.files.get_mut(&ino) else {
            return;
        };
        let freed = file.set(&mut self.tallies, holder, Held { lock, account });
        if let Some(freed) = freed {
            self.unsettled.freed(ino, freed, 0);
        }
        // Who waits for this lock now does not hold back what else its holder waits for.
        if let Some(first) = file.queue.first_of(holder)
            && file.is_waited_for(holder, &lock, &mut self.steps)
        {
            let all = (Span::WHOLE, LockKind::Unknown);
            self.unsettled.freed(ino, all, first - 1);
        }
        if let Some(owned) = file.owners.get_mut(&holder) {
            owned.last = Some((ticket, lock));
            self.granted.insert((session, ticket), (ino, lock.owner));
        }
        self.used.insert((session, ino));
    }

    fn enqueue(&mut self, ino: InodeId, waiter: Waiter) {
        let Some(file) = self.files.get_mut(&ino) else {
            return;
        };
        self.arrivals += 1;
        let arrival = self.arrivals;
        file.push(&mut self.tallies, arrival, waiter);
        self.waiting
            .insert((waiter.session, waiter.ticket), (ino, arrival));
        self.unsettled
            .is_patient_until(waiter.since + PATIENCE, ino, arrival);
        if waiter.lock.kind == LockKind::Posix {
            let process = waiter.lock.process;
            self.waits.insert((waiter.session, process, waiter.ticket));
        }
    }

    /// Takes somebody out of the queue.
    pub(super) fn dequeue(&mut self, ino: InodeId, arrival: Arrival) -> Option<Waiter> {
        let waiter = self
            .files
            .get_mut(&ino)?
            .take_waiter(&mut self.tallies, arrival)?;
        let &Waiter {
            session,
            ticket,
            lock,
            since,
            ..
        } = &waiter;
        self.waiting.remove(&(session, ticket));
        self.waits.remove(&(session, lock.process, ticket));
        self.unsettled.is_not_patient(since + PATIENCE, ino, arrival);
        Some(waiter)
    }

    /// Somebody waits no longer, and has nothing.
    fn give_up(&mut self, ino: InodeId, arrival: Arrival) {
        if let Some(waiter) = self.dequeue(ino, arrival) {
            let wanted = (waiter.lock.span, waiter.lock.kind);
            self.unsettled.freed(ino, wanted, arrival);
        }
    }

    /// All locks and waits of a session in a file end.
    pub(super) fn drop_all(&mut self, session: SessionId, ino: InodeId) {
        let Some(file) = self.files.get(&ino) else { return };
        let holders: Vec<Holder> = file.owners_of(session).collect();
        let waits: Vec<Arrival> = file.queue.of_session(session).collect();
        self.steps.0 += waits.len();
        for arrival in waits {
            self.give_up(ino, arrival);
        }
        for holder in holders {
            self.forget_granted(ino, holder);
            let Some(file) = self.files.get_mut(&ino) else {
                return;
            };
            let all = (Span::WHOLE, LockKind::Unknown);
            if let Some(cut) = file.cut(&mut self.tallies, holder, all) {
                self.steps.0 += cut.locks;
                self.unsettled.freed(ino, cut.freed(), 0);
            }
        }
    }

    /// Forgets what a session does not use, and a file that nobody uses.
    pub(super) fn tidy(&mut self, session: SessionId, ino: InodeId) {
        let file = self.files.get(&ino);
        if !file.is_some_and(|file| file.is_used_by(session)) {
            self.used.remove(&(session, ino));
        }
        if file.is_some_and(File::is_idle) {
            self.files.remove(&ino);
            self.unsettled.is_gone(ino);
        }
    }

    /// The owner asks for something else, or has nothing more.
    fn forget_granted(&mut self, ino: InodeId, holder: Holder) {
        let owned = self
            .files
            .get_mut(&ino)
            .and_then(|file| file.owners.get_mut(&holder));
        if let Some((ticket, _)) = owned.and_then(|owned| owned.last.take()) {
            self.granted.remove(&(holder.0, ticket));
        }
    }

    /// What was granted under this ticket last.
    fn last_granted(&self, session: SessionId, ticket: LockTicket) -> Option<(InodeId, Lock)> {
        let (ino, owner) = *self.granted.get(&(session, ticket))?;
        let owned = self.files.get(&ino)?.owners.get(&(session, owner))?;
        Some((ino, owned.last?.1))
    }
}
