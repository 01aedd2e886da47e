//! An operation of any theme.

use crate::ops::{Action, Op, Outcome};
use crate::simulated::system::Simulated;

impl Simulated {
    /// Does it and says what came of it.
    pub fn apply(&mut self, op: &Op) -> Outcome {
        let done = match &op.action {
            Action::Names(call) => self.names(op, call),
            Action::Attributes(call) => self.attributes(op, call),
            Action::Bytes(call) => self.bytes(op, call),
            Action::Space(call) => self.space(op, call),
            Action::Xattrs(call) => self.xattrs(op, call),
            Action::Locks(call) => self.locks(call),
            Action::Atomics(call) => self.atomics(op, call),
        };
        done.unwrap_or_else(|errno| Outcome::Refused(vec![errno]))
    }
}
