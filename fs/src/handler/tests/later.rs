//! What is written to files that stay open.

use super::sweep::lab::{Lab, pattern};
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::id::InodeId;
use std::time::Duration;

const COMMIT: Duration = Duration::from_secs(5);

fn size(lab: &mut Lab, ino: InodeId) -> u64 {
    let host = lab.b;
    let entry = lab.call(host, |mount| Box::pin(mount.getattr(Credentials::root(), ino)));
    entry.unwrap().attr.size
}

fn calls(lab: &Lab) -> u64 {
    lab.sim.mount(lab.a).client.counter.traffic().count
}

#[test]
fn what_was_written_is_elsewhere_after_five_seconds_and_outlives_its_host() {
    let mut lab = Lab::new();
    lab.create(lab.a, "log").unwrap();
    let (_, ino, _) = lab.open["log"];
    let bytes = pattern(5000, 3);
    lab.write("log", 0, &bytes).unwrap();
    assert_eq!(size(&mut lab, ino), 0);
    lab.sim.pass_by(COMMIT);
    assert_eq!(size(&mut lab, ino), 5000);
    lab.write("log", 5000, &bytes).unwrap();
    lab.sim.pass_by(COMMIT);
    assert_eq!(size(&mut lab, ino), 10_000);
    let a = lab.a;
    lab.sim.kill_host(a, true);
    lab.sim.pass_by(Duration::from_secs(60));
    let b = lab.b;
    lab.open(b, "log", super::world::RW, "theirs").unwrap();
    assert_eq!(lab.read("theirs", 5000, 5000).unwrap(), bytes);
}

#[test]
fn a_thousand_writes_are_one_call_and_none_are_none() {
    let mut lab = Lab::new();
    lab.create(lab.a, "f").unwrap();
    lab.write("f", 0, &[1; 100]).unwrap();
    lab.fsync("f").unwrap();
    let mut passes = |writes: u64| {
        for at in 0..writes {
            lab.write("f", at % 4096, &[2]).unwrap();
        }
        let before = calls(&lab);
        lab.sim.pass_by(Duration::from_secs(20));
        calls(&lab) - before
    };
    passes(1);
    let idle = passes(0);
    assert_eq!(passes(1000), idle + 1);
    assert_eq!(passes(0), idle);
}

#[test]
fn a_flood_of_files_is_committed_and_a_node_that_is_away_for_a_while_loses_nothing() {
    const NAMES: [&str; 24] = [
        "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t",
        "u", "v", "w", "x",
    ];
    let mut lab = Lab::new();
    let host = lab.a;
    for name in NAMES {
        lab.create(host, name).unwrap();
        lab.write(name, 0, &[1; 10]).unwrap();
    }
    let end = &lab.sim.connections(host)[0].clone();
    lab.sim.pass_by(COMMIT / 2);
    end.disconnect();
    lab.sim.pass_by(2 * COMMIT);
    for name in NAMES {
        let (_, ino, _) = lab.open[name];
        assert_eq!(size(&mut lab, ino), 10, "{name}");
    }
}

#[test]
fn the_shortest_time_of_a_pools_mounts_counts_and_it_changes_while_mounted() {
    let mut lab = Lab::new();
    lab.create(lab.a, "f").unwrap();
    let (_, ino, _) = lab.open["f"];
    let mount = lab.sim.mount(lab.a);
    mount.set_times(Duration::from_secs(3), Duration::from_secs(60));
    assert_eq!(mount.timeout(), Duration::from_secs(3));
    lab.write("f", 0, &[1; 10]).unwrap();
    lab.sim.pass_by(Duration::from_secs(50));
    assert_eq!(size(&mut lab, ino), 0);
    lab.sim.pass_by(Duration::from_secs(11));
    assert_eq!(size(&mut lab, ino), 10);
    mount.set_times(Duration::from_secs(3), Duration::from_secs(1));
    lab.write("f", 10, &[1; 10]).unwrap();
    lab.sim.pass_by(Duration::from_millis(1100));
    assert_eq!(size(&mut lab, ino), 20);
}
