//! What happened to one file, and so what a reader of it may see.
//!
//! Bytes are written in cells, and each write fills its cells with a tag of its own, so that a cell says who wrote it. Two changes are in
//! order when one had ended, and was heard of by the other's host, before the other began. A reader must see what its own host did
//! before, and what another host had committed before this handle was opened. It may see anything else that is not hidden under that.

use rdmafs_meta::extent::GRANULE;
use std::collections::BTreeSet;

/// Bytes of a cell.
pub(super) const CELL: usize = 512;
/// Hosts there are at most.
pub(super) const HOSTS: usize = 3;

/// What a change does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Writes cells `[from, to)` with a tag.
    Put { from: u64, to: u64, tag: u64 },
    /// Makes the file so many bytes long.
    Cut { size: u64 },
}

/// A change of a file. Times are steps of the play.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) what: What,
    pub(super) host: usize,
    pub(super) began: u64,
    /// When it was answered well. Else it may happen at any time, or never.
    pub(super) ended: Option<u64>,
    /// From when on each host has heard of it.
    heard: [Option<u64>; HOSTS],
    /// Since when it is committed.
    pub(super) committed: Option<u64>,
    /// An fsync said so.
    pub(super) durable: bool,
    /// Its host may have lost it.
    pub(super) doubtful: bool,
}

/// Who reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader {
    pub(super) host: usize,
    /// When the open of its handle began.
    pub(super) opened: u64,
    /// When the read began.
    pub(super) began: u64,
}

/// The history of a file.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    pub(super) changes: Vec<Change>,
    /// Granules whose bytes died with an arena.
    pub(super) lost: BTreeSet<u64>,
}

impl Change {
    pub(super) fn new(what: What, host: usize, began: u64) -> Self {
        Self {
            what,
            host,
            began,
            ended: None,
            heard: [None; HOSTS],
            committed: None,
            durable: false,
            doubtful: false,
        }
    }

    /// It was answered well.
    pub(super) fn ends(&mut self, now: u64) {
        self.ended = Some(now);
        self.heard[self.host] = Some(now);
        if matches!(self.what, What::Put { .. }) {
            // It is in the arena, where all look.
            self.heard = [Some(now); HOSTS];
        }
    }

    fn precedes(&self, other: &Self) -> bool {
        let heard = self.ended.and(self.heard[other.host]);
        heard.is_some_and(|heard| heard < other.began)
    }

    fn must_be_observed(&self, by: Reader) -> bool {
        let Some(ended) = self.ended.filter(|_| !self.doubtful) else {
            return false;
        };
        let own = self.host == by.host && ended < by.began;
        let known = match self.what {
            What::Put { .. } => self.committed,
            What::Cut { .. } => Some(ended),
        };
        own || known.is_some_and(|known| known < by.opened)
    }

    fn covers(&self, cell: u64) -> bool {
        match self.what {
            What::Put { from, to, .. } => (from..to).contains(&cell),
            What::Cut { size } => cell * CELL as u64 >= size,
        }
    }
}

impl History {
    /// A new file, or one of which nothing but its size survived.
    pub(super) fn of_size(size: u64, now: u64, lost: BTreeSet<u64>) -> Self {
        let mut base = Change::new(What::Cut { size }, 0, 0);
        base.ends(now);
        base.heard = [Some(now); HOSTS];
        Self {
            changes: vec![base],
            lost,
        }
    }

    /// A change was answered well. `shaky`: its host may have lost it all the same. True when others must hear of it.
    pub(super) fn ends(&mut self, began: u64, now: u64, shaky: bool) -> bool {
        let Some(change) = self.changes.iter_mut().find(|change| change.began == began) else {
            return false;
        };
        change.ends(now);
        change.doubtful |= shaky && matches!(change.what, What::Put { .. });
        matches!(change.what, What::Cut { .. })
    }

    /// A host has heard all that it was sent.
    pub(super) fn heard(&mut self, host: usize, now: u64) {
        for change in &mut self.changes {
            if change.ended.is_some() && change.heard[host].is_none() {
                change.heard[host] = Some(now);
            }
        }
    }

    /// A commit that began at `began` was answered well.
    pub(super) fn commits(&mut self, host: usize, began: u64, now: u64, durable: bool) {
        for change in self.changes.iter_mut().filter(|change| change.host == host) {
            if change.ended.is_some_and(|ended| ended < began) {
                change.committed.get_or_insert(now);
                change.durable |= durable;
            }
        }
    }

    /// A host may have lost what it did not commit.
    pub(super) fn doubts(&mut self, host: usize) {
        for change in self.changes.iter_mut().filter(|change| change.host == host) {
            change.doubtful |= change.committed.is_none() && matches!(change.what, What::Put { .. });
        }
    }

    /// The arena died; the file is so long now, and these granules are lost. What must be lost and is not is an error.
    pub(super) fn dies(&mut self, size: u64, lost: BTreeSet<u64>, now: u64) -> Result<(), String> {
        let everybody = Reader {
            host: HOSTS,
            opened: now,
            began: now,
        };
        for (at, change) in self.changes.iter().enumerate() {
            let What::Put { from, to, .. } = change.what else {
                continue;
            };
            for cell in from..to {
                let firm = change.durable && change.must_be_observed(everybody) && self.is_firm(at, cell);
                let cut = self.changes.iter().any(|cut| {
                    matches!(cut.what, What::Cut { .. }) && cut.covers(cell) && !cut.precedes(change)
                });
                let granule = cell * CELL as u64 / GRANULE;
                let gone = self.lost.contains(&granule) || lost.contains(&granule);
                if firm && !cut && !gone {
                    return Err(format!(
                        "synced cell {cell} of {change:?} reads as zeros after the arena died"
                    ));
                }
            }
        }
        let in_flight: Vec<_> = self
            .changes
            .drain(..)
            .filter(|change| change.ended.is_none())
            .collect();
        *self = Self::of_size(size, now, lost);
        self.changes.extend(in_flight);
        Ok(())
    }

    /// Judges a read of whole cells from `offset` on, which asked for `len` bytes and was given `bytes`.
    pub(super) fn judge(
        &self,
        by: Reader,
        ino: u64,
        offset: u64,
        len: usize,
        bytes: &[u8],
    ) -> Result<(), String> {
        let died = self.changes.first().and_then(|base| base.ended);
        if died.is_some_and(|died| died > by.began) {
            // The arena died under it: it may be of either life, but of no other file.
            let foreign = bytes
                .chunks(CELL)
                .filter_map(tag_of)
                .find(|tag| *tag != 0 && tag >> 32 != ino);
            return foreign.map_or(Ok(()), |tag| Err(format!("bytes of inode {}", tag >> 32)));
        }
        self.judge_size(by, offset, len as u64, bytes.len() as u64)?;
        if bytes.is_empty() {
            return Ok(());
        }
        if let Some((at, granule)) = self.lost_in(offset, bytes.len() as u64) {
            return Err(format!("byte {at} of lost granule {granule} was read"));
        }
        for (at, cell) in (offset / CELL as u64..).zip(bytes.chunks(CELL)) {
            let tag = tag_of(cell).ok_or_else(|| format!("cell {at} is torn: {:?}", words(cell)))?;
            self.judge_cell(by, ino, at, tag)?;
        }
        Ok(())
    }

    /// Lost granules of a range that nobody may have cut away since.
    pub(super) fn lost_in(&self, offset: u64, len: u64) -> Option<(u64, u64)> {
        let (first, end) = (offset / GRANULE, (offset + len).div_ceil(GRANULE));
        let lost = self.lost.range(first..end).copied();
        let mut firm = lost.filter(|granule| {
            let start = granule * GRANULE;
            let cut = |change: &Change| matches!(change.what, What::Cut { size } if size < start + GRANULE);
            !self.changes.iter().skip(1).any(cut)
        });
        firm.next().map(|granule| (granule * GRANULE, granule))
    }

    /// True when some of a range may be lost.
    pub(super) fn may_be_lost(&self, offset: u64, len: u64) -> bool {
        let (first, end) = (offset / GRANULE, (offset + len).div_ceil(GRANULE));
        self.lost.range(first..end).next().is_some()
    }

    /// Judges the size that a look showed.
    pub(super) fn judge_whole_size(&self, by: Reader, size: u64) -> Result<(), String> {
        let died = self.changes.first().and_then(|base| base.ended);
        let (least, most) = self.sizes(by);
        match died.is_some_and(|died| died > by.began) || (least..=most).contains(&size) {
            true => Ok(()),
            false => Err(format!("{size} bytes of a file of {least}..={most}")),
        }
    }

    fn judge_size(&self, by: Reader, offset: u64, len: u64, got: u64) -> Result<(), String> {
        let (least, most) = self.sizes(by);
        let fits = match got {
            0 => least <= offset,
            got if got < len => (least..=most).contains(&(offset + got)),
            _ => most >= offset + len,
        };
        if fits {
            Ok(())
        } else {
            Err(format!(
                "{got} of {len} bytes at {offset} of a file of {least}..={most}"
            ))
        }
    }

    fn sizes(&self, by: Reader) -> (u64, u64) {
        let said = |change: &Change| match change.what {
            What::Put { to, .. } => to * CELL as u64,
            What::Cut { size } => size,
        };
        let cuts = || {
            let cuts = self.changes.iter().enumerate();
            cuts.filter(|(_, change)| matches!(change.what, What::Cut { .. }))
        };
        let (mut least, mut most) = (0, 0);
        for (at, change) in self.changes.iter().enumerate() {
            let hidden = cuts().any(|(_, cut)| cut.must_be_observed(by) && change.precedes(cut));
            if !hidden {
                most = most.max(said(change));
            }
            if change.must_be_observed(by) {
                let later = cuts().filter(|(other, cut)| *other != at && !cut.precedes(change));
                let cut = later.map(|(_, cut)| said(cut)).min().unwrap_or(u64::MAX);
                least = least.max(said(change).min(cut));
            }
        }
        (least, most)
    }

    /// No cut may have come after the change on this cell but such as began after it ended.
    fn is_firm(&self, at: usize, cell: u64) -> bool {
        let change = &self.changes[at];
        !self.changes.iter().any(|cut| {
            let cuts = matches!(cut.what, What::Cut { .. }) && cut.covers(cell);
            cuts && !cut.precedes(change) && !change.precedes(cut)
        })
    }

    fn judge_cell(&self, by: Reader, ino: u64, cell: u64, tag: u64) -> Result<(), String> {
        let source = |change: &Change| match change.what {
            What::Put { tag: wrote, .. } => wrote == tag && change.covers(cell),
            What::Cut { .. } => tag == 0 && (change.covers(cell) || change.began == 0),
        };
        let sources = self.changes.iter().filter(|change| source(change));
        let mut any = false;
        for from in sources {
            any = true;
            let hides = |(at, change): (usize, &Change)| {
                let firm = match change.what {
                    What::Put { .. } => self.is_firm(at, cell),
                    What::Cut { .. } => tag != 0,
                };
                firm && change.covers(cell) && change.must_be_observed(by) && from.precedes(change)
            };
            if !self.changes.iter().enumerate().any(hides) {
                return Ok(());
            }
        }
        let why = match any {
            true => "what was there before",
            false if tag >> 32 == ino || tag == 0 => "what was never written there",
            false => "bytes of another file",
        };
        Err(format!(
            "cell {cell} reads as {why}: {:x}.{}",
            tag >> 32,
            tag & 0xffff_ffff
        ))
    }
}

impl std::fmt::Display for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for change in &self.changes {
            let Change {
                what,
                host,
                began,
                ended,
                committed,
                ..
            } = change;
            write!(
                f,
                "  host {host} {what:?} {began}..{ended:?} heard {:?}",
                change.heard
            )?;
            writeln!(f, " committed {committed:?}, doubtful: {}", change.doubtful)?;
        }
        writeln!(f, "  lost: {:?}", self.lost)
    }
}

/// Fills cells with a tag.
pub(super) fn fill(bytes: &mut [u8], tag: u64) {
    for word in bytes.chunks_exact_mut(8) {
        word.copy_from_slice(&tag.to_le_bytes());
    }
}

/// The tag that fills a cell, or the part of one that ends a file.
pub(super) fn tag_of(cell: &[u8]) -> Option<u64> {
    let first = cell.first_chunk::<8>().copied().map(u64::from_le_bytes)?;
    let same = cell.chunks_exact(8).all(|word| word == first.to_le_bytes());
    same.then_some(first)
}

fn words(cell: &[u8]) -> BTreeSet<u64> {
    let words = cell
        .chunks_exact(8)
        .map(|word| word.try_into().map_or(0, u64::from_le_bytes));
    words.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const INO: u64 = 7;
    const EARLY: Reader = Reader {
        host: 1,
        opened: 1,
        began: 100,
    };
    const LATE: Reader = Reader {
        host: 1,
        opened: 50,
        began: 100,
    };

    fn put(history: &mut History, (from, to): (u64, u64), (began, ended): (u64, u64)) -> u64 {
        let tag = INO << 32 | began;
        let mut change = Change::new(What::Put { from, to, tag }, 0, began);
        change.ends(ended);
        history.changes.push(change);
        tag
    }

    fn reads(tags: &[u64]) -> Vec<u8> {
        let cell = |tag: &u64| {
            let mut cell = [0; CELL];
            fill(&mut cell, *tag);
            cell
        };
        tags.iter().flat_map(cell).collect()
    }

    fn judge(history: &History, by: Reader, tags: &[u64]) -> Result<(), String> {
        history.judge(by, INO, 0, 2 * CELL, &reads(tags))
    }

    #[test]
    fn what_was_committed_before_the_open_must_be_observed_and_what_it_covers_must_not() {
        let mut history = History::of_size(0, 0, BTreeSet::new());
        let old = put(&mut history, (0, 2), (2, 3));
        history.commits(0, 4, 5, false);
        let new = put(&mut history, (0, 1), (6, 7));
        assert!(
            judge(&history, LATE, &[old, old]).is_ok(),
            "the new one is not committed"
        );
        assert!(
            judge(&history, LATE, &[new, old]).is_ok(),
            "and may be seen all the same"
        );
        history.commits(0, 8, 9, false);
        assert!(judge(&history, LATE, &[old, old]).is_err());
        assert!(
            judge(&history, LATE, &[new, 0]).is_err(),
            "zeros in the place of bytes"
        );
        assert!(judge(&history, LATE, &[]).is_err(), "too short");
        assert!(
            judge(&history, EARLY, &[]).is_ok(),
            "the handle is older than all of it"
        );
        assert!(judge(&history, EARLY, &[old, old]).is_ok());
        history.doubts(0);
        assert!(
            judge(&history, LATE, &[old, old]).is_err(),
            "committed is committed"
        );
    }

    #[test]
    fn bytes_of_another_file_and_torn_cells_are_never_right() {
        let mut history = History::of_size(0, 0, BTreeSet::new());
        let tag = put(&mut history, (0, 2), (2, 3));
        for by in [EARLY, LATE] {
            assert!(judge(&history, by, &[tag, 8 << 32 | 2]).is_err());
        }
        let mut torn = reads(&[tag, tag]);
        torn[CELL - 1] ^= 1;
        assert!(history.judge(LATE, INO, 0, 2 * CELL, &torn).is_err());
    }

    #[test]
    fn a_cut_hides_what_came_before_once_it_was_heard_of() {
        let mut history = History::of_size(0, 0, BTreeSet::new());
        let old = put(&mut history, (0, 2), (2, 3));
        history.commits(0, 4, 5, false);
        let mut cut = Change::new(What::Cut { size: 512 }, 2, 6);
        cut.ends(7);
        history.changes.push(cut);
        assert!(judge(&history, LATE, &[old]).is_ok());
        assert!(judge(&history, LATE, &[old, old]).is_err(), "it was cut away");
        // Host 0 has not heard of the cut: its write may be before it.
        let new = put(&mut history, (1, 2), (8, 9));
        history.commits(0, 10, 11, false);
        assert!(judge(&history, LATE, &[old]).is_ok());
        assert!(judge(&history, LATE, &[old, new]).is_ok());
        history.heard(0, 12);
        let last = put(&mut history, (1, 2), (13, 14));
        history.commits(0, 15, 16, false);
        assert!(judge(&history, LATE, &[old]).is_err(), "this one came after it");
        assert!(judge(&history, LATE, &[old, last]).is_ok());
    }

    #[test]
    fn what_died_with_the_arena_is_refused_and_must_have_been_lost() {
        let mut history = History::of_size(0, 0, BTreeSet::new());
        put(&mut history, (0, 2), (2, 3));
        history.commits(0, 4, 5, true);
        assert!(
            history.clone().dies(1024, BTreeSet::new(), 20).is_err(),
            "synced, and zeros now"
        );
        history.dies(1024, BTreeSet::from([0]), 20).unwrap();
        assert!(judge(&history, LATE, &[0, 0]).is_err());
        assert!(history.may_be_lost(0, 1) && !history.may_be_lost(GRANULE, 1));
    }
}
