//! Words: atomic changes of 8 bytes of an open file, a number in little-endian order. Only rdmafs has them (`docs/rdmafs.h`).

use crate::ops::action::SLOTS;
use crate::ops::bytes::random_offset;
use crate::ops::outcome::Outcome;
use rand::RngExt;
use rand::rngs::StdRng;

/// An ioctl on a word.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "the arguments of the functions of these names in docs/rdmafs.h"
)]
pub enum Atomics {
    FetchAdd {
        slot: usize,
        at: u64,
        add: u64,
    },
    CompareSwap {
        slot: usize,
        at: u64,
        expected: u64,
        new: u64,
    },
}

impl Atomics {
    /// Every kind that the coverage tells apart.
    pub(super) const KINDS: &[&str] = &["fetch and add", "compare and swap", "compare, no swap"];

    pub(super) fn random(rng: &mut StdRng) -> Self {
        let (slot, at) = (rng.random_range(0..SLOTS), random_place(rng));
        match rng.random() {
            false => Atomics::FetchAdd {
                slot,
                at,
                add: [0, 1, u64::MAX, rng.random()][rng.random_range(0..4)],
            },
            // Few numbers, so that the expected one is met.
            true => Atomics::CompareSwap {
                slot,
                at,
                expected: rng.random_range(0..2),
                new: rng.random_range(0..3),
            },
        }
    }

    pub(super) fn kind(&self, outcome: &Outcome) -> &'static str {
        match (self, outcome) {
            (Atomics::FetchAdd { .. }, _) => "fetch and add",
            (Atomics::CompareSwap { expected, .. }, Outcome::Atomic(before)) if before != expected => {
                "compare, no swap"
            }
            (Atomics::CompareSwap { .. }, _) => "compare and swap",
        }
    }
}

/// Mostly a place of a word.
fn random_place(rng: &mut StdRng) -> u64 {
    match rng.random_range(0..10) {
        0..=3 => rng.random_range(0..4) * 8,
        4..=8 => random_offset(rng) / 8 * 8,
        _ => [1, 4, 4095, u64::MAX, u64::MAX - 7][rng.random_range(0..5)],
    }
}
