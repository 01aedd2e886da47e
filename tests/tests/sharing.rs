//! A million steps of three handlers on one pool, with deaths, pauses, partitions and restarts: see `rdmafs_tests::sharing`.
//!
//! `RDMAFS_SHARING_SEED` asks for another first seed, `RDMAFS_SHARING_PLAYS` for another number of plays; a failure names its seed.

use rdmafs_tests::sharing::{Played, play};

/// Operations of a play.
const OPERATIONS: u64 = 20_000;
/// Plays, each with a seed of its own.
const PLAYS: u64 = 9;

#[test]
fn a_million_steps_of_three_handlers() {
    let named = |name: &str| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().expect("a number"))
    };
    let first = named("RDMAFS_SHARING_SEED").unwrap_or(1);
    let asked = named("RDMAFS_SHARING_PLAYS");
    let plays = asked.unwrap_or(PLAYS);
    let mut all = Played::default();
    for seed in first..first + plays {
        match play(seed, OPERATIONS) {
            Ok(played) => all.add(played),
            Err(why) => panic!("{why}"),
        }
    }
    println!("{all:#?}: {} steps", all.steps());
    let enough = all.steps() >= 1_000_000 && all.faults >= 500;
    assert!(enough || asked.is_some(), "too little was played");
}
