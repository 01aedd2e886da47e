//! Counts what random operations really did: a run in which a kind of operation never succeeded, or was never refused, proves
//! nothing of it.

use crate::ops::{Observed, Op, Outcome, kinds};
use nix::errno::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Kinds that are told by what came of an operation: a refused one counts as of another.
const NEVER_REFUSED: [&str; 3] = ["end of file", "get lock, free", "compare, no swap"];

/// How often each kind succeeded, and how often it was refused with which errno.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    succeeded: BTreeMap<&'static str, u32>,
    refused: BTreeMap<&'static str, BTreeMap<i32, u32>>,
    observed: Observed,
}

impl Coverage {
    /// Counts an operation and gives back what came of it.
    pub fn counted(&mut self, op: &Op, outcome: Outcome) -> Outcome {
        let kind = op.action.kind(&outcome, &mut self.observed);
        if let Outcome::Refused(errnos) = &outcome {
            let all = self.refused.entry(kind).or_default();
            errnos
                .iter()
                .for_each(|errno| *all.entry(*errno).or_default() += 1);
            return outcome;
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
        for kind in kinds() {
            let succeeded = self.succeeded.get(kind).copied().unwrap_or(0);
            let refused: u32 = self
                .refused
                .get(kind)
                .into_iter()
                .flat_map(BTreeMap::values)
                .sum();
            let enough = succeeded >= least && (refused >= least || NEVER_REFUSED.contains(&kind));
            assert!(
                enough,
                "{kind}: {succeeded} succeeded, {refused} refused, wanted {least}\n{self}"
            );
        }
        let observed: BTreeSet<i32> = self.refused.values().flat_map(BTreeMap::keys).copied().collect();
        for errno in errnos {
            assert!(
                observed.contains(&(*errno as i32)),
                "nothing was refused with {errno}\n{self}"
            );
        }
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} operations", self.total())?;
        for kind in kinds() {
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
