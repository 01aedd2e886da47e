//! Space of open files, and copies between them.

use crate::ops::action::SLOTS;
use crate::ops::bytes::{random_len, random_offset};
use rand::RngExt;
use rand::rngs::StdRng;

/// A system call on a range of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the arguments of the system calls of these names")]
pub enum Space {
    Allocate {
        slot: usize,
        at: u64,
        len: usize,
        keep_size: bool,
        zero: bool,
    },
    Punch {
        slot: usize,
        at: u64,
        len: usize,
    },
    Copy {
        from: (usize, u64),
        to: (usize, u64),
        len: usize,
    },
}

impl Space {
    /// Every kind that the coverage tells apart.
    pub(super) const KINDS: &[&str] = &["allocate", "zero range", "punch", "copy"];

    pub(super) fn random(rng: &mut StdRng) -> Self {
        let (slot, at, len) = (rng.random_range(0..SLOTS), random_offset(rng), random_len(rng));
        match rng.random_range(0..10) {
            0..=3 => Space::Allocate {
                slot,
                at,
                len,
                keep_size: rng.random(),
                zero: rng.random(),
            },
            4..=5 => Space::Punch { slot, at, len },
            _ => Space::Copy {
                from: (rng.random_range(0..SLOTS), random_offset(rng)),
                to: (slot, at),
                len,
            },
        }
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Space::Allocate { zero: false, .. } => "allocate",
            Space::Allocate { zero: true, .. } => "zero range",
            Space::Punch { .. } => "punch",
            Space::Copy { .. } => "copy",
        }
    }
}
