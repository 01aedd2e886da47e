//! Leases of attributes and names: what a call changes is recalled from others before it is done, and what its answer tells is leased.
//!
//! The lease of an inode covers its extended attributes and the target of a symbolic link as well. An answer that tells of these brings the
//! inode's attributes along: they say that its lease is given.

use super::output::{Delayed, Output};
use super::service::Namespace;
use super::step::Step;
use crate::error::MetaError;
use crate::id::{InodeId, RecallId, SessionId};
use crate::leases::{Ask, DelayedId, GRACE_PERIOD};
use crate::name::Name;
use crate::wire::{Answer, Call, MAX_CHANGED, Notice, Reply, Request};
use std::collections::BTreeSet;
use std::time::Duration;

/// The directories whose names an answer tells of, if it tells of any.
pub(super) type Named = [Option<InodeId>; 2];

impl Namespace {
    pub(super) fn leases(&mut self, step: &mut Step<'_>, take: bool) -> Answer {
        if !take {
            self.end_leases(step.session, step.out);
            return Ok(Reply::Done);
        }
        let owner = self.sessions.owner(step.session)?;
        step.out.after.settled = self.holders.take(step.session, owner);
        step.out.resume.extend(self.leases.take(step.session));
        self.may_end_grace_period(step.out);
        Ok(Reply::Done)
    }

    /// The session believes nothing any more.
    pub(super) fn end_leases(&mut self, session: SessionId, out: &mut Output) {
        self.holders.end(session);
        out.resume.extend(self.leases.end(session));
    }

    /// Time has passed: whoever had leases before this start, and has not come back in time, believes nothing of them any more.
    pub(super) fn end_grace_period(&mut self, now: Duration, out: &mut Output) {
        self.holders.ticks(now);
        self.may_end_grace_period(out);
    }

    fn may_end_grace_period(&mut self, out: &mut Output) {
        if !self.holders.are_awaited() {
            out.resume.extend(self.leases.is_over(GRACE_PERIOD));
        }
    }

    pub(super) fn forgotten(&mut self, step: &mut Step<'_>, recall: RecallId) -> Answer {
        let ready = self.leases.acknowledge(step.session, recall);
        step.out.resume.extend(ready);
        Ok(Reply::Done)
    }

    /// A call that was to be resumed is not waited for any more.
    pub fn forget_delayed(&mut self, id: DelayedId) {
        self.leases.forget_delayed(id);
    }

    /// Calls that wait until others have forgotten what they change.
    #[must_use]
    pub fn delayed_count(&self) -> usize {
        self.leases.delayed_count()
    }

    /// Handlers that had leases when the service ended last, and have not come back: changes wait for them, at most until their leases have run out.
    #[must_use]
    pub fn awaited_count(&self) -> usize {
        self.holders.awaited()
    }

    /// Leases that sessions have.
    #[must_use]
    pub fn lease_count(&self) -> usize {
        self.leases.len()
    }

    /// Has all others forget what the call will change, also those who learned it before this start. True when they are waited for: the call is done afterwards.
    pub(super) fn recall_for(&mut self, call: &Call, now: Duration, out: &mut Output) -> bool {
        let are_awaited = self.holders.are_awaited();
        if self.leases.are_untaken() && !are_awaited {
            return false;
        }
        let mut ask = Vec::new();
        let changes = self.changed_by(call.session, &call.request);
        let recalls: BTreeSet<RecallId> = match are_awaited {
            // Others are asked when that is over.
            true => changes.first().map(|_| GRACE_PERIOD).into_iter().collect(),
            false => changes
                .into_iter()
                .filter_map(|ino| self.leases.recall(ino, Some(call.session), now, &mut ask))
                .collect(),
        };
        out.ask_to_forget(ask);
        if recalls.is_empty() {
            return false;
        }
        let id = self.leases.delay(recalls);
        out.delayed = Some(Delayed {
            id,
            call: call.clone(),
        });
        true
    }

    /// Whatever of it a session may believe is changed by the request: attributes of an inode, extended ones too, or names of a directory. Access times are
    /// not counted.
    fn changed_by(&self, session: SessionId, request: &Request) -> Vec<InodeId> {
        match request {
            Request::SetAttr { ino, .. }
            | Request::SetFlags { ino, .. }
            | Request::SetXattr { ino, .. }
            | Request::RemoveXattr { ino, .. }
            | Request::Allocate { ino, .. }
            | Request::Punch { ino, .. }
            | Request::Append { ino, .. }
            | Request::Atomic { ino, .. }
            | Request::Commit { ino, .. }
            | Request::Copy { to: ino, .. } => vec![*ino],
            Request::Layout { ino, allocate, .. } if *allocate => vec![*ino],
            Request::Open { ino, access } if access.truncate => vec![*ino],
            // Others may only have kept it open: they give that back.
            Request::Open { ino, access } if self.is_busy_text(session, *ino, *access) => vec![*ino],
            Request::Make { parent, .. } => vec![*parent],
            Request::Link { ino, parent, .. } => vec![*parent, *ino],
            Request::Unlink { parent, name } | Request::RemoveDir { parent, name } => {
                let target = self.named(*parent, name);
                [*parent].into_iter().chain(target).collect()
            }
            Request::Rename {
                parent,
                name,
                new_parent,
                new_name,
                ..
            } => {
                let targets = [self.named(*parent, name), self.named(*new_parent, new_name)];
                let parents = [*parent, *new_parent];
                parents.into_iter().chain(targets.into_iter().flatten()).collect()
            }
            Request::Layout { .. } | Request::Open { .. } => Vec::new(),
            Request::Begin { .. } | Request::Renew | Request::Reopen { .. } | Request::Recalled { .. } => {
                Vec::new()
            }
            Request::Lookup { .. } | Request::Parent { .. } | Request::GetAttr { .. } => Vec::new(),
            Request::CatchUp { .. } => Vec::new(),
            Request::ReadLink { .. } | Request::ReadDir { .. } | Request::Release { .. } => Vec::new(),
            Request::Lock { .. }
            | Request::Unlock { .. }
            | Request::CancelLock { .. }
            | Request::GetLock { .. } => Vec::new(),
            Request::Seek { .. } | Request::Sync | Request::Outcome { .. } => Vec::new(),
            Request::StatFs | Request::StatFsAt { .. } => Vec::new(),
            Request::Drained | Request::Examine { .. } => Vec::new(),
            Request::GetXattr { .. } | Request::ListXattr { .. } | Request::StageXattr { .. } => Vec::new(),
            Request::Leases { .. } | Request::Forgotten { .. } => Vec::new(),
            Request::TakeRoomBack { ino } => vec![*ino],
        }
    }

    /// The end of a step for names: who knew all names of a directory hears later which of them others changed. One session has no others.
    pub(super) fn log_names(&mut self) {
        for (directory, name) in self.tree.changed_names() {
            match self.leases.are_shared() {
                true => self.name_log.changed(*directory, name.clone(), self.stamp),
                false => self.name_log.forget_all(self.stamp),
            }
        }
    }

    fn named(&self, parent: InodeId, name: &Name) -> Option<InodeId> {
        let (_, directory) = self.tree.directory(parent).ok()?;
        directory.get(name).map(|(_, ino)| ino)
    }

    /// The end of a step for leases: its caller may believe what the answer tells, and hears of all else that the call changed; whoever
    /// else believes something of that is told to forget it, and not waited for.
    pub(super) fn lease(
        &mut self,
        caller: Option<(SessionId, &Answer, Named)>,
        now: Duration,
        out: &mut Output,
    ) {
        if self.leases.are_untaken() {
            return;
        }
        let mut changed: BTreeSet<InodeId> = self.tree.changed_inodes().collect();
        // Nobody waits for these now; who changes the inode next does, if they have not been heard by then.
        let mut ask = Vec::new();
        let by = caller.map(|(session, ..)| session);
        for ino in &changed {
            self.leases.recall(*ino, by, now, &mut ask);
        }
        out.ask_to_forget(ask);
        let Some((session, answer, named)) = caller else {
            return;
        };
        if !self.leases.takes(session) {
            return;
        }
        // An access time that this call renewed is news to its caller only.
        changed.extend(std::mem::take(&mut out.along));
        let in_answer: BTreeSet<InodeId> = answer
            .iter()
            .flat_map(Reply::attributes)
            .map(|attr| attr.ino)
            .collect();
        let mut believed = in_answer.clone();
        if matches!(answer, Ok(_) | Err(MetaError::NotFound)) {
            believed.extend(named.into_iter().flatten());
        }
        let mut ask = Vec::new();
        for ino in changed.difference(&in_answer) {
            match self.tree.get(*ino) {
                Ok(inode) if out.changed.len() < MAX_CHANGED => {
                    out.changed.push(inode.attr.clone());
                    believed.insert(*ino);
                }
                _ => self.leases.recall_from(session, *ino, now, &mut ask),
            }
        }
        let in_passing = matches!(answer, Ok(Reply::CaughtUp { .. }));
        for ino in believed {
            // What another session is about to write for the first time would be recalled at once.
            let unsettled = in_passing && self.rooms.get(&ino).is_some_and(|maker| *maker != session);
            match !unsettled && self.leases.grant(session, ino, now, &mut ask) {
                true => {}
                false => out.forget(session, ino),
            }
        }
        out.ask_to_forget(ask);
    }
}

impl Output {
    fn forget(&mut self, session: SessionId, ino: InodeId) {
        let stamp = self.stamp;
        let recall = None;
        self.notices
            .push((session, Notice::Forget { recall, ino, stamp }));
    }

    fn ask_to_forget(&mut self, ask: Vec<Ask>) {
        let stamp = self.stamp;
        let notices = ask.into_iter().map(|Ask { session, recall, ino }| {
            let recall = Some(recall);
            (session, Notice::Forget { recall, ino, stamp })
        });
        self.notices.extend(notices);
    }
}

/// The directories whose names the answer to a request tells of.
pub(super) fn named_by(request: &Request) -> Named {
    match request {
        Request::Lookup { parent, .. }
        | Request::Make { parent, .. }
        | Request::Link { parent, .. }
        | Request::Unlink { parent, .. }
        | Request::RemoveDir { parent, .. } => [Some(*parent), None],
        Request::ReadDir { ino, .. } | Request::CatchUp { ino, .. } => [Some(*ino), None],
        Request::Rename {
            parent, new_parent, ..
        } => [Some(*parent), Some(*new_parent)],
        _ => [None, None],
    }
}
