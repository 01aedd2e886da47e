//! A fault at every operation of a load, and many threads.

use super::rig::{LARGE, MIB, MILLI, Rig, TIMEOUT, block_on, echo, latency, pattern};
use rdmafs_rdma::qos::share::Share;
use rdmafs_rdma::sim::{Fault, Pace};
use std::time::Duration;

/// A mixed load; true when every part of it resolved.
fn load(rig: &Rig) -> bool {
    let share = Share {
        bw: 4 << 20,
        ..Share::default()
    };
    let flow = rig.link.open_flow(share, TIMEOUT);
    let other = rig.flow();
    let limit = Duration::from_secs(300);
    let mut resolved = true;
    let write = rig.link.write(&flow, 0, 0, rig.buffer(400_000, 1), None);
    let call = rig.link.call(b"one", TIMEOUT);
    drop(
        rig.link
            .write(&other, 1, 2 * MIB as u64, rig.buffer(400_000, 2), None),
    );
    let read = rig.link.read(&other, 2, 0, rig.buffer(200_000, 0), None);
    resolved &= rig.sim.drive(read, limit).is_some();
    resolved &= rig.sim.drive(call, limit).is_some();
    resolved &= rig.sim.drive(write, limit).is_some();
    let last = rig.link.read(&flow, 3, 0, rig.buffer(4096, 0), None);
    drop(flow);
    resolved &= rig.sim.drive(last, limit).is_some();
    resolved &= rig.sim.drive(rig.link.call(b"two", TIMEOUT), limit).is_some();
    resolved
}

fn sweep(pace: Pace, fault: Fault) {
    let rig = Rig::with_window(pace, echo(), MIB as u64 / 4);
    assert!(load(&rig));
    let operations = rig.sim.operations();
    assert!(operations >= 15, "{operations}");
    for n in 1..=operations + 1 {
        let rig = Rig::with_window(pace, echo(), MIB as u64 / 4);
        rig.sim.fault_at(n, fault);
        assert!(load(&rig), "operation {n} of {operations}: something hangs");
        rig.link.close();
        rig.fallen();
        assert_eq!(rig.free(), LARGE, "operation {n}: a buffer is missing");
    }
}

#[test]
fn sweep_errors_with_latency() {
    sweep(latency(MILLI, 20 * MILLI), Fault::Error);
}

#[test]
fn sweep_losses_with_latency() {
    sweep(latency(MILLI, 20 * MILLI), Fault::Lose);
}

#[test]
fn sweep_disconnects_with_latency() {
    sweep(latency(MILLI, 20 * MILLI), Fault::Disconnect);
}

#[test]
fn sweep_all_faults_at_once() {
    for fault in [Fault::Error, Fault::Lose, Fault::Disconnect] {
        sweep(Pace::AtOnce, fault);
    }
}

#[test]
fn many_threads_share_a_link_and_no_byte_strays() {
    let rig = Rig::with_window(Pace::AtOnce, echo(), 128 * 1024);
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            let rig = &rig;
            scope.spawn(move || {
                let flow = rig.flow();
                for round in 0..100u8 {
                    let at = u64::from(thread) * 3 * MIB as u64;
                    let seed = thread << 6 | (round % 63 + 1);
                    let write = rig.link.write(&flow, at, at, rig.buffer(300_000, seed), None);
                    drop(block_on(write).unwrap());
                    let read = rig.link.read(&flow, at, at, rig.buffer(300_000, 0), None);
                    let back = block_on(read).unwrap();
                    assert!(back[..] == pattern(seed, back.len()));
                }
            });
        }
    });
    assert_eq!(rig.free(), LARGE);
}
