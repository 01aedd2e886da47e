//! What happened to a file of either kind: written anywhere, or appended to only.

use super::history::{CELL, Change, History, Reader, What, fill};
use super::log::Log;
use std::collections::BTreeSet;
use std::fmt;

/// A file that was changed so often is not changed any more: it is removed some time.
const CHANGES: usize = 60;
/// So is one with so many records.
const RECORDS: usize = 24;

/// The past of a file.
#[derive(Clone, Debug)]
pub(super) enum Past {
    Cells(History),
    Records(Log),
}

impl Past {
    /// Of a file that is made now.
    pub(super) fn new(log: bool) -> Self {
        match log {
            true => Self::Records(Log::default()),
            false => Self::Cells(History::of_size(0, 0, BTreeSet::new())),
        }
    }

    /// A write, or an append, of so many cells begins. Gives its bytes.
    pub(super) fn writes(
        &mut self,
        (ino, began): (u64, u64),
        (from, to): (u64, u64),
        host: usize,
    ) -> Vec<u8> {
        match self {
            Self::Cells(history) => {
                let tag = ino << 32 | began & 0xffff_ffff;
                let mut bytes = vec![0; usize::try_from(to - from).unwrap_or(1) * CELL];
                fill(&mut bytes, tag);
                let change = Change::new(What::Put { from, to, tag }, host, began);
                history.changes.push(change);
                bytes
            }
            Self::Records(log) => log.begins((ino, began), to - from, host),
        }
    }

    /// A truncate begins.
    pub(super) fn cuts(&mut self, size: u64, host: usize, began: u64) {
        if let Self::Cells(history) = self {
            history.changes.push(Change::new(What::Cut { size }, host, began));
        }
    }

    /// The change that began then is done. `shaky`: its host may have lost it. True when others must hear of it.
    pub(super) fn ends(&mut self, began: u64, now: u64, shaky: bool) -> bool {
        match self {
            Self::Cells(history) => history.ends(began, now, shaky),
            Self::Records(log) => {
                log.ends(began, now, shaky);
                false
            }
        }
    }

    /// A host has heard all that it was sent.
    pub(super) fn heard(&mut self, host: usize, now: u64) {
        if let Self::Cells(history) = self {
            history.heard(host, now);
        }
    }

    /// A commit that began at `began` was answered well.
    pub(super) fn commits(&mut self, host: usize, began: u64, now: u64, durable: bool) {
        match self {
            Self::Cells(history) => history.commits(host, began, now, durable),
            Self::Records(log) => log.commits(host, began, now, durable),
        }
    }

    /// A host may have lost what it did not commit.
    pub(super) fn doubts(&mut self, host: usize) {
        match self {
            Self::Cells(history) => history.doubts(host),
            Self::Records(log) => log.doubts(host),
        }
    }

    /// The arena died; the file is so long now, and these granules are lost.
    pub(super) fn dies(&mut self, size: u64, lost: BTreeSet<u64>, now: u64) -> Result<(), String> {
        match self {
            Self::Cells(history) => history.dies(size, lost, now),
            Self::Records(log) => log.dies(size, lost, now),
        }
    }

    /// True when some of a range may be lost.
    pub(super) fn may_be_lost(&self, offset: u64, len: u64) -> bool {
        match self {
            Self::Cells(history) => history.may_be_lost(offset, len),
            Self::Records(log) => log.may_be_lost(),
        }
    }

    /// Judges a read that asked for `len` bytes from `offset` on and was given `bytes`. A file that is appended to is read as a whole.
    pub(super) fn judge(
        &mut self,
        by: Reader,
        ino: u64,
        (offset, len): (u64, usize),
        bytes: &[u8],
    ) -> Result<(), String> {
        match self {
            Self::Cells(history) => history.judge(by, ino, offset, len, bytes),
            Self::Records(log) => log.judge(by, bytes),
        }
    }

    /// Judges the size that a look showed.
    pub(super) fn judge_size(&self, by: Reader, size: u64) -> Result<(), String> {
        match self {
            Self::Cells(history) => history.judge_whole_size(by, size),
            Self::Records(log) => log.judge_size(by, size),
        }
    }

    pub(super) fn is_log(&self) -> bool {
        matches!(self, Self::Records(_))
    }

    pub(super) fn is_worn(&self) -> bool {
        match self {
            Self::Cells(history) => history.changes.len() > CHANGES,
            Self::Records(log) => log.is_longer_than(RECORDS),
        }
    }
}

impl fmt::Display for Past {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cells(history) => history.fmt(f),
            Self::Records(log) => log.fmt(f),
        }
    }
}
