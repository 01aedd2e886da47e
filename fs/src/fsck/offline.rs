//! The namespace of a node that does not run, in its state directory.

use crate::node::{Clocks, Purpose, StateDir};
use rdmafs_meta::id::Term;
use rdmafs_meta::namespace::{Identity, examine};
use rdmafs_meta::problem::Examination;
use rdmafs_meta::store::{Store, StoreError};
use std::path::Path;

/// What became of a state directory.
#[derive(Debug)]
pub struct Outcome {
    /// What was found.
    pub found: Examination,
    /// What was left after a repair; `None` when none was asked for or needed.
    pub left: Option<Examination>,
}

/// Examines a state directory and, with `repair`, puts right what is wrong; without, its store is not changed. The node must not
/// run. `progress` hears what is done. Blocking; takes time and memory in proportion to the namespace.
///
/// # Errors
/// One line: in use, not accessible, or so damaged that it cannot be read or repaired.
pub fn state_dir(dir: &Path, repair: bool, mut progress: impl FnMut(&str)) -> Result<Outcome, String> {
    let purpose = if repair { Purpose::Repair } else { Purpose::Look };
    progress("comparing checksums");
    let mut store = StateDir::open(dir, purpose)?;
    let now = Clocks::default().now().wall;
    let failed = |error: StoreError| format!("cannot examine {}: {error}", dir.display());
    progress("examining");
    let examined = examine(&store, now).map_err(failed)?;
    let found = examined.examination.clone();
    if !repair || found.wrong == 0 {
        return Ok(Outcome { found, left: None });
    }
    progress("repairing");
    let failed = |error: StoreError| format!("cannot repair {}: {error}", dir.display());
    examined.repair(&mut store).map_err(failed)?;
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
/// One line: in use, not accessible or damaged, or it does not keep a size.
pub fn resize(dir: &Path, memory: u64) -> Result<(), String> {
    let mut store = StateDir::open(dir, Purpose::Repair)?;
    let name = dir.display();
    let failed = |error: StoreError| format!("cannot resize {name}: {error}");
    let Some(before) = Identity::read(&store).map_err(failed)? else {
        return Err(format!(
            "{name} does not keep a size yet: its next start takes the one of --memory"
        ));
    };
    let identity = Identity {
        memory,
        largest: before.largest.max(memory),
        ..before
    };
    let term = Term(store.term().map_err(failed)?.0 + 1);
    store
        .take_over(term)
        .and_then(|()| store.commit(&[identity.batch()], term))
        .map_err(failed)
}
