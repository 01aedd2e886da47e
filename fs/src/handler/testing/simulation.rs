//! A memory node and handlers on several hosts, all on the test's thread, in simulated time.
//!
//! Nothing runs but in [`Simulation::settle`], which lets everybody do what can be done now, and time moves only in [`Simulation::pass`],
//! to the next moment at which something is due. The parts are the product's own: the handler with its link and its maintainer, the
//! service with its grants and its journal. Only the fabric, the store and the clocks are simulated.

use super::host::{Host, HostId, Started};
use super::rules::Rules;
use super::simulated_peer::{NodeRun, SimulatedPool, Watch, Way};
use super::store::SimStore;
use super::threaded::options;
use crate::executor::Executor;
use crate::handler::client::SessionState;
use crate::handler::client::maintainer;
use crate::handler::host::{attach, new_pool};
use crate::handler::mount::Mount;
use crate::options::CacheMode;
use parking_lot::Mutex;
use rdmafs_meta::extent::Extent;
use rdmafs_meta::id::{Incarnation, PoolId};
use rdmafs_meta::namespace::{Config, Namespace};
use rdmafs_meta::time::{Now, Timestamp};
use rdmafs_rdma::buffer::Buffer;
use rdmafs_rdma::clock::Clock;
use rdmafs_rdma::fabric::Verb;
use rdmafs_rdma::sim::{Sim, SimEndpoint};
use std::sync::Arc;
use std::time::Duration;

/// Rounds at one moment; all that a moment brings takes a few hundred.
const MANY: usize = 100_000;

/// Between two ticks of the node.
const TICK: Duration = Duration::from_millis(250);

/// A simulated pool and its hosts.
pub struct Simulation {
    rules: Rules,
    place: Arc<SimulatedPool>,
    clock: Arc<dyn Clock>,
    store: SimStore,
    pool: PoolId,
    hosts: Vec<Option<Host>>,
    node_runs: u64,
    next_tick: Duration,
    /// The store is busy until then.
    store_free: Duration,
}

impl Simulation {
    /// A node, and no host yet.
    ///
    /// # Panics
    /// When the system gives no memory.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        let len = usize::try_from(rules.arena).expect("the arena fits in memory");
        let sim = Sim::new(len, rules.seed);
        let clock = sim.clock();
        let mut simulation = Self {
            rules,
            place: Arc::new(SimulatedPool::new(sim, rules.pace, rules.leases)),
            clock,
            store: SimStore::default(),
            pool: PoolId([7; 16]),
            hosts: Vec::new(),
            node_runs: 0,
            next_tick: Duration::ZERO,
            store_free: Duration::ZERO,
        };
        simulation.start_node();
        simulation
    }

    /// The fabric.
    #[must_use]
    pub fn sim(&self) -> &Sim {
        &self.place.sim
    }

    /// The node's store.
    #[must_use]
    pub fn store(&self) -> &SimStore {
        &self.store
    }

    /// Shows `watcher` all writes to the arena from now on.
    pub fn watch(&mut self, watcher: Arc<Mutex<dyn Watch>>) {
        *self.place.watcher.lock() = Some(watcher.clone());
        let place = Arc::downgrade(&self.place);
        self.sim().watch(Box::new(move |access| {
            let node = place.upgrade().and_then(|place| place.node());
            if let (Some(node), Verb::Write) = (node, access.verb) {
                node.look(|namespace| watcher.lock().written(namespace, access));
            }
        }));
    }

    /// Simulated time.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.clock.now()
    }

    /// Lets `at` look at the namespace; `None` while the node is dead.
    pub fn look<T>(&self, at: impl FnOnce(&Namespace) -> T) -> Option<T> {
        Some(self.place.node()?.look(at))
    }

    // --- the node ---

    /// The node starts, with what its store has and an empty arena.
    ///
    /// # Panics
    /// When what the store has is no sound namespace.
    pub fn start_node(&mut self) {
        self.node_runs += 1;
        self.store.revive();
        self.next_tick = self.now() + TICK;
        self.store_free = Duration::ZERO;
        let clock = self.clock.clone();
        let config = Config {
            pool: self.pool,
            lease: self.rules.lease,
            root_owner: (0, 0),
            root_mode: 0o777,
            metadata: u64::MAX,
        };
        let arena = self.sim().renew_arena();
        let now = move || now(&*clock);
        let (store, keep_session) = (self.store.clone(), Incarnation(self.node_runs));
        let node = NodeRun::start(store, config, arena, keep_session, Box::new(now));
        *self.place.node.lock() = Some(Arc::new(node.expect("a sound namespace")));
    }

    /// A node starts in the place of the one that died: with another pool, or with what that pool's store has.
    ///
    /// # Panics
    /// As [`Simulation::start_node`].
    pub fn start_node_of(&mut self, pool: PoolId, store: SimStore) {
        (self.pool, self.store) = (pool, store);
        self.start_node();
    }

    /// The node dies with its arena. What was not durable is lost.
    pub fn kill_node(&mut self) {
        let node = self.place.node.lock().take();
        let visits = std::mem::take(&mut *self.place.visits.lock());
        for visit in visits {
            visit.end.disconnect();
            visit.end.forget_peer();
        }
        drop(node);
    }

    /// Fences the first connection that is to end. False when there is none.
    pub fn fence(&mut self) -> bool {
        let Some(node) = self.place.node() else {
            return false;
        };
        let visit = {
            let mut visits = self.place.visits.lock();
            let ends = visits.iter().position(|visit| visit.ends);
            ends.map(|ends| visits.remove(ends))
        };
        let Some(visit) = visit else { return false };
        visit.end.disconnect();
        node.peer_handler().left(visit.peer);
        visit.end.forget_peer();
        true
    }

    /// Cleans some of what was freed. False when all is clean.
    pub fn clean(&mut self) -> bool {
        let watcher = self.place.watcher.lock().clone();
        let show = |extents: &[Extent]| {
            if let Some(watcher) = watcher {
                watcher.lock().cleans(extents);
            }
        };
        self.place.node().is_some_and(|node| node.clean(show))
    }

    /// Makes durable what has gathered. False when nothing has, or the store is busy.
    pub fn commit(&mut self) -> bool {
        if self.now() < self.store_free {
            return false;
        }
        let Some(node) = self.place.node() else {
            return false;
        };
        if let Some(busy) = self.store.delay() {
            self.store_free = self.now() + busy;
            return true;
        }
        let any = node.store();
        if self.store.is_dead() {
            self.kill_node();
        }
        any
    }

    /// Does one of the node's chores. False when there is none.
    pub fn work(&mut self) -> bool {
        self.commit() || self.fence() || self.clean()
    }

    // --- hosts ---

    /// A handler starts on another host and mounts the pool, `cache=none`.
    ///
    /// # Panics
    /// When it cannot.
    pub fn add_host(&mut self) -> HostId {
        self.hosts.push(None);
        let host = HostId(self.hosts.len() - 1);
        assert!(self.start_host(host), "the node lets everybody in");
        host
    }

    /// The handler of a host starts again after it died. False when it does not reach the node.
    ///
    /// # Panics
    /// When the system gives no memory.
    pub fn start_host(&mut self, host: HostId) -> bool {
        let executor = Executor::stepped(self.clock.clone());
        let new = Arc::default();
        let way = Way {
            place: self.place.clone(),
            host: host.0,
            pollers: Arc::clone(&new),
        };
        let options = options(CacheMode::None);
        let pool = new_pool(&executor, "sim", &options, Box::new(way)).expect("memory for buffers");
        let mount = attach(&pool, &options).expect("a pool that is not closed");
        self.hosts[host.0] = Some(Host {
            executor,
            pool: pool.clone(),
            mount,
            new,
            pollers: Vec::new(),
            until: Duration::ZERO,
            stopped: false,
        });
        let first = pool.clone();
        let established = self.run(host, async move { maintainer::establish(&first.client).await });
        if !matches!(established, Some(Ok(()))) {
            self.kill_host(host, true);
            return false;
        }
        let keep_session = maintainer::keep_session(Arc::downgrade(&pool.client));
        let keeps = async move {
            keep_session.await;
            Ok(())
        };
        self.host(host).executor.run(0, keeps, |_| ());
        true
    }

    /// The handler of a host dies. What it posted is on its way until it is fenced. `noticed`: its kernel closes its connections, else the
    /// whole host is silent.
    pub fn kill_host(&mut self, host: HostId, noticed: bool) {
        for visit in self.place.visits.lock().iter_mut() {
            if visit.host == host.0 {
                visit.end.kill();
                visit.ends |= noticed;
            }
        }
        let Some(mut dead) = self.hosts[host.0].take() else {
            return;
        };
        // Its memory is given back: what it tries to do meets a closed pool and dead connections.
        *dead.pool.client.state.write() = SessionState::Closed;
        dead.pool.client.changed.notify(usize::MAX);
        dead.pool.client.nudge();
        let now = self.now();
        while dead.turn(now) && !dead.pollers.is_empty() {}
    }

    /// Whether a handler runs there.
    #[must_use]
    pub fn is_alive(&self, host: HostId) -> bool {
        self.hosts[host.0].is_some()
    }

    /// SIGSTOP, SIGCONT: while stopped the handler does nothing; what it posted goes on.
    pub fn stop_host(&mut self, host: HostId, stopped: bool) {
        if let Some(host) = &mut self.hosts[host.0] {
            host.stopped = stopped;
        }
    }

    /// Whether it is stopped.
    #[must_use]
    pub fn is_stopped(&self, host: HostId) -> bool {
        self.hosts[host.0].as_ref().is_some_and(|host| host.stopped)
    }

    /// Over which of its connections, as it numbers them, the host has what it holds by lease.
    #[must_use]
    pub fn leases_over(&self, host: HostId) -> Option<u64> {
        let host = self.hosts[host.0].as_ref()?;
        host.pool.client.leases.over().map(|connection| connection.0)
    }

    /// The host's connections, newest last, that are not fenced.
    #[must_use]
    pub fn connections(&self, host: HostId) -> Vec<Arc<SimEndpoint>> {
        let visits = self.place.visits.lock();
        let of_host = visits.iter().filter(|visit| visit.host == host.0);
        of_host.map(|visit| visit.end.clone()).collect()
    }

    /// The host's mount.
    ///
    /// # Panics
    /// When its handler is dead.
    #[must_use]
    pub fn mount(&self, host: HostId) -> Arc<Mount> {
        self.host(host).mount.clone()
    }

    /// A buffer that holds `bytes` (1 byte to 1 MiB), if one is free at once.
    ///
    /// # Panics
    /// When the host's handler is dead.
    #[must_use]
    pub fn buffer(&self, host: HostId, bytes: &[u8]) -> Option<Buffer> {
        let mut buffer = self.host(host).mount.try_buffer(bytes.len())?;
        buffer.copy_from_slice(bytes);
        Some(buffer)
    }

    /// Starts an operation on a host. Its answer comes out of [`Started::take`] when it is there.
    ///
    /// # Panics
    /// When the host's handler is dead.
    pub fn start<T: Send + 'static>(
        &self,
        host: HostId,
        operation: impl Future<Output = T> + Send + 'static,
    ) -> Started<T> {
        let started = Started(Arc::new(Mutex::new(None)));
        let answer = started.0.clone();
        let operation = async move {
            *answer.lock() = Some(operation.await);
            Ok(())
        };
        let ended = |result: Result<(), crate::errno::Error>| {
            assert_eq!(result, Ok(()), "an operation ended without an answer");
        };
        self.host(host).executor.run(0, operation, ended);
        started
    }

    /// Runs an operation on a host to its end, however long that takes in simulated time; `None` when the handler dies before.
    pub fn run<T: Send + 'static>(
        &mut self,
        host: HostId,
        operation: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let started = self.start(host, operation);
        loop {
            self.settle();
            self.hosts[host.0].as_ref()?;
            if let Some(answer) = started.take() {
                return Some(answer);
            }
            if !self.work() {
                self.pass(Duration::MAX);
            }
        }
    }

    fn host(&self, host: HostId) -> &Host {
        self.hosts[host.0].as_ref().expect("a handler that lives")
    }

    // --- time ---

    /// Lets everybody do what can be done now.
    ///
    /// # Panics
    /// When that has no end.
    pub fn settle(&mut self) {
        let comes_to_rest = (0..MANY).any(|_| !self.turn());
        assert!(comes_to_rest, "endless work at {:?}", self.now());
    }

    /// Lets simulated time pass, whatever happens meanwhile.
    pub fn pass_by(&mut self, time: Duration) {
        let end = self.now() + time;
        self.settle();
        while self.now() < end {
            self.pass(end);
            self.settle();
        }
    }

    /// Moves time to the next moment at which something is due, at most to `end`.
    pub fn pass(&mut self, end: Duration) {
        let now = self.now();
        let mut next = self.next_tick.min(end);
        for host in self.hosts.iter().flatten().filter(|host| !host.stopped) {
            next = next.min(host.until);
            next = next.min(host.executor.next_deadline().unwrap_or(next));
        }
        next = next.min(self.sim().ripen().unwrap_or(next));
        if self.store_free > now {
            next = next.min(self.store_free);
        }
        self.sim().advance(next.saturating_sub(now));
        if self.now() >= self.next_tick {
            self.next_tick = self.now() + TICK;
            if let Some(node) = self.place.node() {
                node.tick();
            }
        }
    }

    /// One round; false when nobody had anything to do.
    fn turn(&mut self) -> bool {
        let before = self.sim().operations();
        self.sim().ripen();
        let ends: Vec<_> = self
            .place
            .visits
            .lock()
            .iter()
            .map(|visit| visit.end.clone())
            .collect();
        ends.iter().for_each(|end| end.carry());
        let now = self.now();
        let mut busy = false;
        for host in self.hosts.iter_mut().flatten().filter(|host| !host.stopped) {
            busy |= host.turn(now);
        }
        busy |= self.tear_down();
        busy |= before != self.sim().operations();
        busy || (self.rules.prompt && self.work())
    }

    /// Hosts whose handlers died in a fault.
    fn tear_down(&mut self) -> bool {
        let dead = {
            let visits = self.place.visits.lock();
            let dead = visits.iter().filter(|visit| visit.end.is_dead());
            let dead: Vec<usize> = dead.map(|visit| visit.host).collect();
            dead
        };
        let mut any = false;
        for host in dead {
            if self.hosts[host].is_some() {
                self.kill_host(HostId(host), true);
                any = true;
            }
        }
        any
    }
}

/// What the wall clock of the node shows when the simulation begins: no real clock has a part in it.
const BEGINNING: Timestamp = Timestamp {
    seconds: 1_700_000_000,
    nanos: 0,
};

/// Both clocks of the node.
fn now(clock: &dyn Clock) -> Now {
    let monotonic = clock.now();
    Now {
        wall: BEGINNING.plus(monotonic),
        monotonic,
    }
}

impl Drop for Simulation {
    /// Handlers that are in the middle of something hold themselves: they die first.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        for host in (0..self.hosts.len()).map(HostId) {
            self.kill_host(host, true);
        }
    }
}
