//! A link over the simulator, and what is seen of it.

use parking_lot::{Condvar, Mutex};
use rdmafs_rdma::buffer::{Buffer, BufferPool};
use rdmafs_rdma::fabric::FabricError;
use rdmafs_rdma::link::{Flow, Link, LinkConfig, LinkEvents};
use rdmafs_rdma::qos::share::Share;
use rdmafs_rdma::sim::{Pace, PeerFn, Sim, SimEndpoint};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

pub(crate) const MIB: usize = 1 << 20;
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);
pub(crate) const LONG: Duration = Duration::from_secs(60);
pub(crate) const MILLI: Duration = Duration::from_millis(1);

#[derive(Default)]
pub(crate) struct Recorder {
    pub notices: Mutex<Vec<Vec<u8>>>,
    pub downs: Mutex<Vec<FabricError>>,
    pub fell: Condvar,
    pub idles: AtomicUsize,
    /// How often the poller had been idle when it woke [`Recorder::wake`].
    pub woken_at: Mutex<Option<usize>>,
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

pub(crate) struct Rig {
    pub sim: Sim,
    pub endpoint: Arc<SimEndpoint>,
    pub link: Arc<Link>,
    pub events: Arc<Recorder>,
    pub pool: BufferPool,
}

pub(crate) const LARGE: usize = 6;
pub(crate) const ARENA: usize = 10 * MIB;

impl Rig {
    pub(crate) fn new(pace: Pace, peer: PeerFn) -> Self {
        Self::with_window(pace, peer, 4 * MIB as u64)
    }

    pub(crate) fn with_window(pace: Pace, peer: PeerFn, window: u64) -> Self {
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

    pub(crate) fn flow(&self) -> Flow {
        self.link.open_flow(Share::default(), TIMEOUT)
    }

    pub(crate) fn buffer(&self, len: usize, seed: u8) -> Buffer {
        let mut buffer = self.pool.try_get(len).expect("a free buffer");
        // Seed 0 is for reading into: no need to fill it.
        if seed > 0 {
            buffer.copy_from_slice(&pattern(seed, len));
        }
        buffer
    }

    /// Buffers of the large class that are free.
    pub(crate) fn free(&self) -> usize {
        let held: Vec<_> = std::iter::from_fn(|| self.pool.try_get(MIB)).collect();
        held.len()
    }

    pub(crate) fn drive<T>(&self, future: impl Future<Output = T>) -> T {
        self.sim.drive(future, LONG).expect("it resolves")
    }

    /// Waits until the link is down and has said so once; the reason.
    pub(crate) fn fallen(&self) -> FabricError {
        let mut downs = self.events.downs.lock();
        while downs.is_empty() {
            let waited = self.events.fell.wait_for(&mut downs, Duration::from_secs(10));
            assert!(!waited.timed_out(), "the link does not go down");
        }
        assert_eq!(downs.len(), 1);
        downs[0].clone()
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.sim.clock().now()
    }
}

/// Bytes that differ from seed to seed, and from slice to slice: 251 divides no slice.
pub(crate) fn pattern(seed: u8, len: usize) -> Vec<u8> {
    let period: Vec<u8> = (0..251)
        .map(|index| seed.wrapping_mul(31).wrapping_add(index))
        .collect();
    let mut bytes = period.repeat(len / 251 + 1);
    bytes.truncate(len);
    bytes
}

pub(crate) fn deaf() -> PeerFn {
    Box::new(|_| Vec::new())
}

pub(crate) fn echo() -> PeerFn {
    Box::new(|message| vec![message.to_vec()])
}

pub(crate) fn latency(min: Duration, max: Duration) -> Pace {
    Pace::Latency { min, max, queues: 4 }
}

pub(crate) fn poll_once<T>(future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Parks the thread until the future is ready: a wake that goes missing is a hang here.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
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
