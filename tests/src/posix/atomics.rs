//! Words: the ioctls of rdmafs, and on other file systems, for comparison, what `docs/rdmafs.h` says of them, by pread(2) and pwrite(2). Those do
//! not exclude each other, but here nobody else changes the file.

use crate::ops::{Atomics, How, Outcome};
use crate::posix::system::{Posix, Result, errno};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use rdmafs_fs::atomic_ioctl;
use rdmafs_meta::wire::AtomicOp;
use std::fs::File;
use std::os::unix::fs::FileExt;

impl Posix {
    pub(super) fn atomics(&self, call: &Atomics) -> Result<Outcome> {
        let (Atomics::FetchAdd { slot, at, .. } | Atomics::CompareSwap { slot, at, .. }) = *call;
        let (file, how) = self.slots[slot].as_ref().ok_or(Errno::EBADF)?;
        if !self.is_rdmafs {
            return plain(file, *how, at, call);
        }
        let op = match *call {
            Atomics::FetchAdd { add, .. } => AtomicOp::FetchAdd(add),
            Atomics::CompareSwap { expected, new, .. } => AtomicOp::CompareSwap { expected, new },
        };
        atomic_ioctl::change(file, at, op)
            .map(Outcome::Atomic)
            .map_err(errno)
    }
}

fn plain(file: &File, how: How, at: u64, call: &Atomics) -> Result<Outcome> {
    let size = file.metadata().map_err(errno)?.len();
    match () {
        () if !how.read || !how.write => return Err(Errno::EBADF),
        () if !at.is_multiple_of(8) => return Err(Errno::EINVAL),
        () if at.saturating_add(8) > size => return Err(Errno::ENXIO),
        () => {}
    }
    let mut word = [0; 8];
    file.read_exact_at(&mut word, at).map_err(errno)?;
    let before = u64::from_le_bytes(word);
    let after = match *call {
        Atomics::FetchAdd { add, .. } => before.wrapping_add(add),
        Atomics::CompareSwap { expected, new, .. } if before == expected => new,
        Atomics::CompareSwap { .. } => before,
    };
    // With O_APPEND, pwrite(2) writes at the end.
    let (kept, meanwhile) = (fcntl(file, FcntlArg::F_GETFL)?, OFlag::empty());
    fcntl(file, FcntlArg::F_SETFL(meanwhile))?;
    let written = file.write_all_at(&after.to_le_bytes(), at).map_err(errno);
    fcntl(file, FcntlArg::F_SETFL(OFlag::from_bits_retain(kept)))?;
    written.map(|()| Outcome::Atomic(before))
}
