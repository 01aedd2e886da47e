//! Calls about file locks.

use super::output::Output;
use super::service::Namespace;
use super::step::Step;
use crate::id::{InodeId, LockOwner, LockTicket, SessionId};
use crate::lock::{Lock, LockKind, Span};
use crate::locks::{Account, Asked, Grants};
use crate::time::Now;
use crate::wire::{Answer, Reply};

impl Namespace {
    /// Lets in more of those who wait for locks, after a call whose output says so. Call it as long as its own does.
    pub fn let_in(&mut self, now: Now) -> Output {
        let mut out = self.begin_step();
        let mut grants = Grants::new();
        self.locks.tick(now.monotonic, &mut grants);
        out.notify_granted(grants);
        out.lets_in = self.locks.goes_on();
        self.finish(&mut out);
        out
    }

    pub(super) fn lock(
        &mut self,
        step: &mut Step<'_>,
        ino: InodeId,
        (ticket, wait): (LockTicket, bool),
        lock: Lock,
    ) -> Answer {
        let session = step.session;
        self.sessions.held(session, ino)?;
        let asked = Asked {
            session,
            account: Account::of(session, step.who),
            ino,
            ticket,
            lock,
            wait,
        };
        let mut grants = Grants::new();
        let state = self.locks.lock(&asked, step.now.monotonic, &mut grants);
        step.out.notify_granted(grants);
        Ok(Reply::LockIs(state?))
    }

    pub(super) fn unlock(
        &mut self,
        step: &mut Step<'_>,
        ino: InodeId,
        owner: LockOwner,
        what: (Span, LockKind),
    ) -> Answer {
        let mut grants = Grants::new();
        let unlocked = self.locks.unlock((step.session, ino), owner, what, &mut grants);
        step.out.notify_granted(grants);
        unlocked.map(|()| Reply::Done)
    }

    pub(super) fn cancel_lock(&mut self, step: &mut Step<'_>, ticket: LockTicket, give_back: bool) -> Answer {
        let mut grants = Grants::new();
        let state = self.locks.cancel(step.session, ticket, give_back, &mut grants);
        step.out.notify_granted(grants);
        Ok(Reply::LockIs(state))
    }

    pub(super) fn get_lock(&mut self, step: &mut Step<'_>, ino: InodeId, lock: &Lock) -> Answer {
        self.sessions.held(step.session, ino)?;
        Ok(Reply::LockedBy(self.locks.conflict(step.session, ino, lock)))
    }

    /// The session has closed the inode for good.
    pub(super) fn leave_locks(&mut self, session: SessionId, ino: InodeId, out: &mut Output) {
        let mut grants = Grants::new();
        self.locks.leave(session, ino, &mut grants);
        out.notify_granted(grants);
    }

    /// The session is over.
    pub(super) fn end_locks(&mut self, session: SessionId, out: &mut Output) {
        let mut grants = Grants::new();
        self.locks.end(session, &mut grants);
        out.notify_granted(grants);
    }
}
