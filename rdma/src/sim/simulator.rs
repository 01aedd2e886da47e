//! The face of a simulation, for tests.

use super::endpoint::SimEndpoint;
use super::shared::Shared;
use super::types::{Fault, Operation, Pace, PeerFn, Watcher};
use super::world::World;
use crate::arena::Arena;
use crate::clock::Clock;
use crate::protocol::Negotiated;
use parking_lot::{Condvar, Mutex};
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// A simulated memory node. Clones are the same one.
#[derive(Clone)]
pub struct Sim {
    shared: Arc<Shared>,
}

/// Simulated time.
pub struct SimClock(Arc<Shared>);

impl Sim {
    /// A node with an arena of `arena_len` zero bytes, a multiple of 4 KiB. Equal seeds give equal schedules.
    ///
    /// # Panics
    /// When the system gives no memory.
    #[must_use]
    pub fn new(arena_len: usize, seed: u64) -> Self {
        let shared = Shared {
            world: Mutex::new(World::new(new_arena(arena_len), seed)),
            changed: Condvar::new(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// A new connection to the node, whose messages `peer` answers.
    #[must_use]
    pub fn endpoint(&self, pace: Pace, peer: PeerFn) -> Arc<SimEndpoint> {
        self.endpoint_that_speaks(Negotiated::FIRST, pace, peer)
    }

    /// A new connection to the node, with whom `negotiated` was agreed, and whose messages `peer` answers.
    #[must_use]
    pub fn endpoint_that_speaks(&self, negotiated: Negotiated, pace: Pace, peer: PeerFn) -> Arc<SimEndpoint> {
        let index = self.shared.world.lock().add_end(pace);
        let shared = Arc::clone(&self.shared);
        Arc::new(SimEndpoint::new((shared, index), negotiated, pace, peer))
    }

    /// The clock to give to links.
    #[must_use]
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(SimClock(Arc::clone(&self.shared)))
    }

    /// The `n`-th operation (post, send, or event from the node; 1 is the next one) fails: [`Fault::Error`].
    pub fn fail_at(&self, n: u64) {
        self.fault_at(n, Fault::Error);
    }

    /// The `n`-th operation (post, send, or event from the node; 1 is the next one) meets `fault`. One fault is pending at a time.
    pub fn fault_at(&self, n: u64, fault: Fault) {
        self.shared.world.lock().set_fault(n, fault);
    }

    /// The fault has not happened yet.
    #[must_use]
    pub fn fault_is_pending(&self) -> bool {
        self.shared.world.lock().fault_is_pending()
    }

    /// Operations so far, to know how far a sweep of faults must go.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.shared.world.lock().operations()
    }

    /// Notes what the operations are, from now on.
    pub fn note_operations(&self) {
        self.shared.world.lock().noted = Some(Vec::new());
    }

    /// What the operations were since [`Sim::note_operations`].
    #[must_use]
    pub fn noted_operations(&self) -> Vec<Operation> {
        self.shared.world.lock().noted.clone().unwrap_or_default()
    }

    /// Moves time on; what is due by then is ready. Does not wait for the pollers: [`Sim::settle`] does.
    pub fn advance(&self, by: Duration) {
        self.shared.world.lock().now += by;
        self.shared.changed.notify_all();
    }

    /// From now on, a poller that waits moves the clock itself: to the next event or the end of its wait, if work is
    /// outstanding or the wait is shorter than `idle`; other waits block until something happens.
    pub fn advance_on_wait(&self, idle: Duration) {
        self.shared.world.lock().advance_on_wait = Some(idle);
        self.shared.changed.notify_all();
    }

    /// Blocks until every poller has seen everything that is ready and waits again, or has taken the end of its connection (what
    /// it does then may still be under way). Each endpoint must have a poller.
    pub fn settle(&self) {
        let mut world = self.shared.world.lock();
        while !settled(&mut world) {
            self.shared.changed.wait(&mut world);
        }
    }

    /// Steps through time, from event to event and from one poller's deadline to the next, until the future is ready. Each
    /// endpoint must have a poller. Gives up (`None`) when `limit` of simulated time has passed, or when every
    /// connection has ended and no wake comes within 10 s of real time.
    pub fn drive<T>(&self, future: impl Future<Output = T>, limit: Duration) -> Option<T> {
        let mut future = pin!(future);
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut context = Context::from_waker(&waker);
        let end = self.shared.world.lock().now + limit;
        loop {
            self.settle();
            if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
                return Some(value);
            }
            let mut world = self.shared.world.lock();
            if world.ends.iter().all(|end| end.finished) {
                drop(world);
                // No time will pass any more; the last pollers may still be failing what is left.
                woken.wait()?;
                continue;
            }
            if world.now >= end {
                return None;
            }
            // A poll may have posted: what is ready now comes before time moves.
            if settled(&mut world) {
                world.now = next_moment(&world).unwrap_or(end).min(end);
            }
            drop(world);
            self.shared.changed.notify_all();
        }
    }

    /// Lets `watcher` see every access to the arena from now on.
    pub fn watch(&self, watcher: Watcher) {
        self.shared.world.lock().watcher = Some(watcher);
    }

    /// Lets happen what is due, also where nobody polls, and says when the next thing is.
    pub fn ripen(&self) -> Option<Duration> {
        let mut world = self.shared.world.lock();
        let live: Vec<usize> = (0..world.ends.len())
            .filter(|end| !world.ends[*end].down)
            .collect();
        for end in &live {
            world.ripen(*end);
        }
        live.iter().filter_map(|end| world.next_due(*end)).min()
    }

    /// The node's memory.
    #[must_use]
    pub fn arena(&self) -> Arc<Arena> {
        self.shared.world.lock().arena.clone()
    }

    /// The node begins another life, with an arena of as many zero bytes.
    ///
    /// # Panics
    /// When the system gives no memory.
    #[must_use]
    pub fn renew_arena(&self) -> Arc<Arena> {
        let len = usize::try_from(self.arena().len()).expect("it is mapped");
        let new = new_arena(len);
        self.shared.world.lock().arena = new.clone();
        new
    }

    /// Arena bytes. Panics out of bounds.
    #[must_use]
    pub fn read(&self, range: Range<usize>) -> Vec<u8> {
        let mut bytes = vec![0; range.len()];
        let done = self.arena().read(range.start as u64, &mut bytes);
        done.expect("a range of the arena");
        bytes
    }

    /// Writes arena bytes. Panics out of bounds.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        let done = self.arena().write(offset as u64, bytes);
        done.expect("a range of the arena");
    }

    /// Zeroes arena bytes, as a node does with freed extents. Panics out of bounds.
    pub fn zero(&self, range: Range<usize>) {
        let done = self.arena().zero(range.start as u64..range.end as u64);
        done.expect("a range of the arena");
    }

    /// Copies arena bytes, as a node does for its peers. Panics out of bounds, and when they overlap.
    pub fn copy(&self, from: usize, to: Range<usize>) {
        let done = self.arena().copy(from as u64, to.start as u64..to.end as u64);
        done.expect("two ranges of the arena");
    }
}

fn new_arena(len: usize) -> Arc<Arena> {
    let arena = Arena::allocate(len as u64, &mut |_| {});
    Arc::new(arena.expect("memory for an arena of whole pages"))
}

impl Clock for SimClock {
    fn now(&self) -> Duration {
        self.0.world.lock().now
    }
}

/// Lets [`Sim::drive`] wait for a wake.
#[derive(Default)]
struct Woken {
    flag: Mutex<bool>,
    changed: Condvar,
}

impl Woken {
    /// Waits for the next wake; `None` when none comes.
    fn wait(&self) -> Option<()> {
        let mut flag = self.flag.lock();
        while !*flag {
            let waited = self.changed.wait_for(&mut flag, Duration::from_secs(10));
            if waited.timed_out() {
                return None;
            }
        }
        *flag = false;
        Some(())
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        *self.flag.lock() = true;
        self.changed.notify_all();
    }
}

fn settled(world: &mut World) -> bool {
    (0..world.ends.len()).all(|end| {
        let ready = world.has_ready(end);
        let now = world.now;
        let end = &world.ends[end];
        let asleep = end.waiting.is_some_and(|until| until > now);
        end.finished || (asleep && !ready && !end.woken)
    })
}

/// When something happens next: an arrival, or the end of a poller's wait.
fn next_moment(world: &World) -> Option<Duration> {
    let live = (0..world.ends.len()).filter(|end| !world.ends[*end].finished);
    let times = live.flat_map(|end| [world.next_due(end), world.ends[end].waiting]);
    times.flatten().min()
}
