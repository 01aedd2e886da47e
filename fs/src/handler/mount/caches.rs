//! What files tell the kernels behind their mounts, taken to each mount.

use super::registry::Registry;
use super::state::Mount;
use crate::handler::file::{Committed, KernelCaches};
use crate::handler::values::MountId;
use rdmafs_meta::id::InodeId;

impl KernelCaches for Registry<Mount> {
    fn invalidate(&self, ino: InodeId, writers: &[MountId]) {
        for mount in self.all() {
            if !writers.contains(&mount.id) {
                mount.data_changed(ino);
            }
        }
    }

    fn invalidate_attributes(&self, ino: InodeId) {
        for mount in self.all() {
            mount.attributes_changed(ino, None);
        }
    }

    fn committed(&self, commit: &Committed<'_>) {
        let after = commit.after;
        for other in self.all() {
            let alone = commit.writers == [other.id];
            match commit.before {
                // One step further, by this mount's own bytes: its pages are of the new version.
                Some(before) if alone && before.version.0 + 1 == after.version.0 => {
                    other
                        .kernel_cache
                        .lock()
                        .advanced(after.ino, before.version, after.version);
                }
                // Nothing else is known to have changed what this mount caches; its next open asks.
                _ if alone || other.id == commit.mount => {}
                _ => other.data_changed(after.ino),
            }
        }
    }
}
