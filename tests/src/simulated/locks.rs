//! Locks, with owners as the kernel numbers them: an open file by itself, the process the same on every file.

use crate::ops::{Cells, Hold, Locks, Outcome, Whose};
use crate::simulated::system::{Result, Simulated, Slot, done};
use nix::libc::{EBADF, EINVAL};
use rdmafs_fs::handler::{LockCall, LockCaller};
use rdmafs_meta::lock::{LockKind, Span};

/// The kernel's number of the process.
pub(super) const PROCESS: u64 = 77;

impl Simulated {
    pub(super) fn locks(&self, call: &Locks) -> Result<Outcome> {
        match call {
            Locks::Flock { slot, hold } => self.set_lock(*slot, LockKind::Flock, *hold, Span::WHOLE),
            Locks::Set {
                slot,
                whose,
                hold,
                cells,
            } => {
                let how = self.slot(*slot)?.how;
                let (shared, exclusive) = (*hold == Hold::Shared, *hold == Hold::Exclusive);
                if (shared && !how.read) || (exclusive && !how.write) {
                    return Err(EBADF);
                }
                self.set_lock(*slot, kind(*whose), *hold, span(cells.bytes())?)
            }
            Locks::Get {
                slot,
                whose,
                exclusive,
                cell,
            } => self.get_lock(*slot, *whose, *exclusive, *cell),
        }
    }

    fn set_lock(&self, slot: usize, kind: LockKind, hold: Hold, span: Span) -> Result<Outcome> {
        let slot = self.slot(slot)?;
        let call = lock_call(&slot, kind, hold == Hold::Exclusive, span);
        done(match hold {
            Hold::Nothing => self.run(self.at(&slot).unlock(call)),
            _ => self.run(self.at(&slot).lock(call, false)),
        })
    }

    fn get_lock(&self, slot: usize, whose: Whose, exclusive: bool, cell: usize) -> Result<Outcome> {
        let slot = self.slot(slot)?;
        let (first, _) = Cells(cell..cell + 1).bytes();
        let call = lock_call(&slot, kind(whose), exclusive, span((first, first))?);
        Ok(match self.run(self.at(&slot).conflict(call))? {
            None => Outcome::Done,
            Some((_, false, _)) => Outcome::Locked(None),
            Some((span, true, _)) => Outcome::Locked(Some((span.start(), span.last()))),
        })
    }
}

fn kind(whose: Whose) -> LockKind {
    match whose {
        Whose::OpenFile => LockKind::Ofd,
        Whose::Process => LockKind::Posix,
    }
}

fn span((first, last): (u64, u64)) -> Result<Span> {
    Span::new(first, last).ok_or(EINVAL)
}

fn lock_call(slot: &Slot, kind: LockKind, exclusive: bool, span: Span) -> LockCall {
    let owner = match kind {
        LockKind::Posix => PROCESS,
        _ => 1000 + slot.handle.0,
    };
    LockCall {
        handle: slot.handle,
        owner,
        span,
        exclusive,
        process: 1,
        caller: LockCaller::Known(kind),
        uid: Some(0),
    }
}
