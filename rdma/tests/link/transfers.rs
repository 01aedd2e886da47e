//! Transfers, calls, timeouts and caps.

use super::rig::{ARENA, LARGE, LONG, MIB, MILLI, Rig, TIMEOUT, deaf, echo, latency, pattern, poll_once};
use rdmafs_rdma::fabric::FabricError;
use rdmafs_rdma::link::{Keep, LinkError};
use rdmafs_rdma::qos::share::Share;
use rdmafs_rdma::sim::{Fault, Pace};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

#[test]
fn what_completes_at_once_is_ready_on_its_first_poll() {
    let rig = Rig::new(Pace::AtOnce, deaf());
    let flow = rig.flow();
    let mut write = pin!(rig.link.write(&flow, 1, 4096, rig.buffer(MIB, 3), None));
    assert!(matches!(poll_once(write.as_mut()), Poll::Ready(Ok(_))));
    let mut read = pin!(rig.link.read(&flow, 1, 4096, rig.buffer(MIB, 0), None));
    let Poll::Ready(Ok(buffer)) = poll_once(read.as_mut()) else {
        panic!("not ready")
    };
    assert!(buffer[..] == pattern(3, buffer.len()));
    let counters = flow.counters();
    assert_eq!(
        (counters.read_bytes, counters.write_bytes),
        (MIB as u64, MIB as u64)
    );
    assert_eq!((counters.operations, counters.throttled), (2, 0));
}

#[test]
fn slices_of_a_large_transfer_fly_together_and_rejoin() {
    let rig = Rig::new(latency(10 * MILLI, 10 * MILLI), deaf());
    let flow = rig.flow();
    let written = rig
        .drive(rig.link.write(&flow, 7, 0, rig.buffer(MIB, 9), None))
        .unwrap();
    assert_eq!(rig.elapsed(), 10 * MILLI);
    assert_eq!(written.len(), MIB);
    assert!(written[..] == pattern(9, written.len()));
    assert_eq!(rig.sim.read(0..MIB), written.to_vec());
    drop(written);
    assert_eq!(rig.free(), LARGE);
}

#[test]
fn a_refused_slice_fails_the_transfer_with_the_fabrics_reason() {
    let rig = Rig::new(latency(MILLI, 9 * MILLI), deaf());
    let flow = rig.flow();
    let beyond = ARENA as u64 - 300_000;
    let result = rig.drive(rig.link.read(&flow, 0, beyond, rig.buffer(MIB, 0), None));
    assert_eq!(result.unwrap_err(), FabricError::AccessRefused.into());
    rig.sim.settle();
    assert_eq!(rig.free(), LARGE);
    assert!(rig.link.is_up());
}

#[test]
fn calls_are_matched_by_id_and_notices_distinguished() {
    // Answers an unknown id and a notice before the answer, and every answer twice.
    let peer = |message: &[u8]| {
        let unknown = [&u64::MAX.to_le_bytes()[..], b"who?"].concat();
        let notice = [&0u64.to_le_bytes()[..], b"hear"].concat();
        vec![unknown, notice, message.to_vec(), message.to_vec()]
    };
    let rig = Rig::new(latency(MILLI, 5 * MILLI), Box::new(peer));
    let (a, b) = (rig.link.call(b"one", TIMEOUT), rig.link.call(b"", TIMEOUT));
    assert_eq!(rig.drive(b).unwrap(), b"");
    assert_eq!(rig.drive(a).unwrap(), b"one");
    rig.sim.settle();
    assert_eq!(*rig.events.notices.lock(), [b"hear", b"hear"]);
    drop(rig.link.call(b"abandoned", TIMEOUT));
    assert_eq!(rig.drive(rig.link.call(b"three", TIMEOUT)).unwrap(), b"three");
    let long = vec![0; 64 * 1024];
    assert!(matches!(
        rig.drive(rig.link.call(&long, TIMEOUT)),
        Err(LinkError::Fabric(FabricError::Protocol(_)))
    ));
}

#[test]
fn a_message_without_an_id_ends_the_link() {
    let rig = Rig::new(Pace::AtOnce, Box::new(|_| vec![vec![1, 2, 3]]));
    let error = rig.drive(rig.link.call(b"x", TIMEOUT)).unwrap_err();
    assert!(matches!(error, LinkError::Fabric(FabricError::Protocol(_))));
    assert!(!rig.link.is_up());
}

#[test]
fn what_is_lost_times_out_and_a_silent_node_ends_the_link() {
    let rig = Rig::new(latency(MILLI, MILLI), deaf());
    let flow = rig.flow();
    rig.sim.fault_at(1, Fault::Lose);
    let keep: Keep = Arc::new(());
    let kept = Arc::downgrade(&keep);
    let read = rig.link.read(&flow, 0, 0, rig.buffer(4096, 0), Some(keep));
    assert_eq!(rig.drive(read).unwrap_err(), LinkError::TimedOut(TIMEOUT));
    assert_eq!(rig.elapsed(), TIMEOUT);
    assert!(kept.upgrade().is_some(), "the node may still write to it");
    assert!(rig.link.is_up());
    let call = rig.link.call(b"are you there?", TIMEOUT);
    let error = rig.drive(call).unwrap_err();
    assert!(matches!(error, LinkError::TimedOut(_) | LinkError::Fabric(_)));
    assert!(matches!(rig.fallen(), FabricError::Disconnected(_)));
    assert_eq!(rig.elapsed(), 2 * TIMEOUT);
    assert!(!rig.link.is_up());
    assert!(kept.upgrade().is_none());
}

/// Whoever waits for the end of that transfer would wait for ever.
#[test]
fn a_transfer_that_never_ends_ends_the_link_though_calls_are_answered() {
    let rig = Rig::new(latency(MILLI, MILLI), echo());
    let flow = rig.flow();
    rig.sim.fault_at(1, Fault::Lose);
    let keep: Keep = Arc::new(());
    let kept = Arc::downgrade(&keep);
    let read = rig.link.read(&flow, 0, 0, rig.buffer(4096, 0), Some(keep));
    let mut answered = 0;
    while rig.drive(rig.link.call(b"are you there?", TIMEOUT)).is_ok() {
        answered += 1;
        assert!(rig.elapsed() < 3 * TIMEOUT, "the link is up still");
        rig.sim.advance(Duration::from_secs(1));
    }
    assert!(answered > 5, "{answered}");
    assert!(matches!(rig.fallen(), FabricError::Disconnected(_)));
    assert!(kept.upgrade().is_none());
    assert_eq!(rig.drive(read).unwrap_err(), LinkError::TimedOut(TIMEOUT));
}

#[test]
fn each_flow_and_call_has_its_own_time_limit() {
    let rig = Rig::new(latency(LONG, LONG), deaf());
    let patient = rig.link.open_flow(Share::default(), 8 * TIMEOUT);
    let hasty = rig.link.open_flow(Share::default(), 2 * TIMEOUT);
    let late = rig.link.read(&patient, 0, 0, rig.buffer(4096, 0), None);
    let soon = rig.link.read(&hasty, 0, 0, rig.buffer(4096, 0), None);
    let call = rig.link.call(b"x", TIMEOUT);
    assert_eq!(rig.drive(call).unwrap_err(), LinkError::TimedOut(TIMEOUT));
    assert_eq!(rig.elapsed(), TIMEOUT, "also when the shortest limit comes last");
    assert!(rig.drive(soon).is_err());
    assert_eq!(rig.elapsed(), 2 * TIMEOUT);
    // The least patient decides when silence is death: then everybody may try again over another link.
    assert!(matches!(rig.fallen(), FabricError::Disconnected(_)));
    assert!(matches!(rig.drive(late), Err(LinkError::Fabric(_))));
    assert_eq!(rig.elapsed(), 2 * TIMEOUT);
}

/// A program makes one call after the other: each of them would wait for its own time.
#[test]
fn calls_to_a_silent_node_share_their_time_until_it_answers() {
    let deaf = Arc::new(AtomicBool::new(true));
    let hears = deaf.clone();
    let peer = move |message: &[u8]| match hears.load(Ordering::SeqCst) {
        true => Vec::new(),
        false => vec![message.to_vec()],
    };
    let rig = Rig::new(latency(MILLI, MILLI), Box::new(peer));
    let call = || rig.drive(rig.link.call(b"are you there?", TIMEOUT));
    assert_eq!(call().unwrap_err(), LinkError::TimedOut(TIMEOUT));
    assert_eq!(rig.elapsed(), TIMEOUT);
    for nth in 1..4 {
        assert_eq!(call().unwrap_err(), LinkError::TimedOut(TIMEOUT));
        assert_eq!(rig.elapsed(), TIMEOUT + nth * TIMEOUT / 10);
    }
    assert_eq!(rig.link.silence(), rig.elapsed());
    deaf.store(false, Ordering::SeqCst);
    call().unwrap();
    deaf.store(true, Ordering::SeqCst);
    let begun = rig.elapsed();
    assert_eq!(call().unwrap_err(), LinkError::TimedOut(TIMEOUT));
    assert_eq!(rig.elapsed() - begun, TIMEOUT, "it had answered since");
}

#[test]
fn a_late_completion_is_swallowed_and_frees_its_buffer() {
    let rig = Rig::new(latency(TIMEOUT + MILLI, TIMEOUT + MILLI), deaf());
    let flow = rig.flow();
    let read = rig.link.read(&flow, 0, 0, rig.buffer(MIB, 0), None);
    assert_eq!(rig.drive(read).unwrap_err(), LinkError::TimedOut(TIMEOUT));
    assert_eq!(rig.free(), LARGE - 1);
    rig.sim.advance(MILLI);
    rig.sim.settle();
    assert_eq!(rig.free(), LARGE);
    assert!(rig.link.is_up());
}

#[test]
fn what_queues_behind_a_stalled_window_times_out_too() {
    let rig = Rig::with_window(latency(LONG, LONG), deaf(), 128 * 1024);
    let flow = rig.flow();
    let first = rig.link.read(&flow, 0, 0, rig.buffer(MIB, 0), None);
    let second = rig.link.read(&flow, 0, 0, rig.buffer(MIB, 0), None);
    assert_eq!(rig.drive(second).unwrap_err(), LinkError::TimedOut(TIMEOUT));
    assert_eq!(rig.elapsed(), TIMEOUT);
    assert_eq!(rig.drive(first).unwrap_err(), LinkError::TimedOut(TIMEOUT));
    assert_eq!(rig.elapsed(), TIMEOUT);
}

#[test]
fn a_dropped_transfer_keeps_its_buffer_until_it_has_ended() {
    let rig = Rig::with_window(latency(10 * MILLI, 10 * MILLI), deaf(), 256 * 1024);
    let flow = rig.flow();
    let keep: Keep = Arc::new(());
    let kept = Arc::downgrade(&keep);
    drop(rig.link.write(&flow, 0, 0, rig.buffer(MIB, 5), Some(keep)));
    assert!(kept.upgrade().is_some());
    assert_eq!(rig.free(), LARGE - 1);
    rig.sim.settle();
    rig.sim.advance(10 * MILLI);
    rig.sim.settle();
    assert!(kept.upgrade().is_none());
    assert_eq!(rig.free(), LARGE);
    let arena = rig.sim.read(0..MIB);
    assert!(arena[..256 * 1024].iter().any(|byte| *byte != 0));
    assert!(
        arena[256 * 1024..].iter().all(|byte| *byte == 0),
        "the rest was cancelled"
    );
}

#[test]
fn a_cap_holds_and_time_throttled_is_no_timeout() {
    let rig = Rig::new(latency(MILLI, MILLI), deaf());
    let share = Share {
        bw: 100_000,
        ..Share::default()
    };
    let flow = rig.link.open_flow(share, TIMEOUT);
    rig.drive(rig.link.write(&flow, 0, 0, rig.buffer(MIB, 1), None))
        .unwrap();
    let least = Duration::from_millis((MIB as u64 - 10_000) / 100);
    assert!(
        rig.elapsed() >= least && rig.elapsed() < least + 20 * MILLI,
        "{:?}",
        rig.elapsed()
    );
    let counters = flow.counters();
    assert_eq!((counters.throttled, counters.operations), (1, 1));
    assert!(counters.throttled_us >= 10_000_000);
}

/// An executor runs on the poller's thread what was woken there, when the link says that it is idle.
#[test]
fn what_ends_while_the_poller_posts_is_run_before_it_rests() {
    let rig = Rig::new(Pace::AtOnce, deaf());
    let share = Share {
        bw: 40_960,
        ..Share::default()
    };
    let flow = rig.link.open_flow(share, TIMEOUT);
    rig.drive(rig.link.write(&flow, 0, 0, rig.buffer(4096, 1), None))
        .unwrap();
    let mut write = pin!(rig.link.write(&flow, 0, 0, rig.buffer(4096, 1), None));
    let waker = Waker::from(Arc::clone(&rig.events));
    assert!(write.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    rig.sim.settle();
    rig.sim.advance(100 * MILLI);
    rig.sim.settle();
    let woken_at = rig.events.woken_at.lock().expect("the write has ended");
    assert!(rig.events.idles.load(Ordering::SeqCst) > woken_at);
}

#[test]
fn a_changed_share_is_felt_by_what_waits() {
    let rig = Rig::new(latency(MILLI, MILLI), deaf());
    let share = Share {
        bw: 4096,
        ..Share::default()
    };
    let flow = rig.link.open_flow(share, TIMEOUT);
    let mut write = pin!(rig.link.write(&flow, 0, 0, rig.buffer(MIB, 1), None));
    rig.sim.settle();
    assert!(poll_once(write.as_mut()).is_pending());
    flow.set_share(Share::default());
    rig.drive(write).unwrap();
    assert_eq!(rig.elapsed(), MILLI);
}

#[test]
fn a_small_transfer_does_not_wait_for_a_large_one() {
    let rig = Rig::with_window(latency(MILLI, MILLI), deaf(), 128 * 1024);
    let (big, small) = (rig.flow(), rig.flow());
    let mut large = pin!(rig.link.read(&big, 0, 0, rig.buffer(MIB, 0), None));
    let read = rig.link.read(&small, 1, 0, rig.buffer(4096, 0), None);
    rig.drive(read).unwrap();
    assert_eq!(rig.elapsed(), 2 * MILLI);
    assert!(poll_once(large.as_mut()).is_pending());
    rig.drive(large).unwrap();
    let waited = small.counters();
    assert_eq!(
        (waited.throttled, waited.queued),
        (0, 1),
        "for the window of the link"
    );
}

#[test]
fn dropping_a_flow_fails_what_it_had_queued() {
    let rig = Rig::with_window(latency(MILLI, MILLI), deaf(), 128 * 1024);
    let flow = rig.flow();
    let posted = rig.link.write(&flow, 0, 0, rig.buffer(4096, 1), None);
    let cut = rig.link.write(&flow, 0, 0, rig.buffer(MIB, 1), None);
    let queued = rig.link.write(&flow, 0, 0, rig.buffer(MIB, 1), None);
    drop(flow);
    assert_eq!(rig.drive(queued).unwrap_err(), FabricError::Flushed.into());
    assert_eq!(rig.elapsed(), Duration::ZERO);
    assert_eq!(rig.drive(cut).unwrap_err(), FabricError::Flushed.into());
    rig.drive(posted).unwrap();
    assert_eq!(rig.free(), LARGE);
}

#[test]
fn closing_fails_everything_once() {
    let rig = Rig::with_window(latency(LONG, LONG), deaf(), 128 * 1024);
    let flow = rig.flow();
    let reads: Vec<_> = (0..3)
        .map(|_| rig.link.read(&flow, 0, 0, rig.buffer(MIB, 0), None))
        .collect();
    let call = rig.link.call(b"x", TIMEOUT);
    rig.link.close();
    rig.link.close();
    let late = rig.link.read(&flow, 0, 0, rig.buffer(MIB, 0), None);
    for read in reads.into_iter().chain([late]) {
        assert!(matches!(rig.drive(read), Err(LinkError::Fabric(_))));
    }
    assert_eq!(rig.drive(call).unwrap_err(), FabricError::Flushed.into());
    assert_eq!(
        rig.drive(rig.link.call(b"y", TIMEOUT)).unwrap_err(),
        FabricError::Flushed.into()
    );
    assert_eq!(rig.fallen(), FabricError::Flushed);
    assert_eq!(rig.free(), LARGE);
}

#[test]
fn a_dead_node_fails_everything_with_the_reason() {
    let rig = Rig::new(latency(LONG, LONG), deaf());
    let flow = rig.flow();
    let read = rig.link.read(&flow, 0, 0, rig.buffer(MIB, 0), None);
    let call = rig.link.call(b"x", TIMEOUT);
    rig.endpoint.disconnect();
    assert!(rig.drive(read).is_err());
    assert!(matches!(
        rig.drive(call),
        Err(LinkError::Fabric(FabricError::Disconnected(_)))
    ));
    assert_eq!(rig.elapsed(), Duration::ZERO);
    assert!(matches!(rig.fallen(), FabricError::Disconnected(_)));
}
