//! Runs random sequences against two systems side by side, and shortens a sequence on which they disagree.

use crate::ops::{Mix, Op, Outcome, random};
use rand::SeedableRng;
use rand::rngs::StdRng;

/// How often a check may run while a sequence is shortened.
const TRIES: usize = 2000;

/// How often the shortened sequence is run again, to say whether its failure is certain.
const REPEATS: usize = 3;

/// The sequence of a seed.
#[must_use]
pub fn sequence(seed: u64, len: usize, mix: Mix) -> Vec<Op> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..len).map(|_| random(&mut rng, mix)).collect()
}

/// What two systems that disagree said to one operation.
#[derive(Clone, Debug)]
pub struct Disagreement {
    /// Index of the operation among those that were compared; a check may look at more than the sequence it was given.
    pub at: usize,
    /// The operation.
    pub op: Box<Op>,
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
            let op = Box::new(op.clone());
            return Err(Disagreement { at, op, wanted, got });
        }
    }
    Ok(())
}

/// Runs `check` on the sequence of `seed`. If it fails, shortens the sequence as long as it fails, and panics with the seed, the
/// short sequence, what was said, and how often the short sequence fails when it is run again: real mounts have clocks and
/// threads, so a run need not repeat. `check` starts both systems afresh.
///
/// # Panics
/// When the systems disagree: this is a test.
pub fn run(seed: u64, len: usize, mix: Mix, mut check: impl FnMut(&[Op]) -> Result<(), Disagreement>) {
    // The output of a test that fails is shown: whoever panics inside `check` can be replayed too.
    eprintln!("seed {seed}");
    let ops = sequence(seed, len, mix);
    let Err(first) = check(&ops) else {
        return;
    };
    let (short, failure) = shorten(&ops, first, &mut check);
    let anew = (0..REPEATS).filter(|_| check(&short).is_err()).count();
    let trace: Vec<_> = short.iter().map(|op| format!("  {op:?}")).collect();
    panic!(
        "seed {seed}, {} of {len} operations are enough (failed {anew} of {REPEATS} times when run again):\n{}\n\
         then {:?}\nwanted {:?}\n   got {:?}",
        short.len(),
        trace.join("\n"),
        failure.op,
        failure.wanted,
        failure.got
    );
}

/// Leaves out ever smaller parts as long as the rest still fails.
fn shorten(
    ops: &[Op],
    first: Disagreement,
    check: &mut impl FnMut(&[Op]) -> Result<(), Disagreement>,
) -> (Vec<Op>, Disagreement) {
    let (mut short, mut failure, mut tries) = (up_to(ops, &first), first, TRIES);
    let mut step = short.len() / 2;
    while step > 0 {
        let mut from = 0;
        while from < short.len() && tries > 0 {
            tries -= 1;
            let mut without = short.clone();
            without.drain(from..short.len().min(from + step));
            match check(&without) {
                Err(anew) => (short, failure) = (up_to(&without, &anew), anew),
                Ok(()) => from += step,
            }
        }
        step /= 2;
    }
    (short, failure)
}

/// What came before the operation that failed, and itself; all of it where the failure showed only afterwards.
fn up_to(ops: &[Op], failure: &Disagreement) -> Vec<Op> {
    ops[..ops.len().min(failure.at + 1)].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{Action, Names};
    use std::panic::{AssertUnwindSafe, catch_unwind};

    const MIX: Mix = Mix {
        mounts: 1,
        callers: 1,
        protected: false,
        atomics: true,
    };

    /// What `run` says when a check fails.
    fn said(check: impl FnMut(&[Op]) -> Result<(), Disagreement>) -> String {
        let run = AssertUnwindSafe(|| run(1, 200, MIX, check));
        *catch_unwind(run).unwrap_err().downcast().unwrap()
    }

    fn disagree(at: usize, ops: &[Op]) -> Disagreement {
        let (wanted, got) = (Outcome::Done, Outcome::Count(1));
        let op = Box::new(ops.last().unwrap_or(&sequence(0, 1, MIX)[0]).clone());
        Disagreement { at, op, wanted, got }
    }

    #[test]
    fn a_failing_sequence_is_shortened_to_the_operation_that_fails() {
        let unlink = |op: &Op| matches!(op.action, Action::Names(Names::Unlink { .. }));
        let text = said(|ops| match ops.iter().position(unlink) {
            Some(at) => Err(disagree(at, &ops[..=at])),
            None => Ok(()),
        });
        assert!(
            text.contains("1 of 200 operations are enough (failed 3 of 3"),
            "{text}"
        );
        assert!(text.contains("Unlink"), "{text}");
    }

    /// The differential run looks at everything after the sequence.
    #[test]
    fn a_failure_after_the_sequence_is_reported() {
        let text = said(|ops| Err(disagree(ops.len() + 5, ops)));
        assert!(text.contains("0 of 200 operations are enough"), "{text}");
    }

    #[test]
    fn a_failure_that_does_not_come_anew_is_reported_as_such() {
        let mut first = true;
        let text = said(|ops| {
            let failed = std::mem::take(&mut first);
            if failed { Err(disagree(150, ops)) } else { Ok(()) }
        });
        let wanted = "151 of 200 operations are enough (failed 0 of 3 times when run again)";
        assert!(text.contains(wanted), "{text}");
    }
}
