//! What doing a request does: done twice, and to the store.
//!
//! Both sides ask: the service, whether it has to keep an answer for a retry and whether a store that failed forbids the call; the handler,
//! whether it may ask again in a session that does not know the first call.

use super::request::Request;

impl Request {
    /// Whether doing it twice is as good as doing it once: its answer need not be kept for a retry, and who does not know whether it was
    /// done does it again.
    ///
    /// What gives space, takes it or copies bytes is as good as a write that is done again: whatever came between came while it was
    /// under way. A commit is not, because it sets times and clears bits that another host may have changed meanwhile. A ticket makes asking
    /// twice for a lock as good as asking once, and giving back again is as good as having done so.
    #[must_use]
    pub fn is_idempotent(&self) -> bool {
        match self {
            Self::Begin { .. }
            | Self::Renew
            | Self::Recalled { .. }
            | Self::Outcome { .. }
            | Self::Leases { .. }
            | Self::Forgotten { .. }
            | Self::TakeRoomBack { .. }
            | Self::Drained => true,
            Self::Reopen { .. }
            | Self::Sync
            | Self::StatFs
            | Self::StatFsAt { .. }
            | Self::Examine { .. } => true,
            Self::Lookup { .. } | Self::Parent { .. } | Self::GetAttr { .. } => true,
            Self::CatchUp { .. } => true,
            Self::ReadLink { .. } | Self::ReadDir { .. } | Self::Layout { .. } | Self::Seek { .. } => true,
            Self::Allocate { .. } | Self::Punch { .. } | Self::Copy { .. } => true,
            Self::Lock { .. } | Self::Unlock { .. } | Self::CancelLock { .. } | Self::GetLock { .. } => true,
            Self::GetXattr { .. } | Self::ListXattr { .. } | Self::StageXattr { .. } => true,
            Self::Open { .. } | Self::Release { .. } => false,
            Self::SetAttr { .. } | Self::Make { .. } | Self::Link { .. } => false,
            Self::Unlink { .. } | Self::RemoveDir { .. } | Self::Rename { .. } => false,
            Self::Append { .. } | Self::Atomic { .. } | Self::Commit { .. } => false,
            Self::SetXattr { .. } | Self::RemoveXattr { .. } | Self::SetFlags { .. } => false,
        }
    }

    /// Whether it needs a store that works: it changes what the store must keep, or asks whether the store has it.
    ///
    /// What merely ends (opens, recalls, leases) goes on without a store, so that handlers can leave in order. An access time that
    /// reading renews is lost with a store that failed, and is worth no error; nor is who takes leases, since nothing is changed any more then.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        match self {
            Self::SetAttr { .. } | Self::Make { .. } | Self::Link { .. } => true,
            Self::Unlink { .. } | Self::RemoveDir { .. } | Self::Rename { .. } => true,
            Self::Allocate { .. } | Self::Punch { .. } | Self::Copy { .. } => true,
            Self::Append { .. } | Self::Atomic { .. } | Self::Commit { .. } | Self::Sync => true,
            Self::SetXattr { .. } | Self::RemoveXattr { .. } | Self::SetFlags { .. } => true,
            Self::Open { access, .. } => access.truncate,
            Self::Layout { allocate, .. } => *allocate,
            Self::Begin { .. } | Self::Renew | Self::Reopen { .. } | Self::Recalled { .. } => false,
            Self::Outcome { .. } | Self::Drained | Self::Release { .. } => false,
            Self::Lookup { .. } | Self::Parent { .. } | Self::GetAttr { .. } => false,
            Self::CatchUp { .. } => false,
            Self::ReadLink { .. } | Self::ReadDir { .. } | Self::Seek { .. } => false,
            Self::Lock { .. } | Self::Unlock { .. } | Self::CancelLock { .. } | Self::GetLock { .. } => false,
            Self::GetXattr { .. } | Self::ListXattr { .. } | Self::StageXattr { .. } => false,
            Self::StatFs | Self::StatFsAt { .. } | Self::Examine { .. } => false,
            Self::Leases { .. } | Self::Forgotten { .. } => false,
            Self::TakeRoomBack { .. } => true,
        }
    }

    /// Whether its answer waits until the store has all that was answered before it.
    #[must_use]
    pub fn waits_for_store(&self) -> bool {
        matches!(self, Self::Sync | Self::Commit { sync: true, .. })
    }
}
