//! What can be wrong with a namespace, as `rdmafs fsck` tells it.
//!
//! A store on disk and a pool that is being served are described in the same words, so that a person learns them once.

use crate::id::InodeId;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Longest [`Problem::path`] in bytes; of a longer one the end is kept.
pub const MAX_PATH: usize = 400;

/// A kind of damage. Crosses the wire, so kinds are only ever appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ProblemKind {
    /// The store says it is of another format.
    UnknownFormat,
    /// A key that none of ours looks like.
    MalformedKey,
    /// A value that cannot be read.
    MalformedValue,
    /// The number from which on inode ids are free is missing or too low, so an id could be given twice.
    BadCeiling,
    /// An inode that stands under another inode's key.
    WrongInodeId,
    /// An attribute that no inode can have.
    BadAttribute,
    /// There is no root directory.
    NoRoot,
    /// Entries of a directory that is not there.
    LostDirectory,
    /// Entries of what is no directory.
    EntryOfNonDirectory,
    /// An entry with a name that no file can have.
    BadName,
    /// An entry whose place in its directory is taken or was never given out.
    BadCookie,
    /// An entry that leads to an inode that is not there.
    DanglingEntry,
    /// A directory with more than one name, or below itself.
    DirectoryWithTwoNames,
    /// An inode that has links and no entry, or a directory that cannot be reached from the root.
    Orphan,
    /// A link count that is not the number of entries.
    WrongLinks,
    /// A directory whose ".." is not the directory that it is in.
    WrongParent,
    /// A part of a layout that belongs to no file.
    StraySegment,
    /// A run in another segment of its file than the one that covers it.
    RunInWrongSegment,
    /// A run that no layout can have.
    BadRun,
    /// Two places for the same bytes of one file.
    OverlappingRuns,
    /// Memory that two files claim.
    SharedExtent,
    /// An extent that reaches past the memory of its node.
    ExtentBeyondArena,
    /// A file's allocated bytes are not those of its runs.
    WrongAllocated,
    /// A file that nobody has open has memory past its size.
    LooseSpace,
    /// Used, free and quarantined bytes are not all there are.
    WrongSum,
    /// What sessions hold does not agree with the inodes.
    WrongOpens,
    /// An extended attribute of an inode that is not there.
    StrayXattr,
    /// An extended attribute that is too long, or one more than an inode can have.
    BadXattr,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The kind of damage.
    pub kind: ProblemKind,
    /// The inode that it is about, if it is about one.
    pub inode: Option<InodeId>,
    /// A path to it, from the root of the pool, if there is one; bytes beyond printable ASCII are escaped.
    pub path: Option<String>,
    /// What is wrong.
    pub what: String,
    /// What a repair does about it.
    pub remedy: String,
}

/// What an examination found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Examination {
    /// Inodes that there are.
    pub inodes: u64,
    /// Entries of all directories.
    pub entries: u64,
    /// Bytes of files that have a place in memory, lost ones included.
    pub bytes: u64,
    /// How many things are wrong.
    pub wrong: u64,
    /// What is wrong, or a part of it.
    pub problems: Vec<Problem>,
    /// What files have lost with the memory that held it. Nothing is wrong with the namespace for it, and no repair brings it back.
    pub lost: Lost,
}

/// What files have lost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// Files that have lost bytes.
    pub files: u64,
    /// Bytes that they lost, in units of memory (4 KiB).
    pub bytes: u64,
    /// The first of these files, at most [`MAX_LISTED`].
    pub listed: Vec<LostFile>,
}

/// A file that has lost bytes: reading these is EIO until it is truncated before them or removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostFile {
    /// The file that lost bytes.
    pub inode: InodeId,
    /// A path to it, as in [`Problem::path`].
    pub path: Option<String>,
    /// How many bytes the file lost.
    pub bytes: u64,
}

/// Most files that are listed as having lost bytes: they fit a message beside the problems.
pub const MAX_LISTED: usize = 40;

impl ProblemKind {
    /// The word for it, as text and JSON show it.
    // A table reads best with a line for each kind.
    #[rustfmt::skip]
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::UnknownFormat => "unknown-format",
            Self::MalformedKey => "malformed-key",
            Self::MalformedValue => "malformed-value",
            Self::BadCeiling => "bad-ceiling",
            Self::WrongInodeId => "wrong-inode-id",
            Self::BadAttribute => "bad-attribute",
            Self::NoRoot => "no-root",
            Self::LostDirectory => "lost-directory",
            Self::EntryOfNonDirectory => "entry-of-non-directory",
            Self::BadName => "bad-name",
            Self::BadCookie => "bad-cookie",
            Self::DanglingEntry => "dangling-entry",
            Self::DirectoryWithTwoNames => "directory-with-two-names",
            Self::Orphan => "orphan",
            Self::WrongLinks => "wrong-links",
            Self::WrongParent => "wrong-parent",
            Self::StraySegment => "stray-piece",
            Self::RunInWrongSegment => "run-in-wrong-piece",
            Self::BadRun => "bad-run",
            Self::OverlappingRuns => "overlapping-runs",
            Self::SharedExtent => "shared-extent",
            Self::ExtentBeyondArena => "extent-beyond-arena",
            Self::WrongAllocated => "wrong-allocated",
            Self::LooseSpace => "loose-space",
            Self::WrongSum => "wrong-sum",
            Self::WrongOpens => "wrong-opens",
            Self::StrayXattr => "stray-xattr",
            Self::BadXattr => "bad-xattr",
        }
    }
}

/// Without what a repair does.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind.word())?;
        if let Some(inode) = self.inode {
            write!(f, ": inode {inode}")?;
        }
        if let Some(path) = &self.path {
            write!(f, " ({path})")?;
        }
        write!(f, ": {}", self.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_a_line() {
        let mut problem = Problem {
            kind: ProblemKind::WrongLinks,
            inode: Some(InodeId(7)),
            path: Some("/a/b".into()),
            what: "its link count is 2 and should be 1".into(),
            remedy: "say 1".into(),
        };
        assert_eq!(
            problem.to_string(),
            "wrong-links: inode 7 (/a/b): its link count is 2 and should be 1"
        );
        (problem.inode, problem.path) = (None, None);
        assert_eq!(
            problem.to_string(),
            "wrong-links: its link count is 2 and should be 1"
        );
    }
}
