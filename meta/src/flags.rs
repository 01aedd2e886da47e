//! Inode flags, as chattr(1) sets and lsattr(1) shows them: those that a tmpfs has.
//!
//! Their numbers are those of FS_IOC_GETFLAGS (`include/uapi/linux/fs.h`). A value has no others: what comes from outside is judged where it
//! comes in.

use serde::{Deserialize, Serialize};

/// A set of inode flags. Decoding refuses those that nobody knows here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct InodeFlags(u32);

impl InodeFlags {
    /// No flag is set.
    pub const NONE: InodeFlags = InodeFlags(0);
    /// `i`: nobody changes anything of it, nor its names, nor, of a directory, its entries.
    pub const IMMUTABLE: InodeFlags = InodeFlags(0x10);
    /// `a`: bytes are only appended to it, and entries only added.
    pub const APPEND: InodeFlags = InodeFlags(0x20);
    /// `d`: dump(8) leaves it out. Kept for programs that ask.
    pub const NO_DUMP: InodeFlags = InodeFlags(0x40);
    /// `A`: reading it leaves its access time alone.
    pub const NO_ATIME: InodeFlags = InodeFlags(0x80);
    /// What only root sets and takes away, and what protects an inode from root.
    pub const PROTECTING: InodeFlags = InodeFlags(Self::IMMUTABLE.0 | Self::APPEND.0);

    const INHERITED: u32 = Self::NO_DUMP.0 | Self::NO_ATIME.0;
    const KNOWN: u32 = Self::PROTECTING.0 | Self::INHERITED;

    /// The flags with these numbers; `None` if there are others among them.
    #[must_use]
    pub fn new(bits: u32) -> Option<Self> {
        (bits & !Self::KNOWN == 0).then_some(Self(bits))
    }

    /// Those of these numbers that are known.
    #[must_use]
    pub fn known(bits: u32) -> Self {
        Self(bits & Self::KNOWN)
    }

    /// The flags as FS_IOC_SETFLAGS numbers them.
    #[must_use]
    pub fn bits(self) -> u32 {
        self.0
    }

    /// True when any of `others` is among them.
    #[must_use]
    pub fn any(self, others: InodeFlags) -> bool {
        self.0 & others.0 != 0
    }

    /// Those that only one of both has.
    #[must_use]
    pub fn differing(self, other: InodeFlags) -> Self {
        Self(self.0 ^ other.0)
    }

    /// What a directory with these hands down to files and directories that are made in it.
    #[must_use]
    pub fn inherited(self) -> Self {
        Self(self.0 & Self::INHERITED)
    }
}

impl std::ops::BitOr for InodeFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl TryFrom<u32> for InodeFlags {
    type Error = &'static str;

    fn try_from(bits: u32) -> Result<Self, Self::Error> {
        Self::new(bits).ok_or("there is no such inode flag")
    }
}

impl From<InodeFlags> for u32 {
    fn from(flags: InodeFlags) -> Self {
        flags.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_is_a_flag() {
        let all = InodeFlags::PROTECTING | InodeFlags::NO_DUMP | InodeFlags::NO_ATIME;
        assert_eq!(InodeFlags::new(0xf0), Some(all));
        for bit in (0..32).filter(|bit| !(4..8).contains(bit)) {
            assert_eq!(InodeFlags::new(1 << bit), None);
            assert_eq!(InodeFlags::known(0x10 | 1 << bit), InodeFlags::IMMUTABLE);
        }
        assert_eq!(all.inherited(), InodeFlags::NO_DUMP | InodeFlags::NO_ATIME);
        assert_eq!(
            all.differing(InodeFlags::PROTECTING | InodeFlags::NO_DUMP),
            InodeFlags::NO_ATIME
        );
    }
}
