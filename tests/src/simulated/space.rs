//! Space of open files, and copies between them.

use crate::ops::{Op, Outcome, Space};
use crate::simulated::system::{Result, Simulated, refused_if};
use nix::libc::EBADF;
use rdmafs_fs::handler::{FilePlace, ReadData, SpaceChange};

impl Simulated {
    pub(super) fn space(&mut self, op: &Op, call: &Space) -> Result<Outcome> {
        match *call {
            Space::Allocate {
                slot,
                at,
                len,
                keep_size,
                zero,
            } => {
                let change = match zero {
                    true => SpaceChange::Zero { keep_size },
                    false => SpaceChange::Allocate { keep_size },
                };
                self.change_space(op, slot, (at, len), change)
            }
            Space::Punch { slot, at, len } => self.change_space(op, slot, (at, len), SpaceChange::Punch),
            Space::Copy { from, to, len } => self.copy(op, from, to, len),
        }
    }

    fn change_space(
        &self,
        op: &Op,
        slot: usize,
        (at, len): (u64, usize),
        change: SpaceChange,
    ) -> Result<Outcome> {
        let slot = self.slot(slot)?;
        let who = self.caller(slot.mount, op.caller).who;
        let changing = self
            .at(&slot)
            .fallocate(who, slot.handle, (at, len as u64), change);
        refused_if(!slot.how.write, EBADF, self.run(changing))
    }

    fn copy(
        &mut self,
        op: &Op,
        (from, from_at): (usize, u64),
        (to, to_at): (usize, u64),
        len: usize,
    ) -> Result<Outcome> {
        let (source, target) = (self.slot(from)?, self.slot(to)?);
        if !source.how.read || !target.how.write || target.how.append {
            return Err(EBADF);
        }
        let caller = self.caller(source.mount, op.caller);
        let size = self.run(caller.mount.getattr(caller.who, source.ino))?.attr.size;
        let len = size.saturating_sub(from_at).min(len as u64);
        let place = |handle, offset| FilePlace { handle, offset };
        let (source_place, target_place) = (place(source.handle, from_at), place(target.handle, to_at));
        if source.ino == target.ino && from_at.abs_diff(to_at) < len {
            let who = self.caller(target.mount, op.caller).who;
            let overlaps = self
                .at(&target)
                .copy(who, place(target.handle, from_at), target_place, len);
            assert!(self.run(overlaps).is_err(), "a copy onto itself");
            return Err(nix::libc::EINVAL);
        }
        if len == 0 {
            return Ok(Outcome::Count(0));
        }
        if source.mount == target.mount {
            let who = self.caller(target.mount, op.caller).who;
            let copied = self.at(&target).copy(who, source_place, target_place, len);
            return self.run(copied).map(Outcome::Count);
        }
        // Between two mounts the kernel reads and writes.
        let len = usize::try_from(len).expect("it was one");
        let read = self.at(&source).read(source.handle, from_at, len);
        let bytes = match self.run(read)? {
            ReadData::Bytes(buffer) => buffer.to_vec(),
            ReadData::Zeros(count) => vec![0; count],
            ReadData::End => Vec::new(),
        };
        self.write(op, to, to_at, &bytes)
    }
}
