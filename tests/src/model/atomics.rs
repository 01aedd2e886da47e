//! Words: 8 bytes of the file, changed one call after the other.

use crate::model::state::{Model, Result, Who, refuse};
use crate::ops::{Atomics, Outcome};
use nix::libc::{EBADF, EINVAL, ENXIO};

impl Model {
    pub(super) fn atomics(&mut self, who: Who, call: &Atomics) -> Result<Outcome> {
        let (Atomics::FetchAdd { slot, at, .. } | Atomics::CompareSwap { slot, at, .. }) = *call;
        let open = self.slot(slot)?;
        refuse!(
            !open.how.read || !open.how.write => EBADF,
            !at.is_multiple_of(8) => EINVAL,
            at.saturating_add(8) > self.inodes[&open.ino].stat.size => ENXIO,
        );
        let inode = self.changed(who, slot)?;
        let byte = |place| inode.bytes.get(&place).copied().unwrap_or(0);
        let before = (at..at + 8)
            .rev()
            .fold(0, |word, place| word << 8 | u64::from(byte(place)));
        let after = match *call {
            Atomics::FetchAdd { add, .. } => before.wrapping_add(add),
            Atomics::CompareSwap { expected, new, .. } if before == expected => new,
            Atomics::CompareSwap { .. } => before,
        };
        inode.bytes.extend((at..).zip(after.to_le_bytes()));
        Ok(Outcome::Atomic(before))
    }
}
