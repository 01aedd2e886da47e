//! Counts what random operations really did: a run in which a kind of operation never succeeded, or was never refused, proves
//! nothing of it.

use crate::ops::{Action, Op, Outcome, Rename, SLOTS};
use nix::errno::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Every kind that [`Coverage`] tells apart.
const KINDS: [&str; 28] = [
    "open",
    "open, truncate",
    "open, append",
    "create",
    "create, exclusive",
    "close",
    "read",
    "write",
    "append",
    "sync",
    "ftruncate",
    "fstat",
    "truncate",
    "stat",
    "mkdir",
    "rmdir",
    "unlink",
    "link",
    "symlink",
    "readlink",
    "rename",
    "rename, no replace",
    "rename, exchange",
    "chmod",
    "chown",
    "set time",
    "list",
    "end of file",
];

/// How often each kind succeeded, and how often it was refused with which errno.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    succeeded: BTreeMap<&'static str, u32>,
    refused: BTreeMap<&'static str, BTreeMap<i32, u32>>,
    appends: [bool; SLOTS],
}

impl Coverage {
    /// Counts an operation and gives back what came of it.
    pub fn counted(&mut self, op: &Op, outcome: Outcome) -> Outcome {
        let kind = self.kind(op, &outcome);
        if let Outcome::Refused(errnos) = &outcome {
            let all = self.refused.entry(kind).or_default();
            errnos
                .iter()
                .for_each(|errno| *all.entry(*errno).or_default() += 1);
            return outcome;
        }
        if let Action::Open { slot, how, .. } = &op.action {
            self.appends[*slot] = how.append;
        }
        *self.succeeded.entry(kind).or_default() += 1;
        outcome
    }

    /// Operations that were counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        let refused = self.refused.values().flat_map(BTreeMap::values);
        self.succeeded
            .values()
            .chain(refused)
            .map(|count| u64::from(*count))
            .sum()
    }

    /// # Panics
    /// If a kind succeeded or was refused less often than `least`, or one of `errnos` never came.
    pub fn require(&self, least: u32, errnos: &[Errno]) {
        for kind in KINDS {
            let succeeded = self.succeeded.get(kind).copied().unwrap_or(0);
            let refused: u32 = self
                .refused
                .get(kind)
                .into_iter()
                .flat_map(BTreeMap::values)
                .sum();
            // Nothing refuses the end of a file.
            let enough = succeeded >= least && (refused >= least || kind == "end of file");
            assert!(
                enough,
                "{kind}: {succeeded} succeeded, {refused} refused, wanted {least}\n{self}"
            );
        }
        let seen: BTreeSet<i32> = self.refused.values().flat_map(BTreeMap::keys).copied().collect();
        for errno in errnos {
            assert!(
                seen.contains(&(*errno as i32)),
                "nothing was refused with {errno}\n{self}"
            );
        }
    }

    fn kind(&self, op: &Op, outcome: &Outcome) -> &'static str {
        match &op.action {
            Action::Open { how, .. } if how.create && how.exclusive => "create, exclusive",
            Action::Open { how, .. } if how.create => "create",
            Action::Open { how, .. } if how.truncate => "open, truncate",
            Action::Open { how, .. } if how.append => "open, append",
            Action::Open { .. } => "open",
            Action::Close { .. } => "close",
            Action::Read { .. } if *outcome == Outcome::Bytes(Vec::new()) => "end of file",
            Action::Read { .. } => "read",
            Action::Write { slot, .. } if self.appends[*slot] => "append",
            Action::Write { .. } => "write",
            Action::Sync { .. } => "sync",
            Action::FileTruncate { .. } => "ftruncate",
            Action::FileStat { .. } => "fstat",
            Action::Truncate { .. } => "truncate",
            Action::Stat { .. } => "stat",
            Action::MakeDir { .. } => "mkdir",
            Action::RemoveDir { .. } => "rmdir",
            Action::Unlink { .. } => "unlink",
            Action::Link { .. } => "link",
            Action::Symlink { .. } => "symlink",
            Action::ReadLink { .. } => "readlink",
            Action::Rename { how, .. } => match how {
                Rename::Replace => "rename",
                Rename::NoReplace => "rename, no replace",
                Rename::Exchange => "rename, exchange",
            },
            Action::Chmod { .. } => "chmod",
            Action::Chown { .. } => "chown",
            Action::SetTime { .. } => "set time",
            Action::List { .. } => "list",
        }
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} operations", self.total())?;
        for kind in KINDS {
            let succeeded = self.succeeded.get(kind).unwrap_or(&0);
            write!(f, "{kind:20} {succeeded:7} succeeded; refused:")?;
            for (errno, count) in self.refused.get(kind).into_iter().flatten() {
                write!(f, " {:?} {count}", Errno::from_raw(*errno))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
