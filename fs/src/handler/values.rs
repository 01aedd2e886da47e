//! Plain values that all floors of the handler speak of. They know nothing of what they number or describe.

use rdmafs_meta::cred::Credentials;
use rdmafs_meta::time::AccessTime;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Numbers a pool's connections, from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Connection(pub(super) u64);

/// Tells mounts apart, also those of different pools.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct MountId(pub(super) u64);

static NEXT_MOUNT: AtomicU64 = AtomicU64::new(1);

impl MountId {
    /// The handler itself, where it acts for no mount.
    pub(super) const HANDLER: Self = Self(0);

    /// An id that no mount of this process had.
    pub(super) fn next() -> Self {
        Self(NEXT_MOUNT.fetch_add(1, Ordering::Relaxed))
    }
}

/// The context of a call: who asks, and how long that may take.
#[derive(Clone, Debug)]
pub(super) struct CallContext {
    /// The caller.
    pub(super) who: Credentials,
    /// What the call does to access times.
    pub(super) access_time: AccessTime,
    /// How long it may take.
    pub(super) timeout: Duration,
}

/// The context of a commit: the mount on whose behalf something is committed.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChangedBy {
    /// The mount.
    pub(super) mount: MountId,
    /// How long it may take.
    pub(super) timeout: Duration,
}

impl ChangedBy {
    /// The caller of a commit.
    pub(super) fn context(self, who: Credentials) -> CallContext {
        CallContext {
            who,
            access_time: AccessTime::default(),
            timeout: self.timeout,
        }
    }
}
