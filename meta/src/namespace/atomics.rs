//! Atomic changes of 8 aligned bytes of a file.
//!
//! The node's processor makes them, under the lock of the service: an adapter's atomics, soft-RoCE's and a processor's do not exclude each
//! other. So the namespace only says where the word lies; the node changes it at once and tells what it was. That is the answer,
//! and it is kept for a retry: no change is made twice.

use super::files::ANSWER_REPLICAS;
use super::output::AtomicChange;
use super::service::Namespace;
use super::step::Step;
use crate::error::MetaError;
use crate::id::{InodeId, RequestId};
use crate::wire::{Answer, AtomicOp, Reply};

/// Bytes of a word.
const ATOMIC_LEN: u64 = 8;

impl Namespace {
    pub(super) fn atomic(
        &mut self,
        step: &mut Step<'_>,
        id: RequestId,
        (ino, offset): (InodeId, u64),
        op: AtomicOp,
    ) -> Answer {
        let writable = self.sessions.held(step.session, ino)?.writable;
        let attr = &self.tree.get(ino)?.attr;
        let (size, truncate_seq) = (attr.size, attr.truncate_seq);
        let end = offset.saturating_add(ATOMIC_LEN);
        match () {
            () if !writable => return Err(MetaError::AccessDenied),
            () if !offset.is_multiple_of(ATOMIC_LEN) => return Err(MetaError::Invalid),
            () if end > size => return Err(MetaError::BeyondEnd),
            () => {}
        }
        let before = self.tree.layout(ino)?.allocated();
        self.fill_whole(ino, offset, end)?;
        let place = self.tree.layout(ino)?.usable(offset, end).first().copied();
        let place = place.ok_or(MetaError::Lost)?;
        if self.tree.layout(ino)?.allocated() != before {
            self.tell_others(step, ino)?;
        }
        self.touched(ino, step);
        self.bytes_changed(ino, step.who, step.now.wall)?;
        let layout = self
            .tree
            .layout(ino)?
            .slice(offset, end, truncate_seq, ANSWER_REPLICAS);
        self.grant(step.session, &layout, true, step.out);
        step.out.atomic = Some(AtomicChange {
            place,
            op,
            session: step.session,
            id,
            layout,
        });
        // Not the answer yet.
        Ok(Reply::Done)
    }

    /// The answer to the call that made `change`, whose word was `before`. To be called before anything else is.
    pub fn atomic_done(&mut self, change: AtomicChange, before: u64) -> Answer {
        let answer = Ok(Reply::Atomic {
            before,
            layout: change.layout,
        });
        if change.id != RequestId::NOT_KEPT {
            self.sessions.remember(change.session, change.id, answer.clone());
        }
        answer
    }

    /// As after a write, but the store hears of it with the next change: a record for each atomic would cost more than all the rest, and
    /// the bytes themselves do not outlive the node.
    fn touched(&mut self, ino: InodeId, step: &mut Step<'_>) {
        if let Ok(inode) = self.tree.get_mut_lazily(ino) {
            inode.attr.version.0 += 1;
            (inode.attr.mtime, inode.attr.ctime) = (step.now.wall, step.now.wall);
            step.out.along.push(ino);
        }
    }
}
