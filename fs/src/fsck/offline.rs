//! The namespace of a node that does not run, in its state directory.

use crate::node::{Clocks, Purpose, StateDir, StateDirError};
use rdmafs_meta::id::Term;
use rdmafs_meta::namespace::{Identity, examine};
use rdmafs_meta::problem::Examination;
use rdmafs_meta::store::{Store, StoreError};
use rdmafs_rdma::shown::shown;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// What became of a state directory.
#[derive(Debug)]
pub struct Outcome {
    /// The problems and lost files that were found.
    pub found: Examination,
    /// What was left after a repair; `None` when none was asked for or needed.
    pub left: Option<Examination>,
}

/// A state directory that cannot be examined, repaired or resized.
#[derive(Debug, Error)]
pub enum OfflineError {
    /// The directory cannot be opened.
    #[error(transparent)]
    Open(#[from] StateDirError),
    /// The store failed in this step.
    #[error("cannot {step} {}: {source}", shown(.dir))]
    Store {
        /// What was being done: `examine`, `repair`, `resize`.
        step: &'static str,
        /// The directory.
        dir: PathBuf,
        /// What the store says.
        source: StoreError,
    },
    /// The directory is from before sizes were kept.
    #[error("{} does not keep a size yet: its next start takes the one of --memory", shown(.0))]
    NoSize(PathBuf),
}

/// Examines a state directory and, with `repair`, puts right what is wrong; without, its store is not changed. The node must not
/// run. `progress` hears what is done. Blocking; takes time and memory in proportion to the namespace.
///
/// # Errors
/// In use, not accessible, or so damaged that it cannot be read or repaired.
pub fn state_dir(dir: &Path, repair: bool, mut progress: impl FnMut(&str)) -> Result<Outcome, OfflineError> {
    let purpose = if repair { Purpose::Repair } else { Purpose::Look };
    progress("comparing checksums");
    let mut store = StateDir::open(dir, purpose)?;
    let now = Clocks::default().now().wall;
    let failed = in_step("examine", dir);
    progress("examining");
    let examined = examine(&store, now).map_err(&failed)?;
    let found = examined.examination.clone();
    if !repair || found.wrong == 0 {
        return Ok(Outcome { found, left: None });
    }
    progress("repairing");
    let failed = in_step("repair", dir);
    examined.repair(&mut store).map_err(&failed)?;
    progress("examining again");
    let left = examine(&store, now).map_err(failed)?.examination;
    Ok(Outcome {
        found,
        left: Some(left),
    })
}

/// Lets the pool of a state directory have another size from its next start on: `memory` is in bytes. The node must not run. Blocking.
///
/// # Errors
/// In use, not accessible or damaged, or it does not keep a size.
pub fn resize(dir: &Path, memory: u64) -> Result<(), OfflineError> {
    let mut store = StateDir::open(dir, Purpose::Repair)?;
    let failed = in_step("resize", dir);
    let Some(before) = Identity::read(&store).map_err(&failed)? else {
        return Err(OfflineError::NoSize(dir.to_owned()));
    };
    let identity = Identity {
        memory,
        largest: before.largest.max(memory),
        ..before
    };
    let term = Term(store.term().map_err(&failed)?.0 + 1);
    store
        .take_over(term)
        .and_then(|()| store.commit(&[identity.batch()], term))
        .map_err(failed)
}

fn in_step(step: &'static str, dir: &Path) -> impl Fn(StoreError) -> OfflineError {
    move |source| OfflineError::Store {
        step,
        dir: dir.to_owned(),
        source,
    }
}
