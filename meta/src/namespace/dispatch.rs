//! From a call to the method that serves it.

use super::copy::Place;
use super::files::Written;
use super::leases::named_by;
use super::output::Output;
use super::ranges::How;
use super::service::Namespace;
use super::step::Step;
use crate::error::MetaError;
use crate::id::{RequestId, Stamp};
use crate::time::Now;
use crate::tree::{Move, NewEntry};
use crate::wire::{Answer, Call, MAX_CLOSES, Reply, Request};

impl Namespace {
    /// Serves one call. Total: hostile input gives an error answer. An error changes nothing but what the call closes.
    pub fn call(&mut self, call: Call, now: Now) -> Output {
        let mut out = self.begin_step();
        let (session, named) = (call.session, named_by(&call.request));
        let answer = self.serve(call, now, &mut out);
        if let Some(moving) = &out.moving {
            // What they may believe is told when the bytes are where they belong.
            self.leases.begin_move(moving.change.ino);
            self.lease(None, now.monotonic, &mut out);
        } else {
            self.lease(Some((session, &answer, named)), now.monotonic, &mut out);
        }
        self.finish(&mut out);
        // Else it comes when the bytes are where they belong, or when others have forgotten what they believe.
        let known = out.moving.is_none() && out.atomic.is_none() && out.delayed.is_none();
        out.answer = known.then_some(answer);
        out.lets_in = self.locks.goes_on();
        out
    }

    fn serve(&mut self, call: Call, now: Now, out: &mut Output) -> Answer {
        if let Request::Begin {
            client_owner, pool, ..
        } = call.request
        {
            if pool.is_some_and(|meant| meant != self.config.pool) {
                return Err(MetaError::OtherPool);
            }
            return self.begin(client_owner, now, out);
        }
        if let Request::Examine { skip } = call.request {
            return self.examined(call.caller.uid, skip);
        }
        if call.term != self.term {
            return Err(MetaError::SessionEnded);
        }
        self.sessions.renew(call.session, now.monotonic)?;
        out.after.store = call.request.waits_for_store();
        let kept = call.id != RequestId::NOT_KEPT;
        if kept && let Some(answer) = self.sessions.cached(call.session, call.id) {
            // Of what was true then nothing is to be believed.
            out.stamp = Stamp::NONE;
            return answer.clone();
        }
        if self.recall_for(&call, now.monotonic, out) {
            return Err(MetaError::Delayed);
        }
        let remembered = kept && !call.request.is_idempotent();
        if call.closes.len() > MAX_CLOSES || !remembered && !call.closes.is_empty() {
            return Err(MetaError::Invalid);
        }
        let mut step = Step {
            session: call.session,
            who: &call.caller,
            now,
            access_time: call.access_time,
            out,
        };
        // One that is not open is passed over: the session may have lost it with a node.
        for (ino, opens) in call.closes {
            let _closed = self.release(&mut step, ino, opens);
        }
        let answer = self.dispatch(&mut step, call.id, call.request);
        // A retry of a request that found no room yet must be judged anew. What changes a word is remembered with what it was.
        if remembered && answer != Err(MetaError::Cleaning) && out.atomic.is_none() {
            self.sessions.remember(call.session, call.id, answer.clone());
        }
        answer
    }

    // A table reads best with a line for each request.
    #[rustfmt::skip]
    #[expect(clippy::too_many_lines, reason = "a table: one line for each request")]
    fn dispatch(&mut self, step: &mut Step<'_>, id: RequestId, request: Request) -> Answer {
        match request {
            Request::Begin { .. } | Request::Sync | Request::Drained => Ok(Reply::Done),
            Request::Renew => Ok(Reply::Renewed { wall: step.now.wall }),
            Request::Reopen { opens } => self.reopen(step, &opens),
            Request::Outcome { of } => self.outcome(step.session, of),
            Request::Recalled { recall } => self.recalled(step, recall),
            Request::StatFs => self.stat_fs(),
            Request::Examine { skip } => self.examined(step.who.uid, skip),
            Request::Lookup { parent, name } => self.lookup(step, parent, &name),
            Request::Parent { ino } => self.parent(step, ino),
            Request::GetAttr { ino } => self.attr(ino),
            Request::SetAttr { ino, change, by_handle } => self.set_attr(step, ino, &change, by_handle),
            Request::Make { parent, name, what, mode } => self.make(step, &NewEntry { parent, name, what, mode }),
            Request::Link { ino, parent, name } => self.link(step, ino, parent, &name),
            Request::Unlink { parent, name } => self.unlink(step, parent, &name),
            Request::RemoveDir { parent, name } => self.remove_dir(step, parent, &name),
            Request::Rename { parent, name, new_parent, new_name, mode } => {
                let (from, to) = ((parent, name), (new_parent, new_name));
                self.rename(step, &Move { from, to, mode })
            }
            Request::ReadLink { ino } => self.read_link(step, ino),
            Request::ReadDir { ino, after, limit } => self.read_dir(step, ino, after, limit),
            Request::Open { ino, access } => self.open(step, ino, access),
            Request::Release { ino, opens } => self.release(step, ino, opens),
            Request::Lock { ino, ticket, lock, wait } => self.lock(step, ino, (ticket, wait), lock),
            Request::Unlock { ino, owner, kind, span } => self.unlock(step, ino, owner, (span, kind)),
            Request::CancelLock { ticket, give_back } => self.cancel_lock(step, ticket, give_back),
            Request::GetLock { ino, lock } => self.get_lock(step, ino, &lock),
            Request::Layout { ino, start, end, allocate } => self.layout(step, ino, (start, end), allocate),
            Request::Allocate { ino, start, end, keep_size, zero } => {
                self.allocate(step, ino, (start, end), How { keep_size, zero })
            }
            Request::Punch { ino, start, end } => self.punch(step, ino, (start, end)),
            Request::Seek { ino, offset, hole } => self.seek(step, ino, offset, hole),
            Request::Copy { from, from_offset, to, to_offset, len } => {
                self.copy(step, Place { ino: from, offset: from_offset }, Place { ino: to, offset: to_offset }, len)
            }
            Request::Append { ino, len } => self.append(step, ino, len),
            Request::Atomic { ino, offset, op } => self.atomic(step, id, (ino, offset), op),
            Request::Commit { ino, size, truncate_seq, mtime, clear_set_id, sync: _ } => {
                self.commit(step, ino, Written { size, truncate_seq, mtime, clear_set_id })
            }

            Request::GetXattr { ino, name, from, limit } => self.get_xattr(step, ino, &name, (from, limit)),
            Request::ListXattr { ino } => self.list_xattr(step, ino),
            Request::StageXattr { token, part } => self.stage_xattr(step, token, part),
            Request::SetXattr { ino, name, staged, value, mode } => self.set_xattr(step, ino, name, (staged, value, mode)),
            Request::RemoveXattr { ino, name } => self.remove_xattr(step, ino, &name),
            Request::SetFlags { ino, flags } => self.set_flags(step, ino, flags),
            Request::Leases { take } => self.leases(step, take),
            Request::Forgotten { recall } => self.forgotten(step, recall),
            Request::CatchUp { ino, since } => self.catch_up(step, ino, since),
            Request::TakeRoomBack { ino } => self.take_room_back(step, ino),
        }
    }
}
