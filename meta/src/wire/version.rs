//! The versions of what a handler and a node say to each other, and which messages each of them has.
//!
//! | version | what it has |
//! | --- | --- |
//! | 1 | all messages of [`Request`], [`Reply`], [`Notice`] and [`MetaError`] as `codec/tests/frozen.txt` has their bytes; the frames of links, and what fabrics say once they have met, as they were before versions were negotiated |
//! | 2 | [`MetaError::Unreachable`], and replicas that are [`Stale`](ReplicaState::Stale) in what replies say of layouts |
//! | 3 | leases for attributes and names: [`StampedAnswer`] in the place of each answer, [`Request::Leases`], [`Request::Forgotten`], [`Notice::Forget`], [`MetaError::Delayed`] |
//! | 4 | [`Call::closes`](super::Call::closes) behind each call; [`NewInode::OpenFile`], [`Request::TakeRoomBack`] |
//! | 5 | [`Request::CatchUp`], [`Reply::CaughtUp`] |
//! | 6 | [`MetaError::QuotaExceeded`], [`MetaError::TextBusy`]; [`Request::StatFsAt`], [`Reply::Room`]; data connections on tcp that say what protects them; ACLs: their extended attributes, those of [`Attr`](crate::attr::Attr) behind each [`StampedAnswer`], and behind each call the caller's umask and whether his groups are seen |
//!
//! | feature bit | what it says |
//! | --- | --- |
//! | none yet | |
//!
//! The two ends choose a version when they meet: the highest that both speak. A program speaks all versions from [`OLDEST`] to [`NEWEST`].
//!
//! **What changes the version.** A message that was landed keeps its bytes in its version for ever: no field of it, and of nothing that it
//! carries, is added, removed, moved or given another type. What is new is a new variant, appended to its enum, and the tables below say
//! since when it is there: the first time after a landing that means a new [`NEWEST`] and a line in the table above, since the landed
//! program cannot read it. The same goes for a new meaning of old bytes. What a node or a handler may lack whatever its version
//! (because a device or a store cannot do it) is a feature bit. A version is dropped by raising [`OLDEST`]; docs/adr/0022 says when.
//!
//! A sender asks [`WireVersion::covers`] (the codec does, both ways): a message that the peer's version does not have is never sent.

use super::message::{Notice, StampedAnswer};
use super::reply::Reply;
use super::request::{NewInode, Request};
use crate::error::MetaError;
use crate::layout::{LayoutSlice, ReplicaState};
use std::fmt;

/// The oldest version that this program speaks.
pub const OLDEST: u16 = 1;
/// The newest version that this program speaks.
pub const NEWEST: u16 = 6;
/// The features that this program has, a bit for each.
pub const FEATURES: u64 = 0;

/// A version of the wire with its features: what two peers speak with each other, or what a message needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireVersion {
    /// The version.
    pub version: u16,
    /// Feature bits.
    pub features: u64,
}

impl WireVersion {
    /// What this program speaks with its like.
    pub const NEWEST: Self = Self {
        version: NEWEST,
        features: FEATURES,
    };

    /// What every peer speaks.
    pub const FIRST: Self = Self::since(1);

    /// What came with version 2.
    const SECOND: Self = Self::since(2);

    /// What came with version 3.
    pub const THIRD: Self = Self::since(3);

    /// What came with version 4.
    pub const FOURTH: Self = Self::since(4);

    /// What came with version 5.
    pub const FIFTH: Self = Self::since(5);

    /// What came with version 6.
    pub const SIXTH: Self = Self::since(6);

    /// What came with this version, and needs no feature.
    const fn since(version: u16) -> Self {
        Self { version, features: 0 }
    }

    /// True when a peer that speaks this understands what needs `needed`.
    #[must_use]
    pub const fn covers(self, needed: Self) -> bool {
        self.version >= needed.version && needed.features & !self.features == 0
    }
}

impl fmt::Display for WireVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version {}", self.version)?;
        match self.features {
            0 => Ok(()),
            bits => write!(f, " with features {bits:#x}"),
        }
    }
}

impl Request {
    /// The least that a service must speak to be asked this.
    #[must_use]
    pub fn needs(&self) -> WireVersion {
        match self {
            Self::Begin { .. } | Self::Renew | Self::Reopen { .. } | Self::Recalled { .. } => {
                WireVersion::FIRST
            }
            Self::Lookup { .. } | Self::Parent { .. } | Self::GetAttr { .. } => WireVersion::FIRST,
            Self::Make {
                what: NewInode::OpenFile { .. },
                ..
            } => WireVersion::FOURTH,
            Self::SetAttr { .. } | Self::Make { .. } | Self::Link { .. } => WireVersion::FIRST,
            Self::Unlink { .. } | Self::RemoveDir { .. } | Self::Rename { .. } => WireVersion::FIRST,
            Self::ReadLink { .. } | Self::ReadDir { .. } => WireVersion::FIRST,
            Self::Open { .. } | Self::Release { .. } => WireVersion::FIRST,
            Self::Lock { .. } | Self::Unlock { .. } => WireVersion::FIRST,
            Self::CancelLock { .. } | Self::GetLock { .. } => WireVersion::FIRST,
            Self::Layout { .. } | Self::Allocate { .. } | Self::Punch { .. } => WireVersion::FIRST,
            Self::Seek { .. } | Self::Copy { .. } => WireVersion::FIRST,
            Self::Append { .. } | Self::Atomic { .. } | Self::Commit { .. } => WireVersion::FIRST,
            Self::Sync | Self::StatFs | Self::Outcome { .. } | Self::Drained => WireVersion::FIRST,
            Self::Examine { .. } => WireVersion::FIRST,
            Self::GetXattr { name, .. } | Self::SetXattr { name, .. } | Self::RemoveXattr { name, .. }
                if name.acl().is_some() =>
            {
                WireVersion::SIXTH
            }
            Self::GetXattr { .. } | Self::ListXattr { .. } | Self::StageXattr { .. } => WireVersion::FIRST,
            Self::SetXattr { .. } | Self::RemoveXattr { .. } | Self::SetFlags { .. } => WireVersion::FIRST,
            Self::Leases { .. } | Self::Forgotten { .. } => WireVersion::THIRD,
            Self::TakeRoomBack { .. } => WireVersion::FOURTH,
            Self::CatchUp { .. } => WireVersion::FIFTH,
            Self::StatFsAt { .. } => WireVersion::SIXTH,
        }
    }
}

impl Reply {
    /// The least that a handler must speak to be answered this.
    #[must_use]
    pub fn needs(&self) -> WireVersion {
        match self {
            Self::Done | Self::Begun(_) | Self::Reopened { .. } | Self::Renewed { .. } => WireVersion::FIRST,
            Self::Opened { layout, .. } | Self::Layout(layout) => of_layout(layout),
            Self::Appended { layout, .. } | Self::Atomic { layout, .. } => of_layout(layout),
            Self::Attr(_) | Self::Target(_) | Self::Directory { .. } => WireVersion::FIRST,
            Self::Spaced { .. } | Self::Sought(_) => WireVersion::FIRST,
            Self::Copied { .. } | Self::Space(_) | Self::Examined(_) => WireVersion::FIRST,
            Self::Xattr { .. } | Self::XattrNames(_) => WireVersion::FIRST,
            Self::LockIs(_) | Self::LockedBy(_) => WireVersion::FIRST,
            Self::CaughtUp { .. } => WireVersion::FIFTH,
            Self::Room(_) => WireVersion::SIXTH,
        }
    }
}

/// What a handler must speak to read this layout.
fn of_layout(layout: &LayoutSlice) -> WireVersion {
    let mut replicas = layout.runs.iter().flat_map(|run| &run.replicas);
    match replicas.any(|replica| replica.state == ReplicaState::Stale) {
        true => WireVersion::SECOND,
        false => WireVersion::FIRST,
    }
}

impl StampedAnswer {
    /// The least that a handler must speak to be answered this.
    #[must_use]
    pub fn needs(&self) -> WireVersion {
        let answer = match &self.answer {
            Ok(reply) => reply.needs(),
            Err(error) => error.needs(),
        };
        match answer.covers(WireVersion::THIRD) {
            true => answer,
            false => WireVersion::THIRD,
        }
    }
}

impl Notice {
    /// The least that a handler must speak to be told this.
    #[must_use]
    pub fn needs(&self) -> WireVersion {
        match self {
            Self::Recall { .. } | Self::Changed { .. } | Self::Drain => WireVersion::FIRST,
            Self::Capabilities { .. } | Self::Granted { .. } => WireVersion::FIRST,
            Self::Forget { .. } => WireVersion::THIRD,
        }
    }
}

impl MetaError {
    /// The least that a handler must speak to be refused with this.
    #[must_use]
    pub fn needs(self) -> WireVersion {
        match self {
            Self::NotFound | Self::Exists | Self::NotDirectory | Self::IsDirectory => WireVersion::FIRST,
            Self::NotEmpty | Self::AccessDenied | Self::NotOwner | Self::Invalid => WireVersion::FIRST,
            Self::NameTooLong | Self::TooManyLinks | Self::TooBig | Self::NoSpace => WireVersion::FIRST,
            Self::Cleaning | Self::Lost | Self::BeyondEnd | Self::Stale => WireVersion::FIRST,
            Self::SessionEnded | Self::Unsupported | Self::StoreFailed => WireVersion::FIRST,
            Self::StillConnected | Self::Draining | Self::NotDone => WireVersion::FIRST,
            Self::NoXattr | Self::XattrTooBig | Self::XattrsFull | Self::NotStaged => WireVersion::FIRST,
            Self::Locked | Self::Deadlock | Self::TooManyLocks => WireVersion::FIRST,
            Self::OtherPool | Self::Protected => WireVersion::FIRST,
            Self::Unreachable => WireVersion::SECOND,
            Self::Delayed => WireVersion::THIRD,
            Self::QuotaExceeded | Self::TextBusy => WireVersion::SIXTH,
        }
    }

    /// The error that says the most of this one to a handler that speaks `spoken`.
    #[must_use]
    pub fn as_spoken(self, spoken: WireVersion) -> Self {
        match self {
            known if spoken.covers(known.needs()) => known,
            // EIO all the same.
            Self::Unreachable => Self::Lost,
            Self::QuotaExceeded => Self::NoSpace,
            Self::TextBusy => Self::AccessDenied,
            _ => Self::Unsupported,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extent::Extent;
    use crate::id::{Incarnation, NodeId};
    use crate::layout::{Replica, Run};

    #[test]
    fn a_version_covers_what_came_before_it_and_the_features_it_has() {
        let spoken = |version, features| WireVersion { version, features };
        assert!(spoken(1, 0).covers(WireVersion::FIRST));
        assert!(spoken(3, 0).covers(spoken(2, 0)));
        assert!(!spoken(1, 0).covers(spoken(2, 0)));
        assert!(spoken(2, 0b11).covers(spoken(2, 0b10)));
        assert!(!spoken(2, 0b01).covers(spoken(1, 0b10)));
    }

    #[test]
    fn what_came_later_is_kept_from_who_does_not_know_it() {
        assert_eq!(
            MetaError::Unreachable.as_spoken(WireVersion::FIRST),
            MetaError::Lost
        );
        let newest = MetaError::Unreachable.as_spoken(WireVersion::NEWEST);
        assert_eq!(newest, MetaError::Unreachable);
        assert_eq!(
            MetaError::NotFound.as_spoken(WireVersion::FIRST),
            MetaError::NotFound
        );
        let extent = Extent {
            node: NodeId(1),
            incarnation: Incarnation(7),
            offset: 0,
            len: 4096,
        };
        let layout = |state| {
            Reply::Layout(LayoutSlice {
                start: 0,
                end: 4096,
                truncate_seq: 0,
                runs: vec![Run {
                    start: 0,
                    replicas: vec![Replica { extent, state }],
                }],
            })
        };
        assert_eq!(layout(ReplicaState::Valid).needs(), WireVersion::FIRST);
        assert_eq!(layout(ReplicaState::Stale).needs(), WireVersion::SECOND);
    }

    #[test]
    fn the_range_of_versions_is_one() {
        const { assert!(1 <= OLDEST && OLDEST <= NEWEST) }
        assert!(WireVersion::NEWEST.covers(WireVersion::FIRST));
    }

    #[test]
    fn versions_are_shown_with_their_features() {
        assert_eq!(WireVersion::FIRST.to_string(), "version 1");
        let version = WireVersion {
            version: 2,
            features: 6,
        };
        assert_eq!(version.to_string(), "version 2 with features 0x6");
    }
}
