//! What happened to one file that is only appended to, and so what a reader of it may see.
//!
//! Each append adds one record, whose cells say which record they are of and which of its cells they are. So one look at a cell gives
//! the place of its whole record, and that must be the same in all looks, must not overlap another's, and must be behind all that were
//! answered before the record was begun. Bytes that no record has put are zeros: the place of an append that failed, or has not ended.

use super::history::{CELL, HOSTS, Reader, tag_of};
use rdmafs_meta::extent::GRANULE;
use std::collections::BTreeSet;

/// Cells of a record at most.
pub(super) const RECORD: u64 = 9;
/// Bits of a tag that count the cells of its record.
const INDEX: u64 = 4;

/// One append. Times are steps of the play.
#[derive(Clone, Debug)]
pub(super) struct Record {
    tag: u64,
    cells: u64,
    host: usize,
    pub(super) began: u64,
    /// When it was answered well.
    ended: Option<u64>,
    /// The cell where it begins, once somebody has seen it.
    place: Option<u64>,
    committed: Option<u64>,
    durable: bool,
    /// Its host may have lost it.
    doubtful: bool,
}

/// The history of such a file.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    records: Vec<Record>,
    /// Cells that it had when its node began to live.
    base: u64,
    since: u64,
    /// Granules whose bytes died with an arena.
    lost: BTreeSet<u64>,
}

impl Record {
    fn new((ino, began): (u64, u64), cells: u64, host: usize) -> Self {
        Self {
            tag: ino << 32 | began << INDEX & 0xffff_ffff,
            cells,
            host,
            began,
            ended: None,
            place: None,
            committed: None,
            durable: false,
            doubtful: false,
        }
    }

    fn must_be_observed(&self, by: Reader) -> bool {
        let own = self.host == by.host && self.ended.is_some_and(|ended| ended < by.began);
        let known = self.committed.is_some_and(|known| known < by.opened);
        self.ended.is_some() && !self.doubtful && (own || known)
    }

    fn end(&self) -> Option<u64> {
        Some(self.place? + self.cells)
    }
}

impl Log {
    /// An append begins. Gives its bytes.
    pub(super) fn begins(&mut self, (ino, began): (u64, u64), cells: u64, host: usize) -> Vec<u8> {
        let record = Record::new((ino, began), cells, host);
        let words = (0..cells).flat_map(|at| [record.tag | at; CELL / 8]);
        let bytes = words.flat_map(u64::to_le_bytes).collect();
        self.records.push(record);
        bytes
    }

    /// An append was answered well. `shaky`: its host may have lost it all the same.
    pub(super) fn ends(&mut self, began: u64, now: u64, shaky: bool) {
        for record in self.records.iter_mut().filter(|record| record.began == began) {
            record.ended = Some(now);
            record.doubtful |= shaky;
        }
    }

    /// A commit that began at `began` was answered well.
    pub(super) fn commits(&mut self, host: usize, began: u64, now: u64, durable: bool) {
        for record in self.records.iter_mut().filter(|record| record.host == host) {
            if record.ended.is_some_and(|ended| ended < began) {
                record.committed.get_or_insert(now);
                record.durable |= durable;
            }
        }
    }

    /// A host may have lost what it did not commit.
    pub(super) fn doubts(&mut self, host: usize) {
        for record in self.records.iter_mut().filter(|record| record.host == host) {
            record.doubtful |= record.committed.is_none();
        }
    }

    /// The arena died; the file is so long now, and these granules are lost. What must be lost and is not is an error.
    pub(super) fn dies(&mut self, size: u64, lost: BTreeSet<u64>, now: u64) -> Result<(), String> {
        let everybody = Reader {
            host: HOSTS,
            opened: now,
            began: now,
        };
        let synced = |record: &&Record| record.durable && record.must_be_observed(everybody);
        let all: u64 = self
            .records
            .iter()
            .filter(synced)
            .map(|record| record.cells)
            .sum();
        if size < (self.base + all) * CELL as u64 {
            return Err(format!(
                "{all} cells were appended and synced to a file of {size} bytes"
            ));
        }
        for record in self.records.iter().filter(synced) {
            let Some(place) = record.place else { continue };
            let mut granules = (place..place + record.cells).map(|cell| cell * CELL as u64 / GRANULE);
            if granules.any(|granule| !lost.contains(&granule) && !self.lost.contains(&granule)) {
                return Err(format!("synced {record:?} reads as zeros after the arena died"));
            }
        }
        self.records.retain(|record| record.ended.is_none());
        for record in &mut self.records {
            record.place = None;
        }
        (self.base, self.since, self.lost) = (size / CELL as u64, now, lost);
        Ok(())
    }

    /// True when some of the file may be lost.
    pub(super) fn may_be_lost(&self) -> bool {
        !self.lost.is_empty()
    }

    pub(super) fn is_longer_than(&self, records: usize) -> bool {
        self.may_be_lost() || self.records.len() > records
    }

    /// Judges a read of the whole file.
    pub(super) fn judge(&mut self, by: Reader, bytes: &[u8]) -> Result<(), String> {
        if self.since > by.began {
            // The arena died under it.
            return Ok(());
        }
        let most = self.base + self.records.iter().map(|record| record.cells).sum::<u64>();
        if bytes.len() as u64 > most * CELL as u64 {
            return Err(format!("{} bytes, and {most} cells were appended", bytes.len()));
        }
        let mut observed = BTreeSet::new();
        for (at, cell) in (0..).zip(bytes.chunks(CELL)) {
            let tag = tag_of(cell).ok_or_else(|| format!("cell {at} is torn"))?;
            if tag != 0 {
                self.sees(at, tag)?;
                observed.insert(tag);
            }
        }
        let missing = |record: &&Record| {
            record.must_be_observed(by) && (0..record.cells).any(|at| !observed.contains(&(record.tag | at)))
        };
        match self.records.iter().find(missing) {
            Some(record) => Err(format!("not all there: {record:?}")),
            None => self.is_in_order(),
        }
    }

    /// Judges the size that a look showed.
    pub(super) fn judge_size(&self, by: Reader, size: u64) -> Result<(), String> {
        let all = |counts: &dyn Fn(&&Record) -> bool| {
            let cells: u64 = self
                .records
                .iter()
                .filter(counts)
                .map(|record| record.cells)
                .sum();
            (self.base + cells) * CELL as u64
        };
        let (least, most) = (all(&|record| record.must_be_observed(by)), all(&|_| true));
        match self.since > by.began || (least..=most).contains(&size) {
            true => Ok(()),
            false => Err(format!("{size} bytes, and {least}..={most} were appended")),
        }
    }

    /// A cell shows where its record is.
    fn sees(&mut self, cell: u64, tag: u64) -> Result<(), String> {
        let at = tag & ((1 << INDEX) - 1);
        let of = |record: &&mut Record| record.tag == tag - at && at < record.cells;
        let Some(record) = self.records.iter_mut().find(of) else {
            return Err(format!("cell {cell} reads as what was never appended: {tag:x}"));
        };
        match cell.checked_sub(at) {
            Some(place) if *record.place.get_or_insert(place) == place => Ok(()),
            _ => Err(format!("cell {cell} is cell {at} of {record:?}")),
        }
    }

    /// No two records overlap, and who was answered is before who asked then.
    fn is_in_order(&self) -> Result<(), String> {
        let mut placed: Vec<_> = self
            .records
            .iter()
            .filter(|record| record.place.is_some())
            .collect();
        placed.sort_by_key(|record| record.place);
        for (at, later) in placed.iter().enumerate() {
            for earlier in &placed[..at] {
                let late = later.ended.is_some_and(|ended| ended < earlier.began);
                if late || earlier.end() > later.place {
                    return Err(format!("{earlier:?}\n  overlaps, or lies before\n  {later:?}"));
                }
            }
        }
        // What had its place before the node died may still come.
        let mut new = placed.iter().filter(|record| record.began > self.since);
        match new.find(|record| record.place < Some(self.base)) {
            Some(record) => Err(format!("lies within the first {} cells: {record:?}", self.base)),
            None => Ok(()),
        }
    }
}

impl std::fmt::Display for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for record in &self.records {
            writeln!(f, "  {record:x?}")?;
        }
        writeln!(f, "  from cell {} on, lost: {:?}", self.base, self.lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INO: u64 = 7;
    const LATE: Reader = Reader {
        host: 1,
        opened: 50,
        began: 100,
    };

    /// Two records of two hosts, answered and committed, the second begun after the first had ended.
    fn two() -> (Log, Vec<u8>, Vec<u8>) {
        let mut log = Log::default();
        let first = log.begins((INO, 2), 2, 0);
        log.ends(2, 3, false);
        let second = log.begins((INO, 4), 1, 2);
        log.ends(4, 5, false);
        log.commits(0, 6, 7, true);
        log.commits(2, 6, 7, true);
        (log, first, second)
    }

    #[test]
    fn records_are_whole_apart_and_in_order() {
        let (log, first, second) = two();
        let judge = |parts: &[&[u8]]| log.clone().judge(LATE, &parts.concat());
        assert!(judge(&[&first, &second]).is_ok());
        assert!(judge(&[&second, &first]).is_err(), "the wrong order");
        assert!(judge(&[&first]).is_err(), "one is missing");
        assert!(judge(&[&second]).is_err(), "the other is");
        assert!(
            judge(&[&first[..CELL], &second]).is_err(),
            "one covers the other's end"
        );
        assert!(
            judge(&[&first[CELL..], &second, &first[..CELL]]).is_err(),
            "torn apart"
        );
        assert!(
            judge(&[&first, &second, &[0; CELL]]).is_err(),
            "longer than all of them"
        );
    }

    #[test]
    fn a_record_stays_where_it_was_observed() {
        let (mut log, first, second) = two();
        log.begins((INO, 8), 1, 1);
        let mut moved = first.clone();
        moved.extend([0; CELL]);
        moved.extend(&second);
        assert!(log.clone().judge(LATE, &moved).is_ok(), "behind what did not end");
        log.judge(LATE, &[first, second].concat()).unwrap();
        assert!(log.judge(LATE, &moved).is_err());
    }

    #[test]
    fn what_was_synced_must_be_lost_with_the_arena_and_counts_in_the_size() {
        let (mut log, first, second) = two();
        log.judge(LATE, &[first, second].concat()).unwrap();
        assert!(log.clone().dies(3 * 512, BTreeSet::new(), 200).is_err());
        assert!(log.clone().dies(2 * 512, BTreeSet::from([0]), 200).is_err());
        assert!(log.dies(3 * 512, BTreeSet::from([0]), 200).is_ok());
        let by = Reader { began: 300, ..LATE };
        let early = log.begins((INO, 201), 1, 0);
        assert!(log.judge(by, &early).is_err(), "in the place of what was there");
    }
}
