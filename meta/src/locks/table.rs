//! All locks of a pool.

use super::file::{File, Holder, Waiter};
use crate::error::{Inconsistency, MetaError};
use crate::id::{InodeId, LockOwner, LockTicket, SessionId};
use crate::lock::{Lock, LockKind, LockState, Span};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Locks of one session: about 8 MiB of memory.
const SESSION_LOCKS: usize = 1 << 16;
/// Locks of one file: it bounds the time of a call.
const FILE_LOCKS: usize = 1 << 13;
/// Waiters of one session, and of one file.
const WAITERS: (usize, usize) = (1 << 13, 1 << 11);

/// Who got what they waited for.
pub(crate) type Grants = Vec<(SessionId, LockTicket)>;

/// Somebody asks for a lock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) session: SessionId,
    pub(crate) ino: InodeId,
    pub(crate) ticket: LockTicket,
    pub(crate) lock: Lock,
    pub(crate) wait: bool,
}

/// All locks and waiters. Time is an argument where somebody may come or go; what it lets in comes back as [`Grants`].
#[derive(Debug, Default)]
pub(crate) struct Locks {
    files: BTreeMap<InodeId, File>,
    /// Files in which a session has locks or waits.
    used: BTreeSet<(SessionId, InodeId)>,
    held: BTreeMap<SessionId, usize>,
    waiting: BTreeMap<(SessionId, LockTicket), InodeId>,
    /// Waits of processes that can be told apart.
    waits: BTreeSet<(SessionId, u64, LockTicket)>,
    /// Of the last call or tick.
    now: Duration,
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
            session,
            ino,
            ticket,
            lock,
            wait,
        } = asked;
        self.now = self.now.max(now);
        if let Some(waits) = self.waiting.get(&(session, ticket)) {
            return if *waits == ino {
                Ok(LockState::Waiting)
            } else {
                Err(MetaError::Invalid)
            };
        }
        let holder = (session, lock.owner);
        let file = self.files.entry(ino).or_default();
        let owned = file.owners.get_mut(&holder);
        if let Some(owned) = owned {
            if owned.last.is_some_and(|(last, _)| last == ticket) {
                return Ok(LockState::Held);
            }
            owned.last = None;
        }
        self.used.insert((session, ino));
        let before = self.count(ino, session);
        let state = self.decide(asked, holder);
        if state == Ok(LockState::Held)
            && let Some(file) = self.files.get_mut(&ino)
        {
            file.set(session, ticket, lock);
        }
        if state == Ok(LockState::Waiting) {
            self.enqueue(asked);
        }
        debug_assert!(wait || state != Ok(LockState::Waiting));
        self.recount(ino, session, before);
        self.pass_on(ino, grants);
        state
    }

    fn decide(&mut self, asked: &Asked, holder: Holder) -> Result<LockState, MetaError> {
        let Asked {
            session, ino, lock, ..
        } = asked;
        let locks = self.held.get(session).copied().unwrap_or(0);
        let Some(file) = self.files.get_mut(ino) else {
            return Err(MetaError::Invalid);
        };
        if locks + 2 > SESSION_LOCKS || file.len() + 2 > FILE_LOCKS {
            return Err(MetaError::TooManyLocks);
        }
        file.prepare_flock(holder, lock);
        let taken = file.in_the_way(holder, lock).next().is_some();
        let held_back = asked.wait && file.is_held_back(holder, lock, file.queue.len());
        match asked.wait {
            _ if !taken && !held_back => return Ok(LockState::Held),
            false => return Err(MetaError::Locked),
            true => {}
        }
        let waits = self.waiting.range(all_of(*session)).count();
        if waits >= WAITERS.0 || file.queue.len() >= WAITERS.1 {
            return Err(MetaError::TooManyLocks);
        }
        if self.is_deadlock(*ino, holder, lock) {
            return Err(MetaError::Deadlock);
        }
        Ok(LockState::Waiting)
    }

    /// Gives locks of an owner back.
    ///
    /// # Errors
    /// [`MetaError::TooManyLocks`] when that would make one more.
    pub(crate) fn unlock(
        &mut self,
        (session, ino): (SessionId, InodeId),
        owner: LockOwner,
        (span, kind): (Span, LockKind),
        grants: &mut Grants,
    ) -> Result<(), MetaError> {
        let locks = self.held.get(&session).copied().unwrap_or(0);
        let before = self.count(ino, session);
        let Some(file) = self.files.get_mut(&ino) else {
            return Ok(());
        };
        let full = locks >= SESSION_LOCKS || file.len() >= FILE_LOCKS;
        let Some(owned) = file.owners.get_mut(&(session, owner)) else {
            return Ok(());
        };
        owned.last = None;
        if full && owned.splits(span, kind) {
            return Err(MetaError::TooManyLocks);
        }
        owned.cut(span, kind);
        file.drop_if_empty((session, owner));
        self.recount(ino, session, before);
        self.pass_on(ino, grants);
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
        if let Some(ino) = self.waiting.get(&(session, ticket)).copied() {
            self.dequeue(ino, |waiter| (waiter.session, waiter.ticket) == (session, ticket));
            self.pass_on(ino, grants);
            return LockState::Free;
        }
        let Some((ino, lock)) = self.granted(session, ticket) else {
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
    pub(crate) fn conflict(&self, session: SessionId, ino: InodeId, lock: &Lock) -> Option<Lock> {
        let file = self.files.get(&ino)?;
        let in_the_way = file.in_the_way((session, lock.owner), lock);
        let ((holder, _), held) = in_the_way.min_by_key(|(_, held)| held.span.start())?;
        let process = if holder == session { held.process } else { 0 };
        Some(Lock { process, ..*held })
    }

    /// The session has closed the inode: its locks and waits there end.
    pub(crate) fn leave(&mut self, session: SessionId, ino: InodeId, grants: &mut Grants) {
        if !self.used.contains(&(session, ino)) {
            return;
        }
        let before = self.count(ino, session);
        self.dequeue(ino, |waiter| waiter.session == session);
        if let Some(file) = self.files.get_mut(&ino) {
            file.owners.retain(|(of, _), _| *of != session);
        }
        self.recount(ino, session, before);
        self.pass_on(ino, grants);
    }

    /// The session is over.
    pub(crate) fn end(&mut self, session: SessionId, grants: &mut Grants) {
        let range = (session, InodeId(0))..=(session, InodeId(u64::MAX));
        let inodes: Vec<InodeId> = self.used.range(range).map(|(_, ino)| *ino).collect();
        for ino in inodes {
            self.leave(session, ino, grants);
        }
    }

    /// Time passes: whoever was held back long enough is let in.
    pub(crate) fn tick(&mut self, now: Duration, grants: &mut Grants) {
        self.now = self.now.max(now);
        let queues: BTreeSet<InodeId> = self.waiting.values().copied().collect();
        for ino in queues {
            self.pass_on(ino, grants);
        }
    }

    /// All locks that are held, and all waits with their times, inode by inode.
    pub(crate) fn all(&self) -> impl Iterator<Item = (InodeId, SessionId, Lock, Option<Duration>)> {
        self.files.iter().flat_map(|(ino, file)| {
            let held = file
                .owners
                .iter()
                .flat_map(|((session, _), owned)| owned.iter().map(|lock| (*ino, *session, *lock, None)));
            let waits = file.queue.iter().map(|waiter| {
                let waited = self.now.saturating_sub(waiter.since);
                (*ino, waiter.session, waiter.lock, Some(waited))
            });
            held.chain(waits)
        })
    }

    pub(super) fn file(&self, ino: InodeId) -> Option<&File> {
        self.files.get(&ino)
    }

    /// What a process waits for.
    pub(super) fn waits_of(
        &self,
        (session, process): (SessionId, u64),
    ) -> impl Iterator<Item = (InodeId, LockTicket)> {
        let range = (session, process, LockTicket(0))..=(session, process, LockTicket(u64::MAX));
        let tickets = self.waits.range(range).map(|(_, _, ticket)| *ticket);
        tickets.filter_map(move |ticket| Some((*self.waiting.get(&(session, ticket))?, ticket)))
    }

    /// Who got the lock under this ticket last.
    fn granted(&self, session: SessionId, ticket: LockTicket) -> Option<(InodeId, Lock)> {
        let range = (session, InodeId(0))..=(session, InodeId(u64::MAX));
        self.used.range(range).find_map(|(_, ino)| {
            let owners = &self.files.get(ino)?.owners;
            let of_session = owners.range((session, LockOwner(0))..=(session, LockOwner(u64::MAX)));
            let mut granted = of_session.filter_map(|(_, owned)| owned.last);
            let (_, lock) = granted.find(|(last, _)| *last == ticket)?;
            Some((*ino, lock))
        })
    }

    fn enqueue(&mut self, asked: &Asked) {
        let &Asked {
            session,
            ino,
            ticket,
            lock,
            ..
        } = asked;
        let since = self.now;
        if let Some(file) = self.files.get_mut(&ino) {
            file.queue.push(Waiter {
                session,
                ticket,
                lock,
                since,
            });
            self.waiting.insert((session, ticket), ino);
            if lock.kind == LockKind::Posix {
                self.waits.insert((session, lock.process, ticket));
            }
        }
    }

    /// Takes waiters out of the queue.
    fn dequeue(&mut self, ino: InodeId, which: impl Fn(&Waiter) -> bool) {
        if let Some(file) = self.files.get_mut(&ino) {
            let gone: Vec<Waiter> = file.queue.extract_if(.., |waiter| which(waiter)).collect();
            gone.iter().for_each(|waiter| self.forget_wait(waiter));
        }
    }

    fn forget_wait(&mut self, waiter: &Waiter) {
        let Waiter {
            session,
            ticket,
            lock,
            ..
        } = *waiter;
        self.waiting.remove(&(session, ticket));
        self.waits.remove(&(session, lock.process, ticket));
    }

    /// Lets those in whose turn it is, and forgets a file that nobody uses.
    fn pass_on(&mut self, ino: InodeId, grants: &mut Grants) {
        let now = self.now;
        let Some(file) = self.files.get(&ino) else { return };
        let waiting: BTreeSet<SessionId> = file.queue.iter().map(|waiter| waiter.session).collect();
        let before: Vec<_> = waiting.iter().map(|session| self.count(ino, *session)).collect();
        let Some(file) = self.files.get_mut(&ino) else {
            return;
        };
        let granted = file.grant(now);
        for waiter in &granted {
            self.forget_wait(waiter);
        }
        grants.extend(granted.iter().map(|waiter| (waiter.session, waiter.ticket)));
        for (session, before) in waiting.into_iter().zip(before) {
            self.recount(ino, session, before);
        }
        if self.files.get(&ino).is_some_and(File::is_idle) {
            self.files.remove(&ino);
        }
    }

    /// Locks of a session in a file.
    fn count(&self, ino: InodeId, session: SessionId) -> usize {
        let owners = |file: &File| -> usize {
            let of_session = (session, LockOwner(0))..=(session, LockOwner(u64::MAX));
            file.owners.range(of_session).map(|(_, owned)| owned.len()).sum()
        };
        self.files.get(&ino).map_or(0, owners)
    }

    /// After a change of a file, in which the session had `before` locks.
    fn recount(&mut self, ino: InodeId, session: SessionId, before: usize) {
        let after = self.count(ino, session);
        let held = self.held.entry(session).or_default();
        *held = (*held + after).saturating_sub(before);
        if *held == 0 {
            self.held.remove(&session);
        }
        let waits = |file: &File| file.queue.iter().any(|waiter| waiter.session == session);
        if after == 0 && !self.files.get(&ino).is_some_and(waits) {
            self.used.remove(&(session, ino));
        }
    }

    /// Checks what must be true between two calls; `is_open` says what sessions have open.
    ///
    /// # Errors
    /// The first that is not.
    pub(crate) fn check(&self, is_open: impl Fn(SessionId, InodeId) -> bool) -> Result<(), Inconsistency> {
        let wrong = |line: String| Err(Inconsistency(line));
        let mut held: BTreeMap<SessionId, usize> = BTreeMap::new();
        let mut queued = 0;
        for (ino, file) in &self.files {
            if file.is_idle() {
                return wrong(format!("inode {ino} has a lock table and no locks"));
            }
            for (holder, owned) in &file.owners {
                *held.entry(holder.0).or_default() += owned.len();
                if !is_open(holder.0, *ino) || owned.is_empty() {
                    return wrong(format!(
                        "inode {ino}: {holder:?} has locks of what it has not open, or none"
                    ));
                }
                let conflict = |lock| file.in_the_way(*holder, lock).next().map(|other| (lock, other));
                if let Some((lock, other)) = owned.iter().find_map(conflict) {
                    return wrong(format!(
                        "inode {ino} has two holders: {holder:?} {lock:?} and {other:?}"
                    ));
                }
            }
            for waiter in &file.queue {
                queued += 1;
                let known = self.waiting.get(&(waiter.session, waiter.ticket)) == Some(ino);
                if !known || !is_open(waiter.session, *ino) {
                    return wrong(format!("inode {ino}: nobody knows of {waiter:?}"));
                }
            }
        }
        if held != self.held || queued != self.waiting.len() {
            return wrong("locks or waiters are miscounted".into());
        }
        Ok(())
    }
}

fn all_of(session: SessionId) -> std::ops::RangeInclusive<(SessionId, LockTicket)> {
    (session, LockTicket(0))..=(session, LockTicket(u64::MAX))
}
