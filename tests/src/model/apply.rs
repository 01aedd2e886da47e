//! An operation of any theme.

use crate::model::state::Model;
use crate::ops::{Action, CALLERS, Op, Outcome};

impl Model {
    /// Does it and says what must have come of it.
    pub fn apply(&mut self, op: &Op) -> Outcome {
        let who = CALLERS[op.caller];
        match &op.action {
            Action::Names(call) => self.names(who, call),
            Action::Attributes(call) => self.attributes(who, call),
            Action::Bytes(call) => self.bytes(who, op.mount, call),
            Action::Space(call) => self.space(who, call),
            Action::Xattrs(call) => self.xattrs(who, call),
            Action::Locks(call) => self.locks(call),
            Action::Atomics(call) => self.atomics(who, call),
        }
        .unwrap_or_else(Outcome::Refused)
    }
}
