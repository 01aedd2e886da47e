//! What an examination notes down, and how it becomes what a person reads.

use super::paths::Paths;
use crate::id::InodeId;
use crate::name::Name;
use crate::problem::{Problem, ProblemKind};
use crate::tree::Tree;

/// One thing that is wrong.
#[derive(Clone, Debug)]
pub(in crate::namespace) struct Found {
    pub(in crate::namespace) kind: ProblemKind,
    /// The inode, or the directory whose entry it is.
    pub(in crate::namespace) ino: Option<InodeId>,
    /// The entry.
    pub(in crate::namespace) name: Option<Name>,
    pub(in crate::namespace) what: String,
    pub(in crate::namespace) remedy: String,
    pub(in crate::namespace) fix: Fix,
}

/// What is done about it. All fixes of one examination fit together: each says how things are when all are done.
#[derive(Clone, Debug)]
pub(in crate::namespace) enum Fix {
    /// Nothing: it was put right as it was read, or it cannot be.
    None,
    /// The entry goes.
    RemoveEntry(InodeId, Name),
    /// The inode gets this link count.
    Links(InodeId, u64),
    /// The directory gets this parent.
    Parent(InodeId, InodeId),
    /// The file's bytes in this range (start, end) are lost.
    Lose(InodeId, (u64, u64)),
    /// The file's allocated bytes are counted anew.
    Allocated(InodeId),
    /// The inode gets a name in `/lost+found`.
    Save(InodeId),
}

impl Found {
    /// Something wrong with an inode that is put right as it is read, or that nothing is done about.
    pub(in crate::namespace) fn about(
        kind: ProblemKind,
        ino: impl Into<Option<InodeId>>,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            ino: ino.into(),
            name: None,
            what: what.into(),
            remedy: remedy.into(),
            fix: Fix::None,
        }
    }

    /// Makes it a problem of the entry `name` of that directory.
    pub(in crate::namespace) fn entry(self, name: &Name) -> Self {
        Self {
            name: Some(name.clone()),
            ..self
        }
    }

    /// Says what a repair does about it.
    pub(in crate::namespace) fn fixed_by(self, fix: Fix) -> Self {
        Self { fix, ..self }
    }
}

/// What a person reads. The paths are those of the tree before anything is mended.
pub(in crate::namespace) fn report(tree: &Tree, found: &[Found]) -> Vec<Problem> {
    let paths = Paths::to_these(tree, found.iter().filter_map(|found| found.ino).collect());
    let problem = |found: &Found| Problem {
        kind: found.kind,
        inode: found.ino,
        path: found.ino.and_then(|ino| paths.to(ino, found.name.as_ref())),
        what: found.what.clone(),
        remedy: found.remedy.clone(),
    };
    found.iter().map(problem).collect()
}
