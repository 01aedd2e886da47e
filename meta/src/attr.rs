//! Attributes of an inode and changes to them.

use crate::acl::Acls;
use crate::flags::InodeFlags;
use crate::id::{InodeId, Version};
use crate::time::{AccessTime, Timestamp};
use serde::{Deserialize, Serialize};

/// What an inode is (`S_IFMT` of `mode`, without the permission bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FileKind {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A Unix socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

impl FileKind {
    /// Whether such an inode can have flags: as on a tmpfs, those that can be opened to set them.
    #[must_use]
    pub fn has_flags(self) -> bool {
        matches!(self, FileKind::Regular | FileKind::Directory)
    }
}

/// What `stat(2)` shows, and two counters of our own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attr {
    /// The inode.
    pub ino: InodeId,
    /// The type of the inode.
    pub kind: FileKind,
    /// Permission and set-id bits, 0 to 0o7777.
    pub mode: u16,
    /// Hard links; 0 when only open handles keep it.
    pub nlink: u32,
    /// User id of the owner.
    pub uid: u32,
    /// Group id of the group.
    pub gid: u32,
    /// Device number of a device node, else 0.
    pub rdev: u32,
    /// Size in bytes.
    pub size: u64,
    /// Allocated bytes: whole granules, holes not counted.
    pub allocated: u64,
    /// Last access (kept as `relatime` would: see docs/semantics.md).
    pub atime: Timestamp,
    /// Last change of the bytes.
    pub mtime: Timestamp,
    /// Last change of the inode.
    pub ctime: Timestamp,
    /// Creation.
    pub birth: Timestamp,
    /// Rises with every change of bytes, size or layout that was committed.
    pub version: Version,
    /// Rises when the file shrinks: a size that a handler computed before is then void.
    pub truncate_seq: u64,
    /// Inode flags (chattr(1)); of files and directories only.
    pub flags: InodeFlags,
    /// Its ACLs. They cross the wire behind the message that has the attributes (version 6).
    #[serde(skip)]
    pub acls: Acls,
}

/// `relatime`: an access time is renewed when it is this old, in seconds.
const ATIME_AGE: i64 = 24 * 3600;

impl Attr {
    /// Whether an access at `now` renews the access time. The service renews it by this rule; a handler answers a reading by itself only where
    /// nothing is renewed.
    #[must_use]
    pub fn renews_access_time(&self, rule: AccessTime, now: Timestamp) -> bool {
        match rule {
            _ if self.flags.any(InodeFlags::NO_ATIME) => false,
            AccessTime::Never => false,
            AccessTime::Strict => true,
            AccessTime::Relative => {
                let old = now.seconds.saturating_sub(self.atime.seconds) >= ATIME_AGE;
                old || self.atime <= self.mtime || self.atime <= self.ctime
            }
        }
    }
}

/// A new value of a time stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SetTime {
    /// The service's clock.
    Now,
    /// This time; only the owner or root may choose one (utimensat(2)).
    At(Timestamp),
}

/// A change of attributes; `None` leaves a field alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAttr {
    /// Permission and set-id bits.
    pub mode: Option<u16>,
    /// User id of the new owner.
    pub uid: Option<u32>,
    /// Group id of the new group.
    pub gid: Option<u32>,
    /// Truncate or extend to this size.
    pub size: Option<u64>,
    /// Last access.
    pub atime: Option<SetTime>,
    /// Last change of the bytes.
    pub mtime: Option<SetTime>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relatime_renews_what_is_a_day_old_or_not_later_than_the_last_change() {
        let at = |seconds| Timestamp { seconds, nanos: 0 };
        let mut attr = Attr {
            ino: InodeId(2),
            kind: FileKind::Symlink,
            mode: 0o777,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            size: 1,
            allocated: 0,
            atime: at(100),
            mtime: at(100),
            ctime: at(100),
            birth: at(100),
            version: Version(1),
            truncate_seq: 0,
            flags: InodeFlags::NONE,
            acls: Acls::None,
        };
        let renews = |attr: &Attr, rule, now| attr.renews_access_time(rule, at(now));
        assert!(
            renews(&attr, AccessTime::Relative, 101),
            "it is as old as the inode"
        );
        attr.atime = at(102);
        assert!(!renews(&attr, AccessTime::Relative, 103));
        assert!(!renews(&attr, AccessTime::Relative, 102 + ATIME_AGE - 1));
        assert!(renews(&attr, AccessTime::Relative, 102 + ATIME_AGE));
        for (mtime, ctime) in [(102, 100), (100, 102)] {
            let changed = Attr {
                mtime: at(mtime),
                ctime: at(ctime),
                ..attr.clone()
            };
            assert!(renews(&changed, AccessTime::Relative, 103));
        }
        assert!(renews(&attr, AccessTime::Strict, 103));
        assert!(!renews(&attr, AccessTime::Never, i64::MAX));
        attr.flags = InodeFlags::NO_ATIME;
        assert!(!renews(&attr, AccessTime::Strict, 103));
    }
}
