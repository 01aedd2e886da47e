//! The whole layout of one file, as the service keeps it.
//!
//! Runs are kept as long as they can be, but never across a [`SEGMENT`] border: the segments are what the store keeps, so a
//! change in a long file rewrites the segment it touches and no more.

use super::{LayoutSlice, Replica, ReplicaState, Run};
use crate::extent::{Extent, granule_ceil, granule_floor};
use crate::id::{Incarnation, NodeId};
use std::collections::{BTreeMap, BTreeSet};

/// File bytes whose runs are stored under one key.
pub const SEGMENT: u64 = 64 << 20;

/// The layout of a file. Runs are disjoint, on granules, within a segment each, and merged where their copies adjoin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LayoutMap {
    runs: BTreeMap<u64, Run>,
    allocated: u64,
}

impl LayoutMap {
    /// Allocated bytes of the file, holes not counted, a byte with several copies counted once.
    #[must_use]
    pub fn allocated(&self) -> u64 {
        self.allocated
    }

    /// One past the last allocated byte, 0 without any.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.runs.last_key_value().map_or(0, |(_, run)| run.end())
    }

    /// All runs, in order.
    pub fn runs(&self) -> impl Iterator<Item = &Run> {
        self.runs.values()
    }

    /// The runs that touch `[start, end)`, in order.
    pub fn overlapping(&self, start: u64, end: u64) -> impl Iterator<Item = &Run> {
        let first = self.runs.range(..=start).next_back().map_or(start, |(at, _)| *at);
        let end = end.max(first);
        self.runs
            .range(first..end)
            .map(|(_, run)| run)
            .filter(move |run| run.end() > start)
    }

    /// Fills a hole. What is filled must be one: a byte that has a run already is a broken invariant of the caller.
    pub fn insert(&mut self, run: Run) {
        debug_assert!(self.overlapping(run.start, run.end()).next().is_none());
        let mut done = 0;
        while done < run.len() {
            let at = run.start + done;
            let room = SEGMENT - at % SEGMENT;
            if let Some(part) = run.part(done, room) {
                done += part.len();
                self.insert_in_segment(part);
            }
        }
    }

    /// What is known of `[start, end)`, with at most `replicas` copies in all (at least one run is given all the same):
    /// where they do not suffice the slice ends early.
    #[must_use]
    pub fn slice(&self, start: u64, end: u64, truncate_seq: u64, replicas: usize) -> LayoutSlice {
        let mut slice = LayoutSlice {
            start,
            end,
            truncate_seq,
            runs: Vec::new(),
        };
        let mut left = replicas;
        for run in self.overlapping(start, end) {
            if run.replicas.len() > left && !slice.runs.is_empty() {
                slice.end = run.start;
                break;
            }
            left = left.saturating_sub(run.replicas.len());
            slice.runs.extend(clip(run, start, end));
        }
        slice
    }

    /// The holes of `[start, end)` as (start, end), in order.
    #[must_use]
    pub fn holes(&self, start: u64, end: u64) -> Vec<(u64, u64)> {
        let mut holes = Vec::new();
        let mut at = start;
        for run in self.overlapping(start, end) {
            if run.start > at {
                holes.push((at, run.start));
            }
            at = run.end();
        }
        if at < end {
            holes.push((at, end));
        }
        holes
    }

    /// Cuts the whole granules of `[start, end)` away. Gives the copies that it frees and the segments that changed.
    pub fn cut(&mut self, start: u64, end: u64) -> (Vec<Replica>, BTreeSet<u64>) {
        let (start, end) = (granule_ceil(start), granule_floor(end));
        if start >= end {
            return Default::default();
        }
        self.part_at(start);
        self.part_at(end);
        let removed: Vec<Run> = self
            .runs
            .extract_if(start..end, |_, _| true)
            .map(|(_, run)| run)
            .collect();
        self.allocated -= removed.iter().map(Run::len).sum::<u64>();
        let segments = removed.iter().map(|run| run.start / SEGMENT).collect();
        (
            removed.into_iter().flat_map(|run| run.replicas).collect(),
            segments,
        )
    }

    /// The usable bytes of `[start, end)`, which lies within a granule, one extent for each copy.
    #[must_use]
    pub fn usable(&self, start: u64, end: u64) -> Vec<Extent> {
        let run = self.overlapping(start, end).next().filter(|_| start < end);
        let replicas = run.into_iter().flat_map(|run| {
            let part = |copy: &Replica| copy.extent.part(start - run.start, end - start);
            run.valid().filter_map(part)
        });
        replicas.collect()
    }

    /// Where the byte before `at` lies: what a new extent for `at` should adjoin.
    #[must_use]
    pub fn before(&self, at: u64) -> Option<Extent> {
        let (_, run) = self.runs.range(..at).next_back()?;
        run.replicas.first().map(|copy| copy.extent)
    }

    /// The runs that touch `[start, end)` are lost for good. Gives the segments that changed.
    pub(crate) fn lose(&mut self, start: u64, end: u64) -> BTreeSet<u64> {
        let lost: Vec<u64> = self.overlapping(start, end).map(|run| run.start).collect();
        for at in &lost {
            let replicas = self.runs.get_mut(at).map(|run| &mut run.replicas);
            for copy in replicas.into_iter().flatten() {
                copy.extent.incarnation = Incarnation::NEVER;
                copy.state = ReplicaState::Lost;
            }
        }
        lost.into_iter().map(|at| at / SEGMENT).collect()
    }

    /// The node's arena is of the incarnation `present` now: copies in any other one are lost. No copy becomes better by it, so what was
    /// lost before lies nowhere, whatever incarnation it names.
    pub fn settle(&mut self, node: NodeId, present: Incarnation) {
        let replicas = self.runs.values_mut().flat_map(|run| &mut run.replicas);
        for copy in replicas.filter(|copy| copy.extent.node == node) {
            match copy.extent.incarnation == present {
                true if copy.state == ReplicaState::Lost => copy.extent.incarnation = Incarnation::NEVER,
                true => {}
                false => copy.state = ReplicaState::Lost,
            }
        }
    }

    /// The runs of one segment, as the store keeps them.
    #[must_use]
    pub fn segment(&self, segment: u64) -> Vec<Run> {
        let start = segment.saturating_mul(SEGMENT);
        self.overlapping(start, start.saturating_add(SEGMENT))
            .cloned()
            .collect()
    }

    /// Where a run goes across `at`, a granule's start, there are two from now on. The caller cuts one of them away, or they would
    /// have to be joined again.
    fn part_at(&mut self, at: u64) {
        let Some(mut across) = self.runs.range(..at).next_back().map(|(_, run)| run.clone()) else {
            return;
        };
        let skip = at - across.start;
        if let (Some(head), Some(tail)) = (across.part(0, skip), across.part(skip, u64::MAX)) {
            across = head;
            self.runs.insert(across.start, across);
            self.runs.insert(at, tail);
        }
    }

    fn insert_in_segment(&mut self, mut run: Run) {
        self.allocated += run.len();
        let before = self.runs.range(..run.start).next_back().map(|(at, _)| *at);
        if let Some(before) = before
            && let Some(joined) = self.runs.get(&before).and_then(|left| join(left, &run))
        {
            self.runs.remove(&before);
            run = joined;
        }
        if let Some(joined) = self.runs.get(&run.end()).and_then(|right| join(&run, right)) {
            self.runs.remove(&run.end());
            run = joined;
        }
        self.runs.insert(run.start, run);
    }
}

/// The part of a run within the range rounded to granules.
fn clip(run: &Run, start: u64, end: u64) -> Option<Run> {
    let skip = granule_floor(start).saturating_sub(run.start);
    let end = granule_ceil(end).min(run.end());
    run.part(skip, end.checked_sub(run.start + skip)?)
}

/// One run in place of two, when they adjoin in the file, in every copy, and in one segment.
fn join(left: &Run, right: &Run) -> Option<Run> {
    let adjoin = |(a, b): (&Replica, &Replica)| {
        let same_place = (a.extent.node, a.extent.incarnation) == (b.extent.node, b.extent.incarnation);
        same_place && a.state == b.state && a.extent.end() == b.extent.offset
    };
    let same_segment = left.start / SEGMENT == right.start / SEGMENT;
    let all =
        left.replicas.len() == right.replicas.len() && left.replicas.iter().zip(&right.replicas).all(adjoin);
    if left.end() != right.start || !same_segment || !all {
        return None;
    }
    let mut joined = left.clone();
    for copy in &mut joined.replicas {
        copy.extent.len += right.len();
    }
    Some(joined)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extent::GRANULE;
    use proptest::prelude::*;

    fn run(start: u64, offset: u64, len: u64) -> Run {
        let extent = Extent {
            node: NodeId(1),
            incarnation: Incarnation(1),
            offset: offset * GRANULE,
            len: len * GRANULE,
        };
        Run {
            start: start * GRANULE,
            replicas: vec![Replica {
                extent,
                state: ReplicaState::Valid,
            }],
        }
    }

    #[test]
    fn adjoining_runs_become_one() {
        let mut map = LayoutMap::default();
        map.insert(run(0, 10, 2));
        map.insert(run(4, 14, 2));
        map.insert(run(2, 12, 2));
        assert_eq!(map.runs().cloned().collect::<Vec<_>>(), vec![run(0, 10, 6)]);
        map.insert(run(6, 99, 1));
        assert_eq!(map.runs().count(), 2);
    }

    #[test]
    fn a_run_stops_at_a_segment_border() {
        let segment = SEGMENT / GRANULE;
        let mut map = LayoutMap::default();
        map.insert(run(segment - 2, 0, 4));
        assert_eq!(map.segment(0), vec![run(segment - 2, 0, 2)]);
        assert_eq!(map.segment(1), vec![run(segment, 2, 2)]);
        let (freed, segments) = map.cut(0, u64::MAX);
        assert_eq!(freed.len(), 2);
        assert_eq!(segments, BTreeSet::from([0, 1]));
        assert_eq!((map.allocated(), map.end()), (0, 0));
    }

    #[test]
    fn a_short_budget_ends_the_slice_where_knowledge_ends() {
        let mut map = LayoutMap::default();
        for i in 0..4 {
            map.insert(run(i * 2, i * 10, 1));
        }
        let slice = map.slice(0, 8 * GRANULE, 3, 2);
        assert_eq!(
            (slice.runs.len(), slice.end, slice.truncate_seq),
            (2, 4 * GRANULE, 3)
        );
        assert_eq!(map.slice(0, 8 * GRANULE, 0, 0).runs.len(), 1);
    }

    #[test]
    fn the_tail_of_a_cut_granule_is_found() {
        let mut map = LayoutMap::default();
        map.insert(run(1, 7, 2));
        let tail = map.usable(GRANULE + 100, 2 * GRANULE);
        assert_eq!((tail[0].offset, tail[0].len), (7 * GRANULE + 100, GRANULE - 100));
        assert_eq!(map.usable(2 * GRANULE, 2 * GRANULE), vec![]);
        assert_eq!(map.usable(5, GRANULE), vec![]);
        map.settle(NodeId(1), Incarnation(2));
        assert_eq!(map.usable(GRANULE + 100, 2 * GRANULE), vec![]);
    }

    /// A file of 40 granules around a segment border: each granule has its place or none.
    const BASE: u64 = SEGMENT / GRANULE - 20;

    proptest! {
        #[test]
        fn agrees_with_a_table_of_granules(steps in prop::collection::vec((0u8..4, 0usize..40, 1usize..9), 1..60)) {
            let place = |granule: usize| (BASE + granule as u64) * GRANULE;
            let slot = |offset: u64| usize::try_from(offset / GRANULE - BASE).unwrap();
            let mut map = LayoutMap::default();
            let mut table: Vec<Option<u64>> = vec![None; 40];
            let mut next = 0;
            for (kind, at, len) in steps {
                if kind < 2 {
                    // To the end, or in the middle; not on granules' borders, so that what is cut is less than what is asked.
                    let stop = if kind == 0 { 40 } else { (at + len).min(40) };
                    let (freed, segments) = match kind {
                        0 => map.cut(place(at) - 1, u64::MAX),
                        _ => map.cut(place(at) - 1, place(stop) + 1),
                    };
                    let gone: Vec<u64> = table[at..stop].iter().flatten().copied().collect();
                    let given: Vec<u64> = freed
                        .iter()
                        .flat_map(|copy| copy.extent.offset / GRANULE..copy.extent.end() / GRANULE)
                        .collect();
                    prop_assert_eq!(given, gone);
                    let changed = (at..stop).filter(|granule| table[*granule].is_some());
                    prop_assert_eq!(segments, changed.map(|granule| place(granule) / SEGMENT).collect::<BTreeSet<_>>());
                    table[at..stop].fill(None);
                    continue;
                }
                let end = (at + len).min(40);
                for (start, stop) in map.holes(place(at), place(end)) {
                    map.insert(run(start / GRANULE, next, (stop - start) / GRANULE));
                    for entry in &mut table[slot(start)..slot(stop)] {
                        prop_assert!(entry.is_none());
                        *entry = Some(next);
                        next += 1;
                    }
                }
                prop_assert!(table[at..end].iter().all(Option::is_some));
            }
            let slice = map.slice(BASE * GRANULE, (BASE + 40) * GRANULE, 0, 100);
            let mut observed: Vec<Option<u64>> = vec![None; 40];
            for run in &slice.runs {
                prop_assert_eq!(run.start / SEGMENT, (run.end() - 1) / SEGMENT);
                for i in 0..run.len() / GRANULE {
                    observed[slot(run.start + i * GRANULE)] = Some(run.replicas[0].extent.offset / GRANULE + i);
                }
            }
            prop_assert_eq!(&observed, &table);
            prop_assert_eq!(map.allocated(), table.iter().flatten().count() as u64 * GRANULE);
            let segments: usize = (0..2).map(|segment| map.segment(segment).len()).sum();
            prop_assert_eq!(segments, map.runs().count());
        }
    }
}
