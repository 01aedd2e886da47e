//! The link over the simulator: transfers, calls, timeouts, caps, and a fault at every operation.
#![allow(clippy::unwrap_used, reason = "a failing helper fails its test")]

use parking_lot::{Condvar, Mutex};
use rdmafs_rdma::buffer::{Buffer, BufferPool};
use rdmafs_rdma::fabric::FabricError;
use rdmafs_rdma::link::{Flow, Keep, Link, LinkConfig, LinkError, LinkEvents};
use rdmafs_rdma::qos::share::Share;
use rdmafs_rdma::sim::{Fault, Pace, PeerFn, Sim, SimEndpoint};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

const MIB: usize = 1 << 20;
const TIMEOUT: Duration = Duration::from_secs(5);
const LONG: Duration = Duration::from_secs(60);
const MILLI: Duration = Duration::from_millis(1);

#[derive(Default)]
struct Recorder {
    notices: Mutex<Vec<Vec<u8>>>,
    downs: Mutex<Vec<FabricError>>,
    fell: Condvar,
    idles: AtomicUsize,
    /// How often the poller had been idle when it woke [`Recorder::wake`].
    woken_at: Mutex<Option<usize>>,
}

impl Wake for Recorder {
    fn wake(self: Arc<Self>) {
        *self.woken_at.lock() = Some(self.idles.load(Ordering::SeqCst));
    }
}

impl LinkEvents for Recorder {
    fn notice(&self, message: Vec<u8>) {
        self.notices.lock().push(message);
    }
    fn down(&self, error: FabricError) {
        self.downs.lock().push(error);
        self.fell.notify_all();
    }
    fn idle(&self) {
        self.idles.fetch_add(1, Ordering::SeqCst);
    }
}

struct Rig {
    sim: Sim,
    endpoint: Arc<SimEndpoint>,
    link: Arc<Link>,
    events: Arc<Recorder>,
    pool: BufferPool,
}

const LARGE: usize = 6;
const ARENA: usize = 10 * MIB;

impl Rig {
    fn new(pace: Pace, peer: PeerFn) -> Self {
        Self::with_window(pace, peer, 4 * MIB as u64)
    }

    fn with_window(pace: Pace, peer: PeerFn, window: u64) -> Self {
        let sim = Sim::new(ARENA, 1);
        let endpoint = sim.endpoint(pace, peer);
        let events = Arc::new(Recorder::default());
        let config = LinkConfig {
            window,
            slice: 128 * 1024,
            rate: 0,
            clock: sim.clock(),
        };
        let link = Link::start(endpoint.clone(), config, events.clone());
        let pool = BufferPool::new(16, LARGE).expect("memory");
        Self {
            sim,
            endpoint,
            link,
            events,
            pool,
        }
    }

    fn flow(&self) -> Flow {
        self.link.open_flow(Share::default(), TIMEOUT)
    }

    fn buffer(&self, len: usize, seed: u8) -> Buffer {
        let mut buffer = self.pool.try_get(len).expect("a free buffer");
        // Seed 0 is for reading into: no need to fill it.
        if seed > 0 {
            buffer.copy_from_slice(&pattern(seed, len));
        }
        buffer
    }

    /// Buffers of the large class that are free.
    fn free(&self) -> usize {
        let held: Vec<_> = std::iter::from_fn(|| self.pool.try_get(MIB)).collect();
        held.len()
    }

    fn drive<T>(&self, future: impl Future<Output = T>) -> T {
        self.sim.drive(future, LONG).expect("it resolves")
    }

    /// Waits until the link is down and has said so once; the reason.
    fn fallen(&self) -> FabricError {
        let mut downs = self.events.downs.lock();
        while downs.is_empty() {
            let waited = self.events.fell.wait_for(&mut downs, Duration::from_secs(10));
            assert!(!waited.timed_out(), "the link does not go down");
        }
        assert_eq!(downs.len(), 1);
        downs[0].clone()
    }

    fn elapsed(&self) -> Duration {
        self.sim.clock().now()
    }
}

/// Bytes that differ from seed to seed, and from slice to slice: 251 divides no slice.
fn pattern(seed: u8, len: usize) -> Vec<u8> {
    let period: Vec<u8> = (0..251)
        .map(|index| seed.wrapping_mul(31).wrapping_add(index))
        .collect();
    let mut bytes = period.repeat(len / 251 + 1);
    bytes.truncate(len);
    bytes
}

fn deaf() -> PeerFn {
    Box::new(|_| Vec::new())
}

fn echo() -> PeerFn {
    Box::new(|message| vec![message.to_vec()])
}

fn latency(min: Duration, max: Duration) -> Pace {
    Pace::Latency { min, max, queues: 4 }
}

fn poll_once<T>(future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

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
fn calls_are_matched_by_id_and_notices_told_apart() {
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

/// Parks the thread until the future is ready: a wake that goes missing is a hang here.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}
