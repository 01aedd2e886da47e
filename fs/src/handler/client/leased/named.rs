//! Names, and what is known of them.

use rdmafs_meta::id::InodeId;
use rdmafs_meta::name::Name;

/// A name in a directory.
pub(super) type Place = (InodeId, Name);

/// What is known of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// It leads to this inode.
    At(InodeId),
    /// It is not there.
    Absent,
    /// That must be asked, even where the directory is wholly known.
    Unknown,
}

impl Named {
    /// The inode that it leads to, if that is known.
    pub(super) fn inode(self) -> Option<InodeId> {
        match self {
            Self::At(ino) => Some(ino),
            Self::Absent | Self::Unknown => None,
        }
    }
}
