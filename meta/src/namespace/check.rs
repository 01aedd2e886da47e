//! What must be true between two calls. Tests ask after every step, a load before it serves, and `rdmafs fsck` of a pool in use.

use super::fsck::{Found, examine_names, examine_space, examine_xattrs, lost, report};
use super::service::Namespace;
use crate::error::{Inconsistency, MetaError};
use crate::id::{Incarnation, InodeId};
use crate::layout::{LayoutMap, ReplicaState};
use crate::problem::{Examination, Problem, ProblemKind};
use crate::tree::Body;
use crate::wire::{Answer, Reply};
use std::collections::BTreeSet;

/// Bytes of problems in one answer, so that it fits a message.
const PAGE_BYTES: usize = 40 * 1024;

impl Namespace {
    /// Checks every invariant of the namespace; says which one is broken. Takes time in proportion to the pool.
    ///
    /// # Errors
    /// The first that does not hold.
    pub fn check(&self) -> Result<(), Inconsistency> {
        match self.examine().problems.first() {
            Some(problem) => Err(Inconsistency(problem.to_string())),
            None if !self.tree.knows_parents() => {
                Err(Inconsistency("parents of directories are mistaken".into()))
            }
            None => {
                self.tree.check_accounts()?;
                self.locks
                    .check(|session, ino| self.sessions.held(session, ino).is_ok())
            }
        }
    }

    /// Finds everything that is wrong. Takes time in proportion to the pool.
    #[must_use]
    pub fn examine(&self) -> Examination {
        let mut found = Vec::new();
        let open: BTreeSet<InodeId> = self.sessions.open_inodes().collect();
        let closed = |ino: InodeId| !open.contains(&ino) && !self.orphans.contains(&ino);
        let entries = examine_names(&self.tree, &mut found);
        let bytes = examine_space(&self.tree, &closed, &mut found);
        examine_xattrs(&self.tree, &mut found);
        self.examine_opens(&open, &mut found);
        self.examine_sums(&mut found);
        let problems = report(&self.tree, &found);
        Examination {
            inodes: self.tree.len(),
            entries,
            bytes,
            wrong: problems.len() as u64,
            problems,
            lost: lost(&self.tree, true),
        }
    }

    /// One page of what [`Namespace::examine`] finds, for root.
    pub(super) fn examined(&self, uid: u32, skip: u64) -> Answer {
        if uid != 0 {
            return Err(MetaError::NotOwner);
        }
        let mut examination = self.examine();
        let mut bytes = 0;
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        let fits = |problem: &Problem| {
            let texts = [Some(&problem.what), Some(&problem.remedy), problem.path.as_ref()];
            bytes += 32 + texts.into_iter().flatten().map(String::len).sum::<usize>();
            bytes <= PAGE_BYTES
        };
        let problems = std::mem::take(&mut examination.problems).into_iter();
        if skip > 0 {
            // The first page has listed them.
            examination.lost.listed.clear();
        }
        examination.problems = problems.skip(skip).take_while(fits).collect();
        Ok(Reply::Examined(examination))
    }

    /// What has no name is open, or on its way out.
    fn examine_opens(&self, open: &BTreeSet<InodeId>, found: &mut Vec<Found>) {
        let mut wrong = |ino: InodeId, what: &str| {
            found.push(Found::about(
                ProblemKind::WrongOpens,
                ino,
                what,
                "restart the node",
            ));
        };
        for inode in self.tree.iter().filter(|inode| inode.attr.nlink == 0) {
            let ino = inode.attr.ino;
            if !open.contains(&ino) && !self.orphans.contains(&ino) {
                wrong(ino, "it has neither names nor opens");
            }
        }
        for ino in open {
            if self.orphans.contains(ino) {
                wrong(*ino, "it is open and being removed");
            }
            if self.tree.get(*ino).is_err() {
                wrong(*ino, "it is open and does not exist");
            }
        }
    }

    /// Every byte of every arena is free, in quarantine, or in one place of one file.
    fn examine_sums(&self, found: &mut Vec<Found>) {
        let mut used: u64 = 0;
        for inode in self.tree.iter() {
            let Body::File { layout, .. } = &inode.body else {
                continue;
            };
            used = used.saturating_add(self.present(inode.attr.ino, layout, found));
        }
        let mut wrong = |what: String| {
            found.push(Found::about(
                ProblemKind::WrongSum,
                None,
                what,
                "restart the node",
            ));
        };
        let (free, waiting) = (self.alloc.free_bytes(), self.alloc.quarantined_bytes());
        let total = self.alloc.total();
        if used.saturating_add(free).saturating_add(waiting) != total {
            wrong(format!(
                "{used} bytes used, {free} free and {waiting} in quarantine are not the {total} there are"
            ));
        }
        let recalled: u64 = self.sessions.recalled().map(|extent| extent.len).sum();
        if recalled > waiting {
            wrong(format!(
                "{recalled} bytes are recalled and {waiting} in quarantine"
            ));
        }
    }

    /// The bytes of a file that lie in the arenas there are.
    fn present(&self, ino: InodeId, layout: &LayoutMap, found: &mut Vec<Found>) -> u64 {
        let mut bytes = 0;
        for copy in layout.runs().flat_map(|run| &run.replicas) {
            let extent = copy.extent;
            let of_node = self.alloc.arenas().find(|arena| arena.0 == extent.node);
            let arena = of_node.filter(|arena| arena.1 == extent.incarnation);
            let is_gone = of_node.is_some() && arena.is_none() || extent.incarnation == Incarnation::NEVER;
            let is_lost = copy.state == ReplicaState::Lost;
            let mut wrong = |kind, what: String| {
                found.push(Found::about(kind, ino, what, "restart the node"));
            };
            // Of a node that is not known nobody can say which incarnation is over.
            if is_lost && arena.is_some() || !is_lost && is_gone {
                let there = if is_gone { "gone" } else { "present" };
                wrong(
                    ProblemKind::BadRun,
                    format!("{extent:?} is in an arena that is {there}, and {:?}", copy.state),
                );
            }
            if let Some((_, _, len)) = arena {
                bytes += extent.len;
                if extent.end() > len {
                    let what = format!("{extent:?} ends past the arena's {len} bytes");
                    wrong(ProblemKind::ExtentBeyondArena, what);
                }
            }
        }
        bytes
    }
}
