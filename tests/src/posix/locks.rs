//! Locks of open files and of this process.

use crate::ops::{Cells, Hold, Locks, Outcome, Whose};
use crate::posix::system::{Posix, Result, done};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use rustix::fs::FlockOperation;
use std::fs::File;

impl Posix {
    pub(super) fn locks(&self, call: &Locks) -> Result<Outcome> {
        match call {
            Locks::Flock { slot, hold } => done(flock(self.file(*slot)?, *hold)),
            Locks::Set {
                slot,
                whose,
                hold,
                cells,
            } => {
                let lock = lock(*hold, cells.bytes());
                let command = match whose {
                    Whose::OpenFile => FcntlArg::F_OFD_SETLK(&lock),
                    Whose::Process => FcntlArg::F_SETLK(&lock),
                };
                fcntl(self.file(*slot)?, command).map(|_| Outcome::Done)
            }
            Locks::Get {
                slot,
                whose,
                exclusive,
                cell,
            } => self.get_lock(*slot, *whose, *exclusive, *cell),
        }
    }

    fn get_lock(&self, slot: usize, whose: Whose, exclusive: bool, cell: usize) -> Result<Outcome> {
        let (first, _) = Cells(cell..cell + 1).bytes();
        let hold = if exclusive { Hold::Exclusive } else { Hold::Shared };
        let mut lock = lock(hold, (first, first));
        let command = match whose {
            Whose::OpenFile => FcntlArg::F_OFD_GETLK(&mut lock),
            Whose::Process => FcntlArg::F_GETLK(&mut lock),
        };
        fcntl(self.file(slot)?, command)?;
        Ok(match lock.l_type.into() {
            libc::F_UNLCK => Outcome::Done,
            libc::F_RDLCK => Outcome::Locked(None),
            _ => Outcome::Locked(Some(bytes(&lock))),
        })
    }
}

fn flock(file: &File, hold: Hold) -> Result<()> {
    let operation = match hold {
        Hold::Nothing => FlockOperation::NonBlockingUnlock,
        Hold::Shared => FlockOperation::NonBlockingLockShared,
        Hold::Exclusive => FlockOperation::NonBlockingLockExclusive,
    };
    rustix::fs::flock(file, operation).map_err(|error| Errno::from_raw(error.raw_os_error()))
}

/// In fcntl(2), length 0 means up to the last byte that there can be.
fn lock(hold: Hold, (first, last): (u64, u64)) -> libc::flock {
    let kind = match hold {
        Hold::Nothing => libc::F_UNLCK,
        Hold::Shared => libc::F_RDLCK,
        Hold::Exclusive => libc::F_WRLCK,
    };
    let to_the_end = last.cast_signed() == i64::MAX;
    libc::flock {
        l_type: kind.try_into().expect("a small number"),
        l_whence: 0,
        l_start: first.cast_signed(),
        l_len: if to_the_end {
            0
        } else {
            (last - first + 1).cast_signed()
        },
        l_pid: 0,
    }
}

fn bytes(lock: &libc::flock) -> (u64, u64) {
    let last = match lock.l_len {
        0 => i64::MAX,
        len => lock.l_start + len - 1,
    };
    (lock.l_start.cast_unsigned(), last.cast_unsigned())
}
