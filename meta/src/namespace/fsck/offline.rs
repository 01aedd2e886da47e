//! Examining a store that nobody serves, and repairing it.

use super::found::report;
use super::lost::lost;
use super::reading::{Reading, read};
use super::repair::repair;
use super::{names, space, xattrs};
use crate::id::Term;
use crate::namespace::persist::{Change, changes_of};
use crate::namespace::{format, record};
use crate::problem::{Examination, Problem};
use crate::store::{Batch, Store, StoreError};
use crate::time::Timestamp;
use crate::tree::Tree;
use thiserror::Error;

/// What was found in a store, and what would put it right.
#[derive(Debug)]
pub struct Examined {
    /// What was found: everything that is wrong.
    pub examination: Examination,
    repair: Result<Vec<Change>, Unrepairable>,
}

/// A store that is left as it is.
#[derive(Debug, Error)]
enum Unrepairable {
    #[error("it may be of another version of rdmafs, so nothing was changed")]
    Foreign,
    #[error("a repair would leave this, so nothing was changed: {0}")]
    Left(Problem),
}

/// Examines a whole store and plans its repair; changes nothing. Takes time and memory in proportion to the namespace. Blocking.
///
/// # Errors
/// The store's; [`StoreError::NewerFormat`]. Damage is none: it is what is looked for.
pub fn examine(store: &dyn Store, now: Timestamp) -> Result<Examined, StoreError> {
    let mut reading = read(store, now)?;
    let mut found = std::mem::take(&mut reading.found);
    let (mut entries, mut bytes) = (0, 0);
    if !reading.is_new {
        // A file that nobody closed has space past its size: the next start drops it.
        entries = names::examine(&reading.tree, &mut found);
        bytes = space::examine(&reading.tree, &|_| false, &mut found);
    }
    let problems = report(&reading.tree, &found);
    let examination = Examination {
        inodes: reading.tree.len(),
        entries,
        bytes,
        wrong: problems.len() as u64,
        problems,
        // Memory ends with the node.
        lost: lost(&reading.tree, false),
    };
    repair(&mut reading.tree, &found, now);
    let repair = if examination.problems.is_empty() {
        Ok(Vec::new())
    } else {
        plan(reading)
    };
    Ok(Examined { examination, repair })
}

impl Examined {
    /// Does what each [`Problem::remedy`] says. A repair that was interrupted has done a part of it; another examination and repair
    /// does the rest. Whoever else writes to the store is shut out. Blocking.
    ///
    /// # Errors
    /// The store's; [`StoreError::Damaged`] when this cannot be repaired, and then nothing was changed.
    pub fn repair(self, store: &mut dyn Store) -> Result<(), StoreError> {
        let changes = self.repair.map_err(|why| StoreError::Damaged(why.to_string()))?;
        if changes.is_empty() {
            return Ok(());
        }
        let term = Term(store.term()?.0 + 1);
        store.take_over(term)?;
        store.commit(&Batch::split(changes), term)
    }
}

/// The changes that make a store of what was mended in memory, or why there is no such thing.
fn plan(mut reading: Reading) -> Result<Vec<Change>, Unrepairable> {
    if reading.foreign {
        return Err(Unrepairable::Foreign);
    }
    if let Some(left) = first_problem(&reading.tree) {
        return Err(Unrepairable::Left(left));
    }
    let removals = reading.remove.into_iter().map(|key| (key, None));
    let ceiling = reading.tree.next.0.to_be_bytes().to_vec();
    let head = [
        (format::KEY.to_vec(), Some(vec![format::NEWEST])),
        (record::CEILING_KEY.to_vec(), Some(ceiling)),
    ];
    // What is removed first stays away, unless it is put again.
    Ok(removals
        .chain(head)
        .chain(changes_of(&mut reading.tree))
        .collect())
}

fn first_problem(tree: &Tree) -> Option<Problem> {
    let mut found = Vec::new();
    names::examine(tree, &mut found);
    space::examine(tree, &|_| false, &mut found);
    xattrs::examine(tree, &mut found);
    report(tree, &found).into_iter().next()
}
