//! To whom each granule of the arena belongs, watched from outside: a write lands in its own file, or in what that file gave up and is
//! not clean yet.

use rdmafs_fs::handler::testing::Watch;
use rdmafs_meta::extent::{Extent, GRANULE};
use rdmafs_meta::layout::ReplicaState;
use rdmafs_meta::namespace::Namespace;
use rdmafs_rdma::sim::Access;

/// The arena, by granules.
#[derive(Debug, Default)]
pub(super) struct Ground {
    /// Whose it is, or was last while it is not clean.
    owners: Vec<Option<u64>>,
    /// What went wrong first.
    pub(super) wrong: Option<String>,
    /// Writes that landed.
    pub(super) landed: u64,
    /// Of these, in what their file had given up: late, and harmless.
    pub(super) late: u64,
}

impl Ground {
    pub(super) fn new(arena: u64) -> Self {
        Self {
            owners: vec![None; index(arena / GRANULE)],
            ..Self::default()
        }
    }

    /// The arena began another life.
    pub(super) fn renew(&mut self) {
        self.owners.fill(None);
    }

    /// Takes in what the namespace says now; gives what is in use at this moment.
    fn look(&mut self, namespace: &Namespace) -> Vec<bool> {
        let mut used = vec![false; self.owners.len()];
        for (ino, _, copy) in namespace.places() {
            if copy.state != ReplicaState::Valid {
                continue;
            }
            for granule in granules(copy.extent.offset, copy.extent.len) {
                if std::mem::replace(&mut used[granule], true) {
                    self.complain(format!("granule {granule} is in two files, one of them {ino}"));
                }
                self.owners[granule] = Some(ino.0);
            }
        }
        used
    }

    fn complain(&mut self, what: String) {
        self.wrong.get_or_insert(what);
    }
}

impl Watch for Ground {
    fn changed(&mut self, namespace: &Namespace) {
        self.look(namespace);
    }

    fn written(&mut self, namespace: &Namespace, write: Access<'_>) {
        let used = self.look(namespace);
        self.landed += 1;
        let ino = write.queue as u64;
        for granule in granules(write.remote, write.bytes.len() as u64) {
            let owner = self.owners[granule];
            self.late += u64::from(!used[granule]);
            if owner != Some(ino) {
                self.complain(format!(
                    "a write to inode {ino} landed in granule {granule}, which belongs to {owner:?}"
                ));
            }
        }
    }

    fn cleans(&mut self, extents: &[Extent]) {
        for granule in extents
            .iter()
            .flat_map(|extent| granules(extent.offset, extent.len))
        {
            self.owners[granule] = None;
        }
    }
}

fn granules(offset: u64, len: u64) -> impl Iterator<Item = usize> {
    (offset / GRANULE..(offset + len).div_ceil(GRANULE)).map(index)
}

fn index(granule: u64) -> usize {
    usize::try_from(granule).unwrap_or(usize::MAX)
}
