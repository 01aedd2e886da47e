//! The extent allocator: which bytes of which arena are free, quarantined or in use.
//!
//! A byte is in exactly one of the three. Freed bytes wait in quarantine until nobody can touch them and they are zero
//! again; only then are they free. Placement is best fit in whole runs: where the file's last run can go on, it goes on;
//! else the smallest free run that holds the whole request; else the longest runs there are. All searches are
//! logarithmic, and a request never gets more pieces than the free space forces on it.

use crate::extent::{Extent, granule_ceil};
use crate::id::{Incarnation, NodeId};
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;

/// Why nothing was allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AllocError {
    /// Not even with what is in quarantine.
    #[error("the pool is full")]
    NoSpace,
    /// There will be enough when the quarantine is over.
    #[error("freed space is still being cleaned")]
    Cleaning,
}

/// The space of all arenas of a pool.
#[derive(Debug, Default)]
pub struct Allocator {
    arenas: BTreeMap<NodeId, Space>,
}

#[derive(Debug)]
struct Space {
    incarnation: Incarnation,
    len: u64,
    free: Ranges,
    quarantine: Ranges,
}

impl Allocator {
    /// Adds an arena of `len` bytes, all free; it takes the place of an earlier incarnation of the same node's.
    pub fn add_arena(&mut self, node: NodeId, incarnation: Incarnation, len: u64) {
        let len = crate::extent::granule_floor(len);
        let mut free = Ranges::default();
        free.insert(0, len);
        let space = Space {
            incarnation,
            len,
            free,
            quarantine: Ranges::default(),
        };
        self.arenas.insert(node, space);
    }

    /// The arenas as (node, incarnation, bytes).
    pub fn arenas(&self) -> impl Iterator<Item = (NodeId, Incarnation, u64)> {
        self.arenas
            .iter()
            .map(|(node, space)| (*node, space.incarnation, space.len))
    }

    /// The present incarnation of a node's arena.
    #[must_use]
    pub fn present(&self, node: NodeId) -> Option<Incarnation> {
        self.arenas.get(&node).map(|space| space.incarnation)
    }

    /// Bytes of all arenas.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.arenas.values().map(|space| space.len).sum()
    }

    /// Bytes that can be allocated now.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        self.arenas.values().map(|space| space.free.total).sum()
    }

    /// Bytes that will be free again.
    #[must_use]
    pub fn quarantined_bytes(&self) -> u64 {
        self.arenas.values().map(|space| space.quarantine.total).sum()
    }

    /// Takes a free extent out, for a layout that is known already. False when not all of it was free.
    pub fn claim(&mut self, extent: Extent) -> bool {
        let Some(space) = self.space(&extent) else {
            return false;
        };
        let free = space.free.contains(extent.offset, extent.len);
        if free {
            space.free.remove(extent.offset, extent.len);
        }
        free
    }

    /// Allocates `len` bytes, rounded up to granules, in few long runs, all or nothing. `after` is the run that the new
    /// one should adjoin.
    ///
    /// # Errors
    /// [`AllocError`] when the free runs do not add up to `len`.
    pub fn allocate(&mut self, len: u64, after: Option<Extent>) -> Result<Vec<Extent>, AllocError> {
        let mut left = granule_ceil(len);
        let (free, quarantined) = (self.free_bytes(), self.quarantined_bytes());
        if left > free {
            let enough_later = left <= free.saturating_add(quarantined);
            return Err(if enough_later {
                AllocError::Cleaning
            } else {
                AllocError::NoSpace
            });
        }
        let mut extents = Vec::new();
        if let Some(extent) = after.and_then(|after| self.adjoining(after, left)) {
            left -= extent.len;
            extents.push(extent);
        }
        let preferred = after.map(|after| after.node);
        while left > 0 {
            let Some(extent) = self.take_run(left, preferred) else {
                break;
            };
            left -= extent.len;
            extents.push(extent);
        }
        debug_assert_eq!(left, 0, "free bytes are the sum of free runs");
        Ok(extents)
    }

    /// Puts an allocated extent into quarantine. False, and nothing is done, when it is of another incarnation, out of
    /// its arena, or not allocated.
    pub fn free(&mut self, extent: Extent) -> bool {
        let Some(space) = self.space(&extent) else {
            return false;
        };
        let (at, len) = (extent.offset, extent.len);
        let used =
            extent.end() <= space.len && !space.free.overlaps(at, len) && !space.quarantine.overlaps(at, len);
        if used {
            space.quarantine.insert(at, len);
        }
        used
    }

    /// Ends the quarantine of an extent: it is zero and nobody can touch it. False, and nothing is done, unless all of
    /// it is in quarantine.
    pub fn cleaned(&mut self, extent: Extent) -> bool {
        let Some(space) = self.space(&extent) else {
            return false;
        };
        let known = space.quarantine.contains(extent.offset, extent.len);
        if known {
            space.quarantine.remove(extent.offset, extent.len);
            space.free.insert(extent.offset, extent.len);
        }
        known
    }

    fn space(&mut self, extent: &Extent) -> Option<&mut Space> {
        let space = self.arenas.get_mut(&extent.node)?;
        (space.incarnation == extent.incarnation).then_some(space)
    }

    fn adjoining(&mut self, after: Extent, len: u64) -> Option<Extent> {
        let space = self.space(&after)?;
        let run = *space.free.runs.get(&after.end())?;
        let len = run.min(len);
        space.free.remove(after.end(), len);
        Some(Extent {
            offset: after.end(),
            len,
            ..after
        })
    }

    /// The smallest run that holds `len` - on the preferred node if it has one - else the longest run of all.
    fn take_run(&mut self, len: u64, preferred: Option<NodeId>) -> Option<Extent> {
        let fit = |(node, space): (&NodeId, &Space)| {
            let (run, at) = *space.free.by_len.range((len, 0)..).next()?;
            Some((Some(*node) != preferred, run, *node, at))
        };
        let longest = |(node, space): (&NodeId, &Space)| {
            let (run, at) = *space.free.by_len.last()?;
            Some((run, *node, at))
        };
        let found = self
            .arenas
            .iter()
            .filter_map(fit)
            .min()
            .map(|(_, run, node, at)| (run, node, at));
        let (run, node, offset) = found.or_else(|| self.arenas.iter().filter_map(longest).max())?;
        let space = self.arenas.get_mut(&node)?;
        let len = run.min(len);
        space.free.remove(offset, len);
        Some(Extent {
            node,
            incarnation: space.incarnation,
            offset,
            len,
        })
    }
}

/// Disjoint byte ranges, merged where they touch, indexed by place and by length.
#[derive(Debug, Default)]
struct Ranges {
    runs: BTreeMap<u64, u64>,
    by_len: BTreeSet<(u64, u64)>,
    total: u64,
}

impl Ranges {
    fn overlaps(&self, at: u64, len: u64) -> bool {
        let before = self.runs.range(..at + len).next_back();
        before.is_some_and(|(start, run)| start + run > at)
    }

    fn contains(&self, at: u64, len: u64) -> bool {
        let run = self.runs.range(..=at).next_back();
        run.is_some_and(|(start, run)| start + run >= at + len)
    }

    /// Adds a range that does not overlap any.
    fn insert(&mut self, mut at: u64, mut len: u64) {
        if len == 0 {
            return;
        }
        self.total += len;
        if let Some((start, run)) = self.runs.range(..at).next_back().map(|(s, r)| (*s, *r))
            && start + run == at
        {
            self.take(start, run);
            (at, len) = (start, run + len);
        }
        if let Some(run) = self.runs.get(&(at + len)).copied() {
            self.take(at + len, run);
            len += run;
        }
        self.put(at, len);
    }

    /// Removes a range that lies within one.
    fn remove(&mut self, at: u64, len: u64) {
        let Some((start, run)) = self.runs.range(..=at).next_back().map(|(s, r)| (*s, *r)) else {
            return;
        };
        self.total -= len;
        self.take(start, run);
        self.put(start, at - start);
        self.put(at + len, start + run - (at + len));
    }

    fn put(&mut self, at: u64, len: u64) {
        if len > 0 {
            self.runs.insert(at, len);
            self.by_len.insert((len, at));
        }
    }

    fn take(&mut self, at: u64, len: u64) {
        self.runs.remove(&at);
        self.by_len.remove(&(len, at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extent::GRANULE;
    use proptest::prelude::*;

    fn pool(granules: &[u64]) -> Allocator {
        let mut alloc = Allocator::default();
        for (node, len) in (1..).zip(granules) {
            alloc.add_arena(NodeId(node), Incarnation(5), len * GRANULE);
        }
        alloc
    }

    #[test]
    fn a_file_goes_on_where_it_ended() {
        let mut alloc = pool(&[100]);
        let first = alloc.allocate(2 * GRANULE, None).unwrap();
        let second = alloc.allocate(1, Some(first[0])).unwrap();
        assert_eq!(
            (second.len(), second[0].offset, second[0].len),
            (1, first[0].end(), GRANULE)
        );
    }

    #[test]
    fn full_now_is_distinguished_from_full() {
        let mut alloc = pool(&[4, 4]);
        let all = alloc.allocate(8 * GRANULE, None).unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!(alloc.allocate(1, None), Err(AllocError::NoSpace));
        assert!(alloc.free(all[0]));
        assert_eq!(alloc.allocate(4 * GRANULE, None), Err(AllocError::Cleaning));
        assert_eq!(alloc.allocate(5 * GRANULE, None), Err(AllocError::NoSpace));
        assert!(alloc.cleaned(all[0]));
        assert_eq!(alloc.allocate(4 * GRANULE, None).unwrap(), vec![all[0]]);
    }

    #[test]
    fn what_is_not_allocated_cannot_be_freed() {
        let mut alloc = pool(&[4]);
        let extent = alloc.allocate(2 * GRANULE, None).unwrap()[0];
        let older = Extent {
            incarnation: Incarnation(4),
            ..extent
        };
        let outside = Extent {
            offset: 8 * GRANULE,
            ..extent
        };
        assert!(!alloc.free(older) && !alloc.free(outside));
        assert!(!alloc.cleaned(extent));
        assert!(alloc.free(extent) && !alloc.free(extent));
        assert!(alloc.cleaned(extent) && !alloc.cleaned(extent));
        assert_eq!((alloc.free_bytes(), alloc.quarantined_bytes()), (4 * GRANULE, 0));
        assert!(alloc.claim(extent) && !alloc.claim(extent));
    }

    proptest! {
        #[test]
        fn no_byte_is_handed_out_twice(
            sizes in prop::collection::vec(0u64..40, 1..4),
            steps in prop::collection::vec((0u8..4, 1u64..20, any::<prop::sample::Index>()), 1..120),
        ) {
            let mut alloc = pool(&sizes);
            let total = sizes.iter().sum::<u64>() * GRANULE;
            let (mut used, mut waiting): (Vec<Extent>, Vec<Extent>) = Default::default();
            for (kind, len, pick) in steps {
                match kind {
                    0 | 1 => {
                        let after = (kind == 1 && !used.is_empty()).then(|| *pick.get(&used));
                        let fits = len * GRANULE <= alloc.free_bytes();
                        let got = alloc.allocate(len * GRANULE, after);
                        prop_assert_eq!(got.is_ok(), fits);
                        let got = got.unwrap_or_default();
                        for extent in &got {
                            let clash = used.iter().chain(&waiting).any(|other| {
                                other.node == extent.node && other.offset < extent.end() && extent.offset < other.end()
                            });
                            prop_assert!(!clash, "{:?} is in use", extent);
                            prop_assert!(extent.end() <= sizes[usize::from(extent.node.0 - 1)] * GRANULE);
                            used.push(*extent);
                        }
                        prop_assert!(!fits || got.iter().map(|e| e.len).sum::<u64>() == len * GRANULE);
                    }
                    2 if !used.is_empty() => {
                        let extent = used.swap_remove(pick.index(used.len()));
                        prop_assert!(alloc.free(extent));
                        waiting.push(extent);
                    }
                    _ if !waiting.is_empty() => {
                        let extent = waiting.swap_remove(pick.index(waiting.len()));
                        prop_assert!(alloc.cleaned(extent));
                    }
                    _ => {}
                }
                let sum = |list: &[Extent]| list.iter().map(|e| e.len).sum::<u64>();
                prop_assert_eq!(alloc.quarantined_bytes(), sum(&waiting));
                prop_assert_eq!(alloc.free_bytes() + sum(&waiting) + sum(&used), total);
            }
        }
    }
}
