//! Space of open files, and copies between them.

use crate::ops::{Outcome, Space};
use crate::posix::system::{Posix, Result, done};
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, copy_file_range, fallocate};
use std::fs::File;

impl Posix {
    pub(super) fn space(&mut self, call: &Space) -> Result<Outcome> {
        let kept = |keep_size| match keep_size {
            true => FallocateFlags::FALLOC_FL_KEEP_SIZE,
            false => FallocateFlags::empty(),
        };
        let punch = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        match *call {
            Space::Allocate {
                slot,
                at,
                len,
                keep_size,
                zero: false,
            } => done(change(self.file(slot)?, kept(keep_size), at, len)),
            Space::Allocate {
                slot,
                at,
                len,
                keep_size,
                zero: true,
            } => {
                let (file, kept) = (self.file(slot)?, kept(keep_size));
                let zeroed = change(file, kept | FallocateFlags::FALLOC_FL_ZERO_RANGE, at, len);
                if zeroed != Err(Errno::EOPNOTSUPP) {
                    return done(zeroed);
                }
                // As on a tmpfs, which has only the two halves of it.
                change(file, punch, at, len)?;
                done(change(file, kept, at, len))
            }
            Space::Punch { slot, at, len } => done(change(self.file(slot)?, punch, at, len)),
            Space::Copy { from, to, len } => {
                let (source, target) = (self.file(from.0)?, self.file(to.0)?);
                let (mut from, mut to) = (from.1.cast_signed(), to.1.cast_signed());
                copy_file_range(source, Some(&mut from), target, Some(&mut to), len).map(Outcome::Count)
            }
        }
    }
}

fn change(file: &File, mode: FallocateFlags, at: u64, len: usize) -> Result<()> {
    fallocate(file, mode, at.cast_signed(), len.cast_signed() as i64)
}
