//! An operation of any theme, by its caller.

use crate::ops::{Action, CALLERS, Op, Outcome};
use crate::posix::system::{Posix, Result};
use nix::unistd::{Gid, Uid};

impl Posix {
    /// Does it and says what came of it.
    pub fn apply(&mut self, op: &Op) -> Outcome {
        let (uid, gid) = CALLERS[op.caller];
        nix::unistd::setfsgid(Gid::from_raw(gid));
        nix::unistd::setfsuid(Uid::from_raw(uid));
        let outcome = self.act(op);
        nix::unistd::setfsuid(Uid::from_raw(0));
        nix::unistd::setfsgid(Gid::from_raw(0));
        outcome.unwrap_or_else(|errno| Outcome::Refused(vec![errno as i32]))
    }

    fn act(&mut self, op: &Op) -> Result<Outcome> {
        match &op.action {
            Action::Names(call) => self.names(op.mount, call),
            Action::Attributes(call) => self.attributes(op.mount, call),
            Action::Bytes(call) => self.bytes(op.mount, call),
            Action::Space(call) => self.space(call),
            Action::Xattrs(call) => self.xattrs(op.mount, call),
            Action::Locks(call) => self.locks(call),
            Action::Atomics(call) => self.atomics(call),
        }
    }
}
