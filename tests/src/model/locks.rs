//! Locks: what each owner has of each cell.

use crate::model::state::{LockOwner, Model, Result, refuse};
use crate::ops::{Cells, Hold, Locks, Outcome, Whose};
use nix::libc::{EAGAIN, EBADF};

impl Model {
    pub(super) fn locks(&mut self, call: &Locks) -> Result<Outcome> {
        match call {
            Locks::Flock { slot, hold } => self.flock(*slot, *hold),
            Locks::Set {
                slot,
                whose,
                hold,
                cells,
            } => self.set_lock(*slot, *whose, *hold, cells),
            Locks::Get {
                slot,
                whose,
                exclusive,
                cell,
            } => self.get_lock(*slot, *whose, *exclusive, *cell),
        }
    }

    /// What it had is gone first, also when it is refused something else.
    fn flock(&mut self, slot: usize, hold: Hold) -> Result<Outcome> {
        let ino = self.slot(slot)?.ino;
        let flocks = &mut self.get(ino).flocks;
        flocks.remove(&slot);
        if hold == Hold::Nothing {
            return Ok(Outcome::Done);
        }
        let exclusive = hold == Hold::Exclusive;
        refuse!(flocks.values().any(|other| *other || exclusive) => EAGAIN);
        flocks.insert(slot, exclusive);
        Ok(Outcome::Done)
    }

    fn set_lock(&mut self, slot: usize, whose: Whose, hold: Hold, cells: &Cells) -> Result<Outcome> {
        let (open, owner) = (self.slot(slot)?, self.lock_owner(slot, whose)?);
        refuse!(
            hold == Hold::Shared && !open.how.read => EBADF,
            hold == Hold::Exclusive && !open.how.write => EBADF,
        );
        let locked = &mut self.get(open.ino).locked;
        let exclusive = hold == Hold::Exclusive;
        let refuses = locked
            .iter()
            .any(|((other, cell), held)| *other != owner && cells.0.contains(cell) && (*held || exclusive));
        refuse!(hold != Hold::Nothing && refuses => EAGAIN);
        locked.retain(|(other, cell), _| *other != owner || !cells.0.contains(cell));
        if hold != Hold::Nothing {
            locked.extend(cells.0.clone().map(|cell| ((owner, cell), exclusive)));
        }
        Ok(Outcome::Done)
    }

    fn get_lock(&self, slot: usize, whose: Whose, exclusive: bool, cell: usize) -> Result<Outcome> {
        let (open, owner) = (self.slot(slot)?, self.lock_owner(slot, whose)?);
        let locked = &self.inodes[&open.ino].locked;
        let mut others = locked
            .iter()
            .filter(|((other, of), _)| *other != owner && *of == cell);
        match others.clone().find(|(_, held)| **held) {
            Some(((other, _), _)) => {
                let has = |cell: &usize| locked.get(&(*other, *cell)) == Some(&true);
                let start = (0..=cell).rev().take_while(has).last().unwrap_or(cell);
                let end = (cell..).take_while(has).last().unwrap_or(cell) + 1;
                Ok(Outcome::Locked(Some(Cells(start..end).bytes())))
            }
            None if exclusive && others.next().is_some() => Ok(Outcome::Locked(None)),
            None => Ok(Outcome::Done),
        }
    }

    fn lock_owner(&self, slot: usize, whose: Whose) -> Result<LockOwner> {
        Ok(match whose {
            Whose::OpenFile => LockOwner::OpenFile(slot),
            Whose::Process => LockOwner::Process(self.slot(slot)?.mount),
        })
    }

    /// close(2): the locks of the open file end, and those of the process, whichever of its open files they were taken through.
    pub(super) fn close(&mut self, slot: usize) -> Result<Outcome> {
        let open = self.slot(slot)?;
        let inode = self.get(open.ino);
        inode.flocks.remove(&slot);
        let gone = [LockOwner::OpenFile(slot), LockOwner::Process(open.mount)];
        inode.locked.retain(|(owner, _), _| !gone.contains(owner));
        self.slots[slot] = None;
        Ok(Outcome::Done)
    }
}
