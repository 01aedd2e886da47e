//! What a session knows of one file's layout: known ranges of the file, holes among them.
//!
//! Pieces are disjoint, granule-aligned and merged with what they continue, so that a file written in small steps is still
//! read in one transfer.

use crate::errno::Error;
use rdmafs_meta::extent::{Extent, GRANULE, granule_ceil, granule_floor};
use rdmafs_meta::id::NodeId;
use rdmafs_meta::layout::{LayoutSlice, Run};
use rdmafs_meta::wire::Arena;
use std::collections::BTreeMap;

/// The largest file: what `off_t` can say.
pub(in crate::handler) const MAX_SIZE: u64 = i64::MAX.unsigned_abs();
/// How far ahead a reader asks for a layout.
const ASK_AHEAD: u64 = 1 << 30;
/// How far ahead a writer asks for a grant where there is space already: if it is freed meanwhile, so much at most is
/// allocated anew.
const GRANT_AHEAD: u64 = 64 << 20;

/// Where the bytes of a range are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::handler) enum ExtentLocation {
    /// Nowhere: they are zero.
    Hole,
    /// In the arena of a node, from this offset on.
    At {
        /// The node.
        node: NodeId,
        /// First byte in its arena.
        remote: u64,
        /// Writing was granted.
        writable: bool,
    },
    /// In an arena that is gone.
    Lost,
}

/// A part of a wanted range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::handler) struct Segment {
    /// Bytes, above 0.
    pub(in crate::handler) len: usize,
    /// Where these bytes lie.
    pub(in crate::handler) place: ExtentLocation,
}

/// What to ask the service for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::handler) struct Missing {
    /// The first byte of the range, counted from the beginning of the file.
    pub(in crate::handler) start: u64,
    /// One past the last.
    pub(in crate::handler) end: u64,
    /// Space for writing, and not only where there is some.
    pub(in crate::handler) allocate: bool,
}

/// Known ranges: first file byte to (one past the last byte, place).
#[derive(Debug, Default)]
pub(in crate::handler) struct ExtentMap {
    map: BTreeMap<u64, (u64, ExtentLocation)>,
}

impl ExtentMap {
    /// Cuts `[start, end)` along the known ranges. `write`: for writing, and the file's size as far as it is known.
    ///
    /// # Errors
    /// What to ask the service for, when a part is not known, or (for writing) not granted.
    pub(in crate::handler) fn find(
        &self,
        start: u64,
        end: u64,
        write: Option<u64>,
    ) -> Result<Vec<Segment>, Missing> {
        let mut found = Vec::with_capacity(1);
        let mut at = start;
        while at < end {
            let extent = self
                .map
                .range(..=at)
                .next_back()
                .filter(|(_, (stop, _))| *stop > at);
            let Some((&first, &(whole, place))) = extent else {
                // What a file has is granted in long runs, so a writer within it looks first.
                return Err(match write.filter(|size| at >= *size) {
                    Some(_) => missing_for_write(at, end),
                    None => self.missing(at, end),
                });
            };
            let stop = whole.min(end);
            let place = match place {
                ExtentLocation::Hole if write.is_some() => return Err(missing_for_write(at, end)),
                ExtentLocation::At { writable: false, .. } if write.is_some() => {
                    return Err(Missing {
                        start: granule_floor(at),
                        end: whole.min(granule_floor(at) + GRANT_AHEAD),
                        allocate: true,
                    });
                }
                place => place.skip(at - first),
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
    pub(in crate::handler) fn learn(
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
    pub(in crate::handler) fn cut(&mut self, from: u64) {
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
            self.put(at, first.min(end), ExtentLocation::Hole);
            at = stop;
        }
    }

    /// Where the first known range that ends after `at` starts and ends.
    fn known_from(&self, at: u64) -> Option<(u64, u64)> {
        let before = self.map.range(..=at).next_back();
        let extent = before
            .filter(|(_, (stop, _))| *stop > at)
            .or_else(|| self.map.range(at..).next());
        extent.map(|(first, (stop, _))| (*first, *stop))
    }

    /// `[start, end)` lies there from now on.
    fn replace(&mut self, start: u64, end: u64, place: ExtentLocation) {
        self.forget(start, end);
        self.put(start, end, place);
    }

    /// Adds `[start, end)`, which is not known yet, and merges it with its neighbours.
    fn put(&mut self, mut start: u64, mut end: u64, mut place: ExtentLocation) {
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

impl ExtentLocation {
    /// The range from `by` bytes further on.
    fn skip(self, by: u64) -> Self {
        match self {
            Self::At {
                node,
                remote,
                writable,
            } => Self::At {
                node,
                remote: remote.saturating_add(by),
                writable,
            },
            Self::Hole | Self::Lost => self,
        }
    }
}

/// File range and place of a run, chosen among its copies.
fn placed(run: &Run, writable: bool, arenas: &[Arena]) -> Result<(u64, u64, ExtentLocation), Error> {
    let first = run.replicas.first().ok_or(Error::Protocol)?;
    let len = first.extent.len;
    let stop = run.start.checked_add(len).ok_or(Error::Protocol)?;
    let aligned = run.start.is_multiple_of(GRANULE) && len.is_multiple_of(GRANULE) && len > 0;
    if !aligned || run.replicas.iter().any(|copy| copy.extent.len != len) {
        return Err(Error::Protocol);
    }
    let there = run.valid().find(|copy| lies_in(&copy.extent, arenas));
    let place = there.map_or(ExtentLocation::Lost, |copy| ExtentLocation::At {
        node: copy.extent.node,
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
mod tests;
