//! Handlers with their own threads on a simulated fabric: mounts whose memory node, arena and namespace live in this process.

use crate::executor::Executor;
use crate::handler::client::{Connect, ReachError};
use crate::handler::host::{attach, open_pool};
use crate::handler::mount::Mount;
use crate::handler::mount::Pool;
use crate::node::atomics;
use crate::options::{AccessTimes, CacheMode, MountOptions};
use parking_lot::Mutex;
use rdmafs_meta::error::Inconsistency;
use rdmafs_meta::extent::Extent;
use rdmafs_meta::id::{Incarnation, NodeId, PoolId, SessionId};
use rdmafs_meta::namespace::{ByteMove, Config, Moving, Namespace, Order, Output};
use rdmafs_meta::store::{MemoryStore, Store};
use rdmafs_meta::time::{Now, Timestamp};
use rdmafs_meta::wire::{Call, Reply, WireVersion, decode, encode};
use rdmafs_rdma::buffer::{Buffer, BufferPool};
use rdmafs_rdma::clock::Clock;
use rdmafs_rdma::fabric::{ConnectError, Crypt, Endpoint};
use rdmafs_rdma::qos::share::Share;
use rdmafs_rdma::sim::{Pace, Sim, SimEndpoint};
use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

/// One simulated memory node, one executor, and the handlers that were made on them.
pub struct SimPool {
    executor: Executor,
    node: Arc<SimNode>,
    pool: Arc<Pool>,
}

/// Makes a node with `arena_len` bytes (a multiple of 4 KiB) and mounts it once, `cache=none`, read-write. `seed` is the
/// simulator's. Drive the mount by `pool.run(mount.clone().lookup(...))`. The root directory is `InodeId::ROOT`,
/// owner 0:0, mode 0755. Dropping everything ends its threads.
///
/// # Panics
/// When the system gives no memory or thread.
#[must_use]
pub fn mount_on_sim(arena_len: u64, seed: u64) -> (Arc<Mount>, SimPool) {
    let node = SimNode::new(arena_len, seed);
    let executor = Executor::start();
    let pool = join(&executor, &node);
    let sim_pool = SimPool { executor, node, pool };
    (sim_pool.mount(CacheMode::None), sim_pool)
}

impl SimPool {
    /// Another mount of the same handler: it shares session, link and inode table with the first. The first mount must
    /// not be closed before.
    ///
    /// # Panics
    /// After the last mount was closed.
    #[must_use]
    pub fn mount(&self, cache: CacheMode) -> Arc<Mount> {
        attach(&self.pool, &options(cache)).expect("the pool is open")
    }

    /// A mount of another handler (another host): a session of its own at the same node.
    ///
    /// # Panics
    /// When the system gives no memory or thread.
    #[must_use]
    pub fn mount_elsewhere(&self, cache: CacheMode) -> Arc<Mount> {
        attach(&join(&self.executor, &self.node), &options(cache)).expect("the pool is open")
    }

    /// Runs an operation to its end on this thread.
    pub fn run<T>(&self, operation: impl Future<Output = T>) -> T {
        self.executor.block_on(operation)
    }

    /// Runs all mounts.
    #[must_use]
    pub fn executor(&self) -> &Executor {
        &self.executor
    }

    /// A buffer for [`Mount::write`] that holds `bytes` (1 byte to 1 MiB).
    ///
    /// # Panics
    /// For other lengths.
    #[must_use]
    pub fn buffer(&self, mount: &Arc<Mount>, bytes: &[u8]) -> Buffer {
        let mut buffer = self
            .run(mount.clone().wait_buffer(bytes.len()))
            .expect("a length that fits");
        buffer.copy_from_slice(bytes);
        buffer
    }

    /// The node.
    #[must_use]
    pub fn node(&self) -> &SimNode {
        &self.node
    }
}

const NODE: NodeId = NodeId(1);

/// Lease of a session, in the node's time.
const LEASE: Duration = Duration::from_secs(3600);

/// A memory node in this process: a namespace over a simulated arena.
pub struct SimNode {
    sim: Sim,
    state: Mutex<Node>,
    /// Sessions, and the number of their connection that is over. Not fenced where that is noticed: locks of the simulation are held there.
    over: Arc<Mutex<Vec<(SessionId, u64)>>>,
    connections: AtomicU64,
}

struct Node {
    namespace: Namespace,
    store: MemoryStore,
    /// The connection of each session, with its number.
    ends: HashMap<SessionId, (u64, Weak<SimEndpoint>)>,
    /// Nobody can connect.
    paused: bool,
    /// While set, freed extents are not cleaned.
    lazy: Option<Vec<Extent>>,
    time: u64,
}

impl SimNode {
    fn new(arena_len: u64, seed: u64) -> Arc<Self> {
        let config = Config {
            pool: PoolId([7; 16]),
            lease: LEASE,
            root_owner: (0, 0),
            root_mode: 0o755,
            metadata: u64::MAX,
        };
        let mut store = MemoryStore::default();
        let mut namespace =
            Namespace::load(&mut store, config, Now::default()).expect("an empty store is a namespace");
        namespace.add_arena(NODE, Incarnation(seed | 1), arena_len);
        let sim = Sim::new(
            usize::try_from(arena_len).expect("the arena fits in memory"),
            seed,
        );
        let node = Arc::new(Self {
            sim,
            state: Mutex::new(Node {
                namespace,
                store,
                ends: HashMap::new(),
                paused: false,
                lazy: None,
                time: 0,
            }),
            over: Arc::default(),
            connections: AtomicU64::new(0),
        });
        let weak = Arc::downgrade(&node);
        let ticking = std::thread::Builder::new()
            .name("sim-time".into())
            .spawn(move || tick(&weak));
        drop(ticking.expect("a thread"));
        node
    }

    /// The simulated fabric, to inject faults and to look at the arena.
    #[must_use]
    pub fn sim(&self) -> &Sim {
        &self.sim
    }

    /// Breaks all connections; while `paused`, nobody can connect again.
    pub fn break_off(&self, paused: bool) {
        let mut node = self.state.lock();
        node.paused = paused;
        let sessions = node.ends.keys().copied().collect();
        drop(node);
        self.disconnect(sessions);
    }

    /// What is outstanding on a broken connection is flushed and not executed: so its session may be fenced.
    fn disconnect(&self, sessions: Vec<SessionId>) {
        for session in sessions {
            let Some((number, end)) = self.state.lock().ends.get(&session).cloned() else {
                continue;
            };
            if let Some(end) = end.upgrade() {
                end.disconnect();
            }
            self.over.lock().push((session, number));
        }
    }

    /// After [`SimNode::break_off`] of a single session: waits until its end is known, then lets its lease and what is kept
    /// for it after that run out. Blocking.
    pub fn outlast(&self) {
        while self.over.lock().is_empty() {
            std::thread::yield_now();
        }
        let mut node = self.state.lock();
        self.tear_down(&mut node);
        node.time += 2 * u64::try_from(LEASE.as_millis()).expect("a lease fits");
        let now = node.now(self.sim.clock().now());
        self.work(&mut node, now);
    }

    /// While `lazy`, freed extents stay in quarantine; afterwards they are cleaned.
    pub fn clean_lazily(&self, lazy: bool) {
        let mut node = self.state.lock();
        let waiting = std::mem::replace(&mut node.lazy, lazy.then(Vec::new));
        self.clean(&mut node, waiting.unwrap_or_default());
    }

    /// The pool gets an arena of another node, to which there is no link. Sessions that begin from now on are told of it.
    pub fn add_arena(&self, node: NodeId, len: u64) {
        let namespace = &mut self.state.lock().namespace;
        namespace.add_arena(node, Incarnation(1), len);
    }

    /// Looks for contradictions in the namespace.
    ///
    /// # Errors
    /// What contradicts what.
    pub fn check(&self) -> Result<(), Inconsistency> {
        self.state.lock().namespace.check()
    }

    /// Serves one message of a peer whose session, if it has begun, is in `own`.
    fn serve(&self, end: &Weak<SimEndpoint>, own: &Own, message: &[u8]) {
        let Some((id, payload)) = message.split_at_checked(8) else {
            return;
        };
        let Ok(call) = decode::<Call>(payload, WireVersion::FIRST) else {
            return;
        };
        let mut node = self.state.lock();
        let now = node.now(self.sim.clock().now());
        self.tear_down(&mut node);
        let mut out = node.namespace.call(call, now);
        if let Some(atomic) = out.atomic.take() {
            let place = range(&atomic.place).start;
            let before = atomics::apply(&self.sim.arena(), place as u64, atomic.op);
            let before = before.expect("the word lies in the arena");
            out.answer = Some(node.namespace.atomic_done(atomic, before));
        }
        if let Some(moving) = out.moving.take() {
            self.carry_out(&mut node, out);
            self.move_bytes(&moving);
            out = node.namespace.moved(&moving, now);
        }
        if let Some(Ok(Reply::Begun(begun))) = &out.answer {
            node.ends.insert(begun.session, (own.number, end.clone()));
            let _first = own.session.set(begun.session);
        }
        let disconnect = std::mem::take(&mut out.disconnect);
        let answer = out.answer.take();
        self.carry_out(&mut node, out);
        // Under the lock, so that messages leave in the order of the namespace's steps.
        if let (Some(answer), Some(end)) = (answer, end.upgrade()) {
            end.deliver([id, &encode(&answer, WireVersion::NEWEST).expect("answers fit")].concat());
        }
        self.work(&mut node, now);
        drop(node);
        self.disconnect(disconnect);
    }

    /// Fences the sessions whose connections are over.
    fn tear_down(&self, node: &mut Node) {
        for (session, number) in std::mem::take(&mut *self.over.lock()) {
            if node
                .ends
                .get(&session)
                .is_none_or(|(present, _)| *present != number)
            {
                continue;
            }
            node.ends.remove(&session);
            let out = node.namespace.fenced(session);
            self.carry_out(node, out);
        }
    }

    /// Does what the namespace has left for later.
    fn work(&self, node: &mut Node, now: Now) {
        let mut more = true;
        while more {
            let out;
            (out, more) = node.namespace.tick(now);
            self.carry_out(node, out);
        }
    }

    fn carry_out(&self, node: &mut Node, out: Output) {
        for (_, order) in &out.orders {
            // What a peer may touch is not checked here.
            if let Order::Zero { extent } = order {
                self.sim.zero(range(extent));
            }
        }
        for (session, notice) in out.notices {
            if let Some(end) = node.ends.get(&session).and_then(|(_, end)| end.upgrade()) {
                end.deliver(
                    [
                        &[0; 8][..],
                        &encode(&notice, WireVersion::NEWEST).expect("notices fit"),
                    ]
                    .concat(),
                );
            }
        }
        let term = node.namespace.term();
        node.store
            .commit(&out.batch, term)
            .expect("memory takes everything");
        self.clean(node, out.clean);
    }

    fn move_bytes(&self, moving: &Moving) {
        for ByteMove { from, to } in &moving.moves {
            match from {
                Some(from) => self.sim.copy(range(from).start, range(to)),
                None => self.sim.zero(range(to)),
            }
        }
    }

    fn clean(&self, node: &mut Node, mut extents: Vec<Extent>) {
        // What cannot be zeroed stays in quarantine.
        extents.retain(|extent| extent.node == NODE);
        if let Some(waiting) = &mut node.lazy {
            waiting.extend(extents);
            return;
        }
        extents.iter().for_each(|extent| self.sim.zero(range(extent)));
        node.namespace.cleaned(&extents);
    }
}

impl Node {
    /// Every call is a millisecond after the one before. The wall clock is none of this host's.
    fn now(&mut self, simulated: Duration) -> Now {
        self.time += 1;
        let monotonic = Duration::from_millis(self.time);
        let start = Timestamp {
            seconds: 1_700_000_000,
            nanos: 0,
        };
        Now {
            wall: start.plus(monotonic).plus(simulated),
            monotonic,
        }
    }
}

/// What the node knows of one connection; dropped when that is over.
struct Own {
    number: u64,
    session: OnceLock<SessionId>,
    over: Arc<Mutex<Vec<(SessionId, u64)>>>,
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(session) = self.session.get() {
            self.over.lock().push((*session, self.number));
        }
    }
}

/// What a handler hears where no node is.
pub(super) fn nobody_answers() -> ReachError {
    ReachError::Every(ConnectError::Unreachable {
        address: "sim:1".into(),
        source: io::ErrorKind::ConnectionRefused.into(),
    })
}

/// Connects to a [`SimNode`].
struct Server(Arc<SimNode>);

impl Connect for Server {
    fn label(&self) -> String {
        "sim:1".into()
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.0.sim.clock()
    }

    fn connect(&self, _buffers: &BufferPool) -> Result<(Arc<dyn Endpoint>, String), ReachError> {
        if self.0.state.lock().paused {
            return Err(nobody_answers());
        }
        let node = self.0.clone();
        let own = Own {
            number: node.connections.fetch_add(1, Ordering::Relaxed),
            session: OnceLock::new(),
            over: node.over.clone(),
        };
        let end = Arc::new(OnceLock::<Weak<SimEndpoint>>::new());
        let this = end.clone();
        let peer = move |message: &[u8]| {
            if let Some(end) = this.get() {
                node.serve(end, &own, message);
            }
            Vec::new()
        };
        let endpoint = self.0.sim.endpoint(Pace::AtOnce, Box::new(peer));
        let _first = end.set(Arc::downgrade(&endpoint));
        Ok((endpoint, "sim".into()))
    }
}

/// Lets simulated time follow real time: operations run on many threads, so no one of them could say when all wait.
fn tick(node: &Weak<SimNode>) {
    const STEP: Duration = Duration::from_millis(10);
    while let Some(node) = node.upgrade() {
        node.sim.advance(STEP);
        drop(node);
        std::thread::sleep(STEP);
    }
}

fn join(executor: &Executor, node: &Arc<SimNode>) -> Arc<Pool> {
    let server = Box::new(Server(node.clone()));
    open_pool(executor, "sim", &options(CacheMode::None), server)
        .expect("the simulated node lets everybody in")
}

pub(super) fn options(cache: CacheMode) -> MountOptions {
    MountOptions {
        fabric: None,
        key: PathBuf::new(),
        crypt: Crypt::Auto,
        verbs: Default::default(),
        timeout_ms: 2000,
        commit_s: 5,
        idmap: false,
        cache,
        share: Share::default(),
        read_only: false,
        access_times: AccessTimes::default(),
        root: None,
    }
}

/// Where an extent lies in the only arena there is.
fn range(extent: &Extent) -> Range<usize> {
    assert_eq!(extent.node, NODE, "an extent of another node");
    let at = |offset: u64| usize::try_from(offset).expect("the arena fits in memory");
    at(extent.offset)..at(extent.end())
}
