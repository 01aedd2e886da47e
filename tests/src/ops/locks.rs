//! Locks: flock(2), and those of fcntl(2) that an open file has (OFD) or the process. No call waits.
//!
//! Ranges begin and end at a few places only, so that a lock is a set of cells to whoever thinks of it that way. Who is in the way is asked
//! of one byte: of several locks, systems may name any.

use crate::ops::action::SLOTS;
use crate::ops::outcome::Outcome;
use rand::RngExt;
use rand::rngs::StdRng;
use std::ops::Range;

/// The last byte that a lock can cover.
const LAST_BYTE: u64 = i64::MAX as u64;

/// Where cells begin. Each ends before the next one, the last at [`LAST_BYTE`].
const EDGES: [u64; 9] = [0, 1, 2, 10, 100, 4096, 1 << 33, LAST_BYTE - 1, LAST_BYTE];

/// Some bytes, one cell or more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cells(pub Range<usize>);

impl Cells {
    /// The first and the last byte.
    #[must_use]
    pub fn bytes(&self) -> (u64, u64) {
        let next = EDGES.get(self.0.end);
        (EDGES[self.0.start], next.map_or(LAST_BYTE, |next| next - 1))
    }
}

/// What is to be had of a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "their names say it")]
pub enum Hold {
    Nothing,
    Shared,
    Exclusive,
}

/// Whose a lock of bytes is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "their names say it")]
pub enum Whose {
    OpenFile,
    Process,
}

/// A system call on locks.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the arguments of the system calls of these names")]
pub enum Locks {
    Flock {
        slot: usize,
        hold: Hold,
    },
    Set {
        slot: usize,
        whose: Whose,
        hold: Hold,
        cells: Cells,
    },
    /// Who is in the way of a lock of the first byte of this cell.
    Get {
        slot: usize,
        whose: Whose,
        exclusive: bool,
        cell: usize,
    },
}

impl Locks {
    /// Every kind that the coverage tells apart.
    pub(super) const KINDS: &[&str] = &[
        "flock",
        "flock, unlock",
        "lock by file",
        "lock by process",
        "unlock bytes",
        "get lock",
        "get lock, free",
    ];

    pub(super) fn random(rng: &mut StdRng) -> Self {
        let slot = rng.random_range(0..SLOTS);
        let whose = [Whose::OpenFile, Whose::OpenFile, Whose::Process][rng.random_range(0..3)];
        match rng.random_range(0..10) {
            0..=2 => Locks::Flock {
                slot,
                hold: random_hold(rng),
            },
            3..=7 => Locks::Set {
                slot,
                whose,
                hold: random_hold(rng),
                cells: random_cells(rng),
            },
            _ => Locks::Get {
                slot,
                whose,
                exclusive: rng.random(),
                cell: rng.random_range(0..EDGES.len()),
            },
        }
    }

    pub(super) fn kind(&self, outcome: &Outcome) -> &'static str {
        match self {
            Locks::Flock {
                hold: Hold::Nothing, ..
            } => "flock, unlock",
            Locks::Flock { .. } => "flock",
            Locks::Set {
                hold: Hold::Nothing, ..
            } => "unlock bytes",
            Locks::Set {
                whose: Whose::OpenFile,
                ..
            } => "lock by file",
            Locks::Set { .. } => "lock by process",
            Locks::Get { .. } if *outcome == Outcome::Done => "get lock, free",
            Locks::Get { .. } => "get lock",
        }
    }
}

fn random_hold(rng: &mut StdRng) -> Hold {
    [Hold::Nothing, Hold::Shared, Hold::Exclusive][rng.random_range(0..3)]
}

fn random_cells(rng: &mut StdRng) -> Cells {
    let start = rng.random_range(0..EDGES.len());
    match rng.random_range(0..6) {
        0 => Cells(0..EDGES.len()),
        _ => Cells(start..EDGES.len().min(start + rng.random_range(1..5))),
    }
}
