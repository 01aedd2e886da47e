//! What a session asks about itself.

use super::output::Output;
use super::service::Namespace;
use super::step::Step;
use crate::error::MetaError;
use crate::id::{ClientOwner, InodeId, RecallId, RequestId, SessionId};
use crate::session::Open;
use crate::time::Now;
use crate::wire::{Answer, Arena, Begun, Reply};

impl Namespace {
    pub(super) fn begin(&mut self, client_owner: ClientOwner, now: Now, out: &mut Output) -> Answer {
        let begun = self.sessions.begin(client_owner, now.monotonic);
        let session = begun.map_err(|connected| {
            out.disconnect.push(connected);
            MetaError::StillConnected
        })?;
        let arenas = self.alloc.arenas();
        let arenas = arenas.map(|(node, incarnation, len)| Arena {
            node,
            incarnation,
            len,
        });
        let mut arenas: Vec<Arena> = arenas.collect();
        arenas.sort_by_key(|arena| Some(arena.node) != self.home);
        Ok(Reply::Begun(Begun {
            session,
            pool: self.config.pool,
            term: self.term,
            lease_ms: u64::try_from(self.config.lease.as_millis()).unwrap_or(u64::MAX),
            arenas,
            wall: now.wall,
        }))
    }

    /// The counts are taken as they are told, whatever was known: a handler knows its own opens. Which of them write is
    /// not told, so all may. No program asks for it, so it is refused in the name of any but root.
    pub(super) fn reopen(&mut self, step: &mut Step<'_>, opens: &[(InodeId, u32)]) -> Answer {
        if step.who.uid != 0 {
            return Err(MetaError::NotOwner);
        }
        let mut gone = Vec::new();
        for (ino, count) in opens {
            let exists = self.tree.layout(*ino).is_ok() && !self.orphans.contains(ino);
            if !exists {
                gone.push(*ino);
            } else if *count > 0 {
                self.sessions.forget(step.session, *ino);
                let open = Open {
                    count: *count,
                    writable: true,
                    runs: true,
                    ran_with_rights: self.gives_rights(*ino),
                };
                self.sessions.open(step.session, *ino, open);
                self.shares_room(step.session, *ino);
            }
        }
        Ok(Reply::Reopened { gone })
    }

    /// The answer that a request got whose answer was lost.
    pub(super) fn outcome(&self, session: SessionId, of: RequestId) -> Answer {
        let answer = self.sessions.cached(session, of);
        answer.cloned().unwrap_or(Err(MetaError::NotDone))
    }

    pub(super) fn recalled(&mut self, step: &mut Step<'_>, recall: RecallId) -> Answer {
        let given_up = self.sessions.acknowledge(step.session, recall);
        self.give_up(step.session, given_up, step.out);
        Ok(Reply::Done)
    }

    pub(super) fn release(&mut self, step: &mut Step<'_>, ino: InodeId, opens: u32) -> Answer {
        self.sessions.held(step.session, ino)?;
        if self.sessions.close(step.session, ino, opens).is_some() {
            self.leave(step, ino);
        }
        Ok(Reply::Done)
    }

    pub(super) fn stat_fs(&self) -> Answer {
        Ok(Reply::Space(self.space()))
    }

    /// The session's last open is gone. The handler has nothing in flight when it gives that back, so it owes no recall
    /// of the inode any more.
    fn leave(&mut self, step: &mut Step<'_>, ino: InodeId) {
        let given_up = self.sessions.acknowledge_inode(step.session, ino);
        let out: &mut Output = step.out;
        self.give_up(step.session, given_up, out);
        self.leave_locks(step.session, ino, out);
        self.revoke_all(step.session, ino, out);
        self.closed(ino, out);
    }
}
