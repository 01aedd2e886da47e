//! Space of open files, and copies between them.

use crate::model::state::{Inode, Model, Result, Who, kept_bits, refuse};
use crate::ops::{Outcome, Space};
use nix::libc::{EBADF, EINVAL};

impl Model {
    pub(super) fn space(&mut self, who: Who, call: &Space) -> Result<Outcome> {
        match *call {
            Space::Allocate {
                slot,
                at,
                len,
                keep_size,
                zero,
            } => {
                let end = at + len as u64;
                let inode = self.changed(who, slot)?;
                if zero {
                    inode.bytes.retain(|place, _| !(at..end).contains(place));
                }
                if !keep_size {
                    inode.stat.size = inode.stat.size.max(end);
                }
                Ok(Outcome::Done)
            }
            Space::Punch { slot, at, len } => {
                let end = at + len as u64;
                let inode = self.changed(who, slot)?;
                inode.bytes.retain(|place, _| !(at..end).contains(place));
                Ok(Outcome::Done)
            }
            Space::Copy { from, to, len } => self.copy(who, from, to, len),
        }
    }

    fn copy(
        &mut self,
        who: Who,
        (from, from_at): (usize, u64),
        (to, to_at): (usize, u64),
        len: usize,
    ) -> Result<Outcome> {
        let (source, target) = (self.slot(from)?, self.slot(to)?);
        let left = self.inodes[&source.ino].stat.size.saturating_sub(from_at);
        let len = left.min(len as u64);
        refuse!(
            !source.how.read || !target.how.write || target.how.append => EBADF,
            source.ino == target.ino && from_at.abs_diff(to_at) < len => EINVAL,
        );
        if len > 0 {
            let bytes = self.inodes[&source.ino].bytes.range(from_at..from_at + len);
            let moved: Vec<_> = bytes
                .map(|(place, byte)| (place - from_at + to_at, *byte))
                .collect();
            let inode = self.changed(who, to)?;
            let end = to_at + len;
            inode.bytes.retain(|place, _| !(to_at..end).contains(place));
            inode.bytes.extend(moved);
            inode.stat.size = inode.stat.size.max(end);
        }
        Ok(Outcome::Count(usize::try_from(len).expect("it was one")))
    }

    /// A file that is changed through a slot.
    pub(super) fn changed(&mut self, who: Who, slot: usize) -> Result<&mut Inode> {
        let slot = self.slot(slot)?;
        refuse!(!slot.how.write => EBADF);
        let inode = self.get(slot.ino);
        inode.stat.mode &= kept_bits(who.0 == 0);
        inode.stat.mtime = Some(0);
        Ok(inode)
    }
}
