//! Words, as the kernel hands the numbers of `struct rdmafs_word` over.

use crate::ops::{Atomics, Op, Outcome};
use crate::simulated::system::{Result, Simulated};
use nix::libc::EIO;
use rdmafs_fs::atomic_ioctl::{COMPARE_SWAP, FETCH_ADD};

impl Simulated {
    pub(super) fn atomics(&self, op: &Op, call: &Atomics) -> Result<Outcome> {
        let (slot, command, numbers) = match *call {
            Atomics::FetchAdd { slot, at, add } => (slot, FETCH_ADD, [at, add, 0, 0]),
            Atomics::CompareSwap {
                slot,
                at,
                expected,
                new,
            } => (slot, COMPARE_SWAP, [at, new, expected, 0]),
        };
        let slot = self.slot(slot)?;
        let who = self.caller(slot.mount, op.caller).who;
        let input = numbers.map(u64::to_ne_bytes).concat();
        let answer = self.run(self.at(&slot).ioctl(who, slot.handle, command, input))?;
        let before = answer.last_chunk().ok_or(EIO)?;
        Ok(Outcome::Atomic(u64::from_ne_bytes(*before)))
    }
}
