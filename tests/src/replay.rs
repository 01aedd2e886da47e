//! Runs random sequences against two systems side by side, and shortens a sequence on which they disagree.

use crate::ops::{Mix, Op, Outcome, random};
use rand::SeedableRng;
use rand::rngs::StdRng;

/// The sequence of a seed.
#[must_use]
pub fn sequence(seed: u64, len: usize, mix: Mix) -> Vec<Op> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..len).map(|_| random(&mut rng, mix)).collect()
}

/// What two systems that disagree said to one operation.
#[derive(Clone, Debug)]
pub struct Disagreement {
    /// Index of the operation.
    pub at: usize,
    /// What the judge allows.
    pub wanted: Outcome,
    /// What the other gave.
    pub got: Outcome,
}

/// Applies the operations one by one to both and stops at the first outcome that `judge` does not allow.
///
/// # Errors
/// That outcome.
pub fn compare(
    ops: &[Op],
    mut judge: impl FnMut(&Op) -> Outcome,
    mut other: impl FnMut(&Op) -> Outcome,
) -> Result<(), Disagreement> {
    for (at, op) in ops.iter().enumerate() {
        let (wanted, got) = (judge(op), other(op));
        if !wanted.allows(&got) {
            return Err(Disagreement { at, wanted, got });
        }
    }
    Ok(())
}

/// Runs `check` on the sequence of `seed`. If it fails, shortens the sequence as long as it fails, and panics with the seed, the
/// short sequence and what was said. `check` starts both systems afresh.
///
/// # Panics
/// When the systems disagree: this is a test.
pub fn run(seed: u64, len: usize, mix: Mix, check: impl Fn(&[Op]) -> Result<(), Disagreement>) {
    let ops = sequence(seed, len, mix);
    let Err(mut failure) = check(&ops) else {
        return;
    };
    let mut short = ops[..=failure.at].to_vec();
    let mut step = short.len() / 2;
    while step > 0 {
        let mut from = 0;
        while from < short.len() {
            let mut without = short.clone();
            without.drain(from..short.len().min(from + step));
            match check(&without) {
                Err(again) => {
                    short = without[..=again.at].to_vec();
                    failure = again;
                }
                Ok(()) => from += step,
            }
        }
        step /= 2;
    }
    let trace: Vec<_> = short.iter().map(|op| format!("  {op:?}")).collect();
    panic!(
        "seed {seed}, {} of {len} operations are enough:\n{}\nwanted {:?}\n   got {:?}",
        short.len(),
        trace.join("\n"),
        failure.wanted,
        failure.got
    );
}
