//! What the locks of a pool's mounts have in common: a grant names no mount, and whoever closes a file may be of any.

use super::closing_files::ClosingFiles;
use super::waits::LockWaiters;

/// Calls for locks that wait, and closes that may give locks back, of all mounts of a pool.
#[derive(Default)]
pub(in crate::handler) struct PoolLocks {
    /// Operations that ask for locks.
    pub(in crate::handler) waits: LockWaiters,
    /// Open files that are being closed and have locks.
    pub(in crate::handler) closing_files: ClosingFiles,
}
