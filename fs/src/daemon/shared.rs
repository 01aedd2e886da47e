//! What the threads of the daemon share: those that serve control requests, those that serve mounts, and those that take mounts over.

use super::mounts::Mounts;
use super::records::Records;
use crate::handler::Handler;
use crate::mounter::Mounter;
use std::sync::Arc;

/// The handler and its mounts.
pub(super) struct Daemon {
    pub(super) handler: Arc<Handler>,
    pub(super) mounts: Mounts,
    pub(super) records: Records,
    /// The process that mounts.
    pub(super) mounter: Arc<Mounter>,
}
