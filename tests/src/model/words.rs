//! Words: 8 bytes of the file, changed one call after the other.

use crate::model::state::{Model, Result, Who, refuse};
use crate::ops::{Outcome, Words};
use nix::libc::{EBADF, EINVAL, ENXIO};

impl Model {
    pub(super) fn words(&mut self, who: Who, call: &Words) -> Result<Outcome> {
        let (Words::FetchAdd { slot, at, .. } | Words::CompareSwap { slot, at, .. }) = *call;
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
            Words::FetchAdd { add, .. } => before.wrapping_add(add),
            Words::CompareSwap { expected, new, .. } if before == expected => new,
            Words::CompareSwap { .. } => before,
        };
        inode.bytes.extend((at..).zip(after.to_le_bytes()));
        Ok(Outcome::Word(before))
    }
}
