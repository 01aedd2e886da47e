//! Bytes of open files, and sizes.

use crate::ops::action::{Observed, SLOTS};
use crate::ops::outcome::Outcome;
use crate::ops::path::{FilePath, path};
use rand::RngExt;
use rand::rngs::StdRng;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the flags of open(2)")]
pub struct How {
    pub read: bool,
    pub write: bool,
    pub append: bool,
    pub truncate: bool,
    pub create: bool,
    pub exclusive: bool,
    pub mode: u16,
}

/// A system call on the bytes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the arguments of the system calls of these names")]
pub enum Bytes {
    Open {
        slot: usize,
        path: FilePath,
        how: How,
    },
    Close {
        slot: usize,
    },
    Read {
        slot: usize,
        at: u64,
        len: usize,
    },
    Write {
        slot: usize,
        at: u64,
        len: usize,
        fill: u8,
    },
    Sync {
        slot: usize,
    },
    FileTruncate {
        slot: usize,
        size: u64,
    },
    FileStat {
        slot: usize,
    },
    Truncate {
        path: FilePath,
        size: u64,
    },
}

impl Bytes {
    /// Every kind that the coverage tells apart.
    pub(super) const KINDS: &[&str] = &[
        "open",
        "open, truncate",
        "open, append",
        "create",
        "create, exclusive",
        "close",
        "read",
        "end of file",
        "write",
        "append",
        "sync",
        "ftruncate",
        "fstat",
        "truncate",
    ];

    pub(super) fn random(rng: &mut StdRng) -> Self {
        let slot = rng.random_range(0..SLOTS);
        let at = random_offset(rng);
        match rng.random_range(0..63) {
            0..=17 => Bytes::Open {
                slot,
                path: path(rng),
                how: random_how(rng),
            },
            18..=21 => Bytes::Close { slot },
            22..=36 => Bytes::Read {
                slot,
                at,
                len: random_len(rng),
            },
            37..=51 => Bytes::Write {
                slot,
                at,
                len: random_len(rng),
                fill: rng.random(),
            },
            52 => Bytes::Sync { slot },
            53..=56 => Bytes::FileTruncate { slot, size: at },
            57..=59 => Bytes::FileStat { slot },
            // Not to 0: whether that is a change of an empty file is not the same everywhere (docs/semantics.md, Exceptions).
            _ => Bytes::Truncate {
                path: path(rng),
                size: at.max(1),
            },
        }
    }

    pub(super) fn kind(&self, outcome: &Outcome, observed: &mut Observed) -> &'static str {
        match self {
            Bytes::Open { slot, how, .. } => {
                if *outcome == Outcome::Done {
                    observed.appends[*slot] = how.append;
                }
                how.kind()
            }
            Bytes::Close { .. } => "close",
            Bytes::Read { .. } if *outcome == Outcome::Bytes(Vec::new()) => "end of file",
            Bytes::Read { .. } => "read",
            Bytes::Write { slot, .. } if observed.appends[*slot] => "append",
            Bytes::Write { .. } => "write",
            Bytes::Sync { .. } => "sync",
            Bytes::FileTruncate { .. } => "ftruncate",
            Bytes::FileStat { .. } => "fstat",
            Bytes::Truncate { .. } => "truncate",
        }
    }
}

impl How {
    fn kind(self) -> &'static str {
        match self {
            how if how.create && how.exclusive => "create, exclusive",
            how if how.create => "create",
            how if how.truncate => "open, truncate",
            how if how.append => "open, append",
            _ => "open",
        }
    }
}

/// The bytes that a [`Bytes::Write`] writes: never zero, so that a hole is told from data.
#[must_use]
pub fn pattern(fill: u8, len: usize) -> Vec<u8> {
    (0..=u8::MAX)
        .cycle()
        .step_by(7)
        .take(len)
        .map(|i| i.wrapping_mul(31).wrapping_add(fill) | 1)
        .collect()
}

fn random_how(rng: &mut StdRng) -> How {
    let write = rng.random_bool(0.7);
    How {
        read: !write || rng.random_bool(0.7),
        write,
        append: write && rng.random_bool(0.2),
        truncate: write && rng.random_bool(0.2),
        create: rng.random_bool(0.6),
        exclusive: rng.random_bool(0.15),
        mode: [0o644, 0o666, 0o600, 0o400, 0o660][rng.random_range(0..5)],
    }
}

/// Near the start, near the edges of granules, anywhere in some pages, and far out.
pub(super) fn random_offset(rng: &mut StdRng) -> u64 {
    match rng.random_range(0..10) {
        0..=1 => 0,
        2..=3 => rng.random_range(0..200),
        4..=6 => rng.random_range(1..20) * 4096 + rng.random_range(0..3) - 1,
        7..=8 => rng.random_range(0..200_000),
        _ => [1 << 26, (1 << 33) + 17, (1 << 40) - 1][rng.random_range(0..3)],
    }
}

pub(super) fn random_len(rng: &mut StdRng) -> usize {
    match rng.random_range(0..10) {
        0..=3 => rng.random_range(1..200),
        4..=6 => rng.random_range(4000..4200),
        7..=8 => rng.random_range(1..20_000),
        _ => rng.random_range(1..70_000),
    }
}
