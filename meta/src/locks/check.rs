//! What must be true of locks between two calls.

use super::balanced::Steps;
use super::bounds::{Tallies, Tally};
use super::file::File;
use super::index::Holder;
use super::owned::Owned;
use super::table::Locks;
use crate::error::Inconsistency;
use crate::id::{InodeId, SessionId};
use std::collections::BTreeSet;

/// What is counted on the way.
#[derive(Default)]
struct Counted {
    tallies: Tallies,
    used: BTreeSet<(SessionId, InodeId)>,
    waiting: usize,
    granted: usize,
}

impl Locks {
    /// Checks what must be true between two calls; `is_open` says what sessions have open.
    ///
    /// # Errors
    /// The first that is not.
    pub(crate) fn check(&self, is_open: impl Fn(SessionId, InodeId) -> bool) -> Result<(), Inconsistency> {
        let mut counted = Counted::default();
        for (ino, file) in &self.files {
            if file.is_idle() {
                return wrong(format!("inode {ino} has a lock table and no locks"));
            }
            self.check_file(*ino, file, &mut counted)?;
        }
        let is_ending = |session: SessionId| self.unsettled.ending.contains(&session);
        let mut closed = counted.used.iter();
        if let Some((session, ino)) =
            closed.find(|(session, ino)| !is_ending(*session) && !is_open(*session, *ino))
        {
            return wrong(format!(
                "inode {ino}: session {session:?} has locks of what it has not open"
            ));
        }
        let same = counted.tallies.agree(&self.tallies) && counted.used == self.used;
        if !same || counted.waiting != self.waiting.len() || counted.granted != self.granted.len() {
            return wrong("locks or waiters are miscounted".into());
        }
        if self.unsettled.is_due(self.now) {
            return Ok(());
        }
        self.check_settled()
    }

    /// Nobody waits for what they may have.
    fn check_settled(&self) -> Result<(), Inconsistency> {
        for (ino, file) in &self.files {
            for (arrival, waiter) in file.queue.iter() {
                if file.may_have(arrival, self.now, &mut Steps::default()) {
                    return wrong(format!("inode {ino}: {waiter:?} waits for nobody"));
                }
            }
        }
        Ok(())
    }

    fn check_file(&self, ino: InodeId, file: &File, counted: &mut Counted) -> Result<(), Inconsistency> {
        let mut tally = Tally::default();
        for (holder, owned) in &file.owners {
            check_owned(ino, file, (*holder, owned))?;
            counted.used.insert((holder.0, ino));
            counted.granted += usize::from(owned.last.is_some());
            for held in owned.iter() {
                tally.change(held.account, |count| count.held += 1);
                counted
                    .tallies
                    .change(holder.0, held.account, |count| count.held += 1);
            }
        }
        for (arrival, waiter) in file.queue.iter() {
            let session = waiter.session;
            tally.change(waiter.account, |count| count.waiting += 1);
            counted
                .tallies
                .change(session, waiter.account, |count| count.waiting += 1);
            counted.used.insert((session, ino));
            counted.waiting += 1;
            if self.waiting.get(&(session, waiter.ticket)) != Some(&(ino, arrival)) {
                return wrong(format!("inode {ino}: nobody knows of {waiter:?}"));
            }
        }
        if tally != file.tally || tally.all().held != file.held.len() || !file.queue.is_sound() {
            return wrong(format!("inode {ino}: locks or waiters are miscounted"));
        }
        match tally.all().held <= self.tallies.limits.of_file.locks.all {
            true => Ok(()),
            false => wrong(format!("inode {ino} has more locks than a file may have")),
        }
    }
}

fn check_owned(ino: InodeId, file: &File, (holder, owned): (Holder, &Owned)) -> Result<(), Inconsistency> {
    if owned.is_empty() {
        return wrong(format!("inode {ino}: {holder:?} is an owner of nothing"));
    }
    for held in owned.iter() {
        if let Some(other) = file.in_the_way(holder, &held.lock, &mut Steps::default()) {
            return wrong(format!(
                "inode {ino} has two holders: {holder:?} {held:?} and {other:?}"
            ));
        }
    }
    Ok(())
}

fn wrong(line: String) -> Result<(), Inconsistency> {
    Err(Inconsistency(line))
}
