//! What every served call carries along.

use super::output::Output;
use crate::cred::Credentials;
use crate::id::SessionId;
use crate::time::{AccessTime, Now};

/// One call being served: who, when, and what the node must do about it.
#[derive(Debug)]
pub(super) struct Step<'a> {
    pub(super) session: SessionId,
    pub(super) who: &'a Credentials,
    pub(super) now: Now,
    pub(super) access_time: AccessTime,
    pub(super) out: &'a mut Output,
}
