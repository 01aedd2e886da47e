//! What a session knows of one file's layout: known pieces of the file, holes among them.
//!
//! Pieces are disjoint, granule-aligned and merged with what they continue, so that a file written in small steps is still
//! read in one transfer.

use crate::errno::Error;
use rdmafs_meta::extent::{Extent, GRANULE, granule_ceil, granule_floor};
use rdmafs_meta::layout::{CopyState, LayoutSlice, Run};
use rdmafs_meta::wire::Arena;
use std::collections::BTreeMap;

/// The largest file: what `off_t` can say.
pub(super) const MAX_SIZE: u64 = i64::MAX.unsigned_abs();
/// How far ahead a reader asks for a layout.
const ASK_AHEAD: u64 = 1 << 30;
/// How far ahead a writer asks for a grant where there is space already: if it is freed meanwhile, so much at most is
/// allocated anew.
const GRANT_AHEAD: u64 = 64 << 20;

/// Where the bytes of a piece are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Nowhere: they are zero.
    Hole,
    /// In the arena, from this offset on.
    At {
        /// First byte in the arena.
        remote: u64,
        /// Writing was granted.
        writable: bool,
    },
    /// In an arena that is gone.
    Lost,
}

/// A part of a wanted range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Bytes, above 0.
    pub(super) len: usize,
    /// Where.
    pub(super) place: Place,
}

/// What to ask the service for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Missing {
    /// First byte.
    pub(super) start: u64,
    /// One past the last.
    pub(super) end: u64,
    /// Space for writing, and not only where there is some.
    pub(super) allocate: bool,
}

/// Known pieces: first file byte to (one past the last byte, place).
#[derive(Debug, Default)]
pub(super) struct Pieces {
    map: BTreeMap<u64, (u64, Place)>,
}

impl Pieces {
    /// Cuts `[start, end)` along the known pieces. `write`: for writing, and the file's size as far as it is known.
    ///
    /// # Errors
    /// What to ask the service for, when a part is not known, or (for writing) not granted.
    pub(super) fn find(&self, start: u64, end: u64, write: Option<u64>) -> Result<Vec<Segment>, Missing> {
        let mut found = Vec::with_capacity(1);
        let mut at = start;
        while at < end {
            let piece = self
                .map
                .range(..=at)
                .next_back()
                .filter(|(_, (stop, _))| *stop > at);
            let Some((&first, &(whole, place))) = piece else {
                // What a file has is granted in long runs, so a writer within it looks first.
                return Err(match write.filter(|size| at >= *size) {
                    Some(_) => missing_for_write(at, end),
                    None => self.missing(at, end),
                });
            };
            let stop = whole.min(end);
            let place = match place {
                Place::Hole if write.is_some() => return Err(missing_for_write(at, end)),
                Place::At { writable: false, .. } if write.is_some() => {
                    return Err(Missing {
                        start: granule_floor(at),
                        end: whole.min(granule_floor(at) + GRANT_AHEAD),
                        allocate: true,
                    });
                }
                Place::At { remote, writable } => Place::At {
                    remote: remote + (at - first),
                    writable,
                },
                place => place,
            };
            let len = usize::try_from(stop - at).map_err(|_| missing_for_write(at, end))?;
            found.push(Segment { len, place });
            at = stop;
        }
        Ok(found)
    }

    /// A reader asks ahead, up to what is known already.
    fn missing(&self, at: u64, end: u64) -> Missing {
        let at = granule_floor(at);
        let known = self.map.range(at..).next().map_or(u64::MAX, |(next, _)| *next);
        Missing {
            start: at,
            end: known.min(granule_ceil(end).max(at.saturating_add(ASK_AHEAD))),
            allocate: false,
        }
    }

    /// Takes a slice of layout in; an empty one, of an empty file, says nothing. `writable` when writing was granted with it.
    ///
    /// Space is only ever added to what is known: a hole becomes bytes, and what takes bytes away makes all that was known void. So where
    /// answers are taken in in another order than they were given, a hole never hides bytes that are known.
    ///
    /// # Errors
    /// [`Error::Protocol`] when the slice is no layout.
    pub(super) fn learn(
        &mut self,
        slice: &LayoutSlice,
        writable: bool,
        arenas: &[Arena],
    ) -> Result<(), Error> {
        let (start, end) = (granule_floor(slice.start), granule_ceil(slice.end));
        if start >= end {
            return if slice.runs.is_empty() {
                Ok(())
            } else {
                Err(Error::Protocol)
            };
        }
        let mut at = start;
        for run in &slice.runs {
            let (first, stop, place) = placed(run, writable, arenas)?;
            // Runs may reach past the slice; what lies outside of it is not news.
            let (from, to) = (first.max(at), stop.min(end));
            if first < at && first >= start || from >= to {
                return Err(Error::Protocol);
            }
            self.add_hole(at, from);
            self.replace(from, to, place.skip(from - first));
            at = to;
        }
        self.add_hole(at, end);
        Ok(())
    }

    /// Forgets everything from the granule of `from` on.
    pub(super) fn cut(&mut self, from: u64) {
        self.forget(granule_floor(from), u64::MAX);
    }

    /// Forgets `[start, end)`.
    fn forget(&mut self, start: u64, end: u64) {
        if let Some((&first, &(stop, place))) = self.map.range(..start).next_back()
            && stop > start
        {
            self.map.insert(first, (start, place));
            if stop > end {
                self.map.insert(end, (stop, place.skip(end - first)));
            }
        }
        while let Some((&first, &(stop, place))) = self.map.range(start..end).next() {
            self.map.remove(&first);
            if stop > end {
                self.map.insert(end, (stop, place.skip(end - first)));
            }
        }
    }

    /// `[start, end)` is a hole, but for what is known to be none.
    fn add_hole(&mut self, start: u64, end: u64) {
        let mut at = start;
        while at < end {
            let (first, stop) = self.known_from(at).unwrap_or((end, end));
            self.put(at, first.min(end), Place::Hole);
            at = stop;
        }
    }

    /// Where the first known piece that ends after `at` starts and ends.
    fn known_from(&self, at: u64) -> Option<(u64, u64)> {
        let before = self.map.range(..=at).next_back();
        let piece = before
            .filter(|(_, (stop, _))| *stop > at)
            .or_else(|| self.map.range(at..).next());
        piece.map(|(first, (stop, _))| (*first, *stop))
    }

    /// `[start, end)` lies there from now on.
    fn replace(&mut self, start: u64, end: u64, place: Place) {
        self.forget(start, end);
        self.put(start, end, place);
    }

    /// Adds `[start, end)`, which is not known yet, and merges it with its neighbours.
    fn put(&mut self, mut start: u64, mut end: u64, mut place: Place) {
        if start >= end {
            return;
        }
        if let Some((&first, &(stop, before))) = self.map.range(..start).next_back()
            && stop == start
            && before.skip(stop - first) == place
        {
            (start, place) = (first, before);
        }
        if let Some(&(stop, after)) = self.map.get(&end)
            && place.skip(end - start) == after
        {
            self.map.remove(&end);
            end = stop;
        }
        self.map.insert(start, (end, place));
    }
}

/// A writer asks for what it needs: it is space that is taken.
fn missing_for_write(at: u64, end: u64) -> Missing {
    Missing {
        start: granule_floor(at),
        // The last granule of the largest file ends beyond what a size can say.
        end: granule_ceil(end).min(MAX_SIZE),
        allocate: true,
    }
}

impl Place {
    /// The same piece from `by` bytes further on.
    fn skip(self, by: u64) -> Self {
        match self {
            Self::At { remote, writable } => Self::At {
                remote: remote.saturating_add(by),
                writable,
            },
            Self::Hole | Self::Lost => self,
        }
    }
}

/// File range and place of a run, chosen among its copies.
fn placed(run: &Run, writable: bool, arenas: &[Arena]) -> Result<(u64, u64, Place), Error> {
    let first = run.copies.first().ok_or(Error::Protocol)?;
    let len = first.extent.len;
    let stop = run.start.checked_add(len).ok_or(Error::Protocol)?;
    let aligned = run.start.is_multiple_of(GRANULE) && len.is_multiple_of(GRANULE) && len > 0;
    if !aligned || run.copies.iter().any(|copy| copy.extent.len != len) {
        return Err(Error::Protocol);
    }
    let valid = run
        .copies
        .iter()
        .find(|copy| copy.state == CopyState::Valid && lies_in(&copy.extent, arenas));
    let place = valid.map_or(Place::Lost, |copy| Place::At {
        remote: copy.extent.offset,
        writable,
    });
    Ok((run.start, stop, place))
}

fn lies_in(extent: &Extent, arenas: &[Arena]) -> bool {
    let end = extent.offset.checked_add(extent.len);
    arenas.iter().any(|arena| {
        arena.node == extent.node
            && arena.incarnation == extent.incarnation
            && end.is_some_and(|end| end <= arena.len)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rdmafs_meta::id::{Incarnation, NodeId};
    use rdmafs_meta::layout::Copy;

    const ARENA: Arena = Arena {
        node: NodeId(1),
        incarnation: Incarnation(9),
        len: 1 << 40,
    };

    fn run(start: u64, offset: u64, len: u64) -> Run {
        let extent = Extent {
            node: NodeId(1),
            incarnation: Incarnation(9),
            offset,
            len,
        };
        Run {
            start,
            copies: vec![Copy {
                extent,
                state: CopyState::Valid,
            }],
        }
    }

    fn slice(start: u64, end: u64, runs: Vec<Run>) -> LayoutSlice {
        LayoutSlice {
            start,
            end,
            shrinks: 0,
            runs,
        }
    }

    #[test]
    fn a_range_is_cut_along_holes_and_runs() {
        let mut pieces = Pieces::default();
        pieces
            .learn(&slice(0, 40_960, vec![run(8192, 4096, 8192)]), false, &[ARENA])
            .unwrap();
        let found = pieces.find(8000, 16_484, None).unwrap();
        let at = Place::At {
            remote: 4096,
            writable: false,
        };
        let places: Vec<_> = found.iter().map(|s| (s.len, s.place)).collect();
        assert_eq!(places, [(192, Place::Hole), (8192, at), (100, Place::Hole)]);
        let missing = |start, end, allocate| Err(Missing { start, end, allocate });
        assert_eq!(
            pieces.find(40_960, 40_961, None),
            missing(40_960, 40_960 + ASK_AHEAD, false)
        );
        assert_eq!(
            pieces.find(0, 1, Some(40_960)),
            missing(0, 4096, true),
            "a hole takes space: no more than is needed"
        );
        assert_eq!(
            pieces.find(8192, 8193, Some(40_960)),
            missing(8192, 16_384, true),
            "what is there is granted as a whole"
        );
        assert_eq!(
            pieces.find(40_960, 40_961, Some(40_960)),
            missing(40_960, 45_056, true),
            "a file that grows"
        );
        assert_eq!(
            pieces.find(40_960, 40_961, Some(1 << 30)),
            missing(40_960, 40_960 + ASK_AHEAD, false),
            "a file that is written again"
        );
        pieces.cut(12_289);
        assert_eq!(pieces.find(8192, 12_288, None).unwrap().len(), 1);
        assert!(pieces.find(12_288, 12_289, None).is_err());
    }

    /// A reader asks, a writer asks after it, and the reader's answer is taken in last.
    #[test]
    fn an_older_answer_about_a_hole_hides_no_bytes() {
        let mut pieces = Pieces::default();
        pieces
            .learn(&slice(8192, 12_288, vec![run(8192, 4096, 4096)]), true, &[ARENA])
            .unwrap();
        pieces.learn(&slice(0, 40_960, vec![]), false, &[ARENA]).unwrap();
        let found = pieces.find(0, 40_960, None).unwrap();
        let at = Place::At {
            remote: 4096,
            writable: true,
        };
        let places: Vec<_> = found.iter().map(|s| (s.len, s.place)).collect();
        assert_eq!(places, [(8192, Place::Hole), (4096, at), (28_672, Place::Hole)]);
    }

    #[test]
    fn a_file_written_in_small_steps_is_one_piece() {
        let mut pieces = Pieces::default();
        for step in [1_u64, 0, 3, 2] {
            let at = step * 4096;
            pieces
                .learn(
                    &slice(at, at + 4096, vec![run(at, 8192 + at, 4096)]),
                    true,
                    &[ARENA],
                )
                .unwrap();
        }
        assert_eq!(pieces.find(0, 16_384, Some(0)).unwrap().len(), 1);
    }

    #[test]
    fn an_extent_outside_of_the_arenas_that_live_is_lost() {
        let mut pieces = Pieces::default();
        let mut old = run(0, 0, 4096);
        old.copies[0].extent.incarnation = Incarnation(8);
        pieces
            .learn(
                &slice(0, 8192, vec![old, run(4096, 1 << 40, 4096)]),
                true,
                &[ARENA],
            )
            .unwrap();
        let found = pieces.find(0, 8192, Some(0)).unwrap();
        assert!(found.iter().all(|segment| segment.place == Place::Lost));
    }

    #[test]
    fn what_is_no_layout_is_refused() {
        let bad = [
            slice(8192, 8192, vec![run(8192, 0, 4096)]),
            slice(
                0,
                8192,
                vec![Run {
                    start: 0,
                    copies: vec![],
                }],
            ),
            slice(0, 8192, vec![run(1, 0, 4096)]),
            slice(0, 8192, vec![run(0, 0, 4095)]),
            slice(0, 8192, vec![run(4096, 0, 4096), run(0, 0, 4096)]),
            slice(0, 8192, vec![run(16_384, 0, 4096)]),
            slice(0, u64::MAX, vec![run(u64::MAX - 4095, 0, 8192)]),
        ];
        for slice in bad {
            assert_eq!(
                Pieces::default().learn(&slice, true, &[ARENA]),
                Err(Error::Protocol),
                "{slice:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn pieces_agree_with_a_naive_map(steps in prop::collection::vec((0_u64..24, 1_u64..8, 0_u64..3, any::<bool>()), 1..40)) {
            let mut pieces = Pieces::default();
            let mut model = vec![None; 40];
            for (from, len, what, writable) in steps {
                let (start, end) = (from * 4096, (from + len) * 4096);
                let cells = usize::try_from(from).unwrap()..usize::try_from(from + len).unwrap();
                match what {
                    0 => {
                        pieces.cut(start + 1);
                        model[cells.start..].fill(None);
                    }
                    1 => {
                        pieces.learn(&slice(start, end, vec![]), writable, &[ARENA]).unwrap();
                        for cell in &mut model[cells] {
                            cell.get_or_insert(Place::Hole);
                        }
                    }
                    _ => {
                        let remote = start + (1 << 20);
                        pieces.learn(&slice(start, end, vec![run(start, remote, end - start)]), writable, &[ARENA]).unwrap();
                        for cell in cells {
                            let remote = u64::try_from(cell).unwrap() * 4096 + (1 << 20);
                            model[cell] = Some(Place::At { remote, writable });
                        }
                    }
                }
            }
            for (cell, place) in model.iter().enumerate() {
                let at = u64::try_from(cell).unwrap() * 4096;
                let found = pieces.find(at, at + 4096, None).ok();
                prop_assert_eq!(found.map(|found| found[0].place), *place);
            }
        }
    }
}
