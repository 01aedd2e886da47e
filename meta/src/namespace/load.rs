//! Reading a namespace back from its store.
//!
//! Names and attributes are all there. Bytes are not: no arena is known yet, and a new incarnation of one makes lost what lay in
//! those before it; otherwise each copy has the state that is stored with it. Space past a file's size was never committed, so the load drops it; files without names go too. Anything that
//! is wrong ends the load: it is for `rdmafs fsck` to say what is done about it.

use super::format;
use super::fsck::{self, Fix, Found};
use super::name_log::NameLog;
use super::output::Config;
use super::persist::ID_BLOCK;
use super::service::Namespace;
use crate::alloc::Allocator;
use crate::holders::Holders;
use crate::id::{InodeId, Stamp, Term};
use crate::leases::{Leases, MOST_LEASES};
use crate::locks::Locks;
use crate::problem::ProblemKind;
use crate::session::Sessions;
use crate::store::{Batch, Store, StoreError};
use crate::time::Now;
use crate::tree::Body;
use std::collections::BTreeMap;

impl Namespace {
    /// Loads what the store holds, or makes a root directory in an empty one. The new [`Term`] and a fresh block of
    /// inode ids are committed before this returns. Blocking: call it before serving.
    ///
    /// # Errors
    /// The store's, or that what it holds is no sound namespace, or of a newer format: then nothing was written.
    pub fn load(store: &mut dyn Store, config: Config, now: Now) -> Result<Self, StoreError> {
        format::refuse_newer(store)?;
        let term = Term(store.term()?.0 + 1);
        store.take_over(term)?;
        let mut reading = fsck::read(store, now.wall)?;
        if reading.is_new && reading.ceiling.is_none() {
            // Small, for programs with 32 bits for one; a mount never meets the ids of another pool (docs/adr/0015).
            reading.tree.next = InodeId(InodeId::ROOT.0 + 1);
        }
        let next = reading.tree.next;
        let nameless = reading.tree.iter().filter(|inode| inode.attr.nlink == 0);
        let orphans = nameless.map(|inode| inode.attr.ino).collect();
        let mut loaded = Namespace {
            term,
            sessions: Sessions::new(term, config.lease),
            tree: reading.tree,
            locks: Locks::default(),
            leases: Leases::new(MOST_LEASES),
            holders: Holders::new(reading.holders, now.monotonic),
            name_log: NameLog::default(),
            rooms: BTreeMap::new(),
            stamp: Stamp::NONE,
            alloc: Allocator::default(),
            orphans,
            lost: BTreeMap::new(),
            ceiling: InodeId(next.0 + ID_BLOCK / 2),
            home: None,
            config,
        };
        loaded.refuse(reading.found)?;
        loaded.make_sound(now);
        loaded.tree.begin_accounts(loaded.config.metadata);
        let checked = loaded.check();
        checked.map_err(|wrong| StoreError::Damaged(wrong.to_string()))?;
        let head = (format::KEY.to_vec(), Some(vec![format::NEWEST]));
        let removals = reading.remove.into_iter().map(|key| (key, None));
        let changes: Vec<_> = [head]
            .into_iter()
            .chain(loaded.take_changes())
            .chain(removals)
            .collect();
        store.commit(&Batch::split(changes), term)?;
        Ok(loaded)
    }

    /// Ends the load if anything is wrong, but for what a crash may leave where a batch is not all of a step.
    fn refuse(&mut self, mut found: Vec<Found>) -> Result<(), StoreError> {
        if self.tree.len() > 0 {
            fsck::examine_names(&self.tree, &mut found);
            fsck::examine_space(&self.tree, &|_| false, &mut found);
        }
        for found in &found {
            if let Fix::Allocated(ino) = found.fix {
                // It is a file.
                let _there = self.tree.edit_layout(ino, |_| ((), Default::default()));
            }
        }
        found.retain(|found| {
            !matches!(
                found.kind,
                ProblemKind::StraySegment | ProblemKind::StrayXattr | ProblemKind::WrongAllocated
            )
        });
        let problems = fsck::report(&self.tree, &found);
        match problems.first() {
            None => Ok(()),
            Some(first) if problems.len() == 1 => Err(StoreError::Damaged(first.to_string())),
            Some(first) => {
                let more = problems.len() - 1;
                Err(StoreError::Damaged(format!("{first}, and {more} more")))
            }
        }
    }

    fn make_sound(&mut self, now: Now) {
        if self.tree.len() == 0 {
            let (owner, mode) = (self.config.root_owner, self.config.root_mode);
            self.tree.make_root(owner, mode, now.wall);
        }
        let loose = self.tree.iter().filter(|inode| match &inode.body {
            Body::File { layout, .. } => layout.end() > crate::extent::granule_ceil(inode.attr.size),
            _ => false,
        });
        let loose: Vec<(InodeId, u64)> = loose.map(|inode| (inode.attr.ino, inode.attr.size)).collect();
        for (ino, size) in loose {
            // Nothing is freed: the extents are of no arena that is known yet.
            let _lost = self.tree.edit_layout(ino, |layout| layout.cut(size, u64::MAX));
        }
    }
}
