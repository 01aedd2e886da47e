//! All mounts, pools and links of a host.

use crate::control::{LinkStatus, PoolStatus};
use crate::errno::Error;
use crate::executor::Executor;
use crate::handler::client::{
    Client, ClientSession, Connect, EstablishError, NOT_ANSWERING, Nodes, Parts, SessionState, maintainer,
};
use crate::handler::file::commit_inodes;
use crate::handler::lock_order::{CONNECTING, Mutex, POOLS};
use crate::handler::mount::{Mount, Pool, RootError};
use crate::options::{MountOptions, NodeAddress, Source};
use rdmafs_meta::id::{ClientOwner, PoolId};
use rdmafs_meta::wire::{Reply, Request};
use rdmafs_rdma::buffer::BufferPool;
use rdmafs_rdma::fabric::{Crypt, FabricKind, VerbsOptions};
use rdmafs_rdma::key::{Key, KeyError, KeyId};
use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// Registered buffers of a pool: for small requests, and of 1 MiB. 38 MiB of address space, used last-in first-out. One mount alone has half of them.
const BUFFERS: (usize, usize) = (96, 32);
/// How long `status` waits for the nodes.
const STATUS: Duration = Duration::from_secs(1);

/// How long the end of a handler waits for stores through mappings: the kernel may hold them back for a reason of its own.
const WRITE_BACK: Duration = Duration::from_secs(1);

/// What mounts must have in common to share a pool's session and links.
#[derive(Clone, PartialEq, Eq, Hash)]
struct PoolKey {
    nodes: Vec<NodeAddress>,
    pool: String,
    key_file: PathBuf,
    key: KeyId,
    fabric: Option<FabricKind>,
    crypt: Crypt,
    verbs: VerbsOptions,
}

/// A place for pools that are reached alike; its lock is held while one is being connected to, so that two mounts share one attempt.
#[derive(Default)]
struct Slot {
    connecting: Mutex<(), CONNECTING>,
    /// More than one where another pool took the place of one that is still mounted.
    pools: Mutex<Vec<Arc<Pool>>, POOLS>,
}

impl Slot {
    /// The newest that is open and fits.
    fn find(&self, fits: impl Fn(&Pool) -> bool) -> Option<Arc<Pool>> {
        let pools = self.open();
        pools.into_iter().rev().find(|pool| fits(pool))
    }

    /// All that have mounts; forgets the others.
    fn open(&self) -> Vec<Arc<Pool>> {
        let mut pools = self.pools.lock();
        pools.retain(|pool| !matches!(*pool.client.state.read(), SessionState::Closed));
        pools.clone()
    }

    fn add(&self, pool: Arc<Pool>) {
        self.pools.lock().push(pool);
    }
}

/// A pool that cannot be mounted: the step that failed, with what to do.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// The key cannot be read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The kernel gave no random bytes.
    #[error("no random bytes: {0}")]
    Random(#[source] io::Error),
    /// No memory is left.
    #[error("cannot map {mib} MiB of buffers: {source}: free some memory")]
    Buffers {
        /// How much was wanted.
        mib: usize,
        /// Why there is none.
        source: io::Error,
    },
    /// No thread for the pool.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
    /// The pool has other mounts, and its connection is lost.
    #[error("no connection to {node} now: {why}")]
    Down {
        /// The node, as the user wrote it.
        node: String,
        /// Why, as `status` shows it.
        why: String,
    },
    /// No session with the pool.
    #[error(transparent)]
    Establish(#[from] EstablishError),
    /// The directory of the pool that shall be mounted.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The last mount of the pool ended at this moment.
    #[error("the pool was closed while it was being mounted: mount it again")]
    Closed,
}

/// All mounts, pools and links of this host.
pub struct Handler {
    executor: Executor,
    run_dir: PathBuf,
    /// Lock order: a slot's `connecting` before every other lock of the handler, and held while a node is waited for; a slot's `pools`
    /// before the `state` of a client. `slots` is a leaf.
    slots: Mutex<HashMap<PoolKey, Arc<Slot>>>,
}

impl Handler {
    /// An empty handler. `run_dir` is where nodes of this host have their sockets.
    #[must_use]
    pub fn new(executor: Executor, run_dir: PathBuf) -> Arc<Self> {
        Arc::new(Self {
            executor,
            run_dir,
            slots: Mutex::default(),
        })
    }

    /// Connects to the pool (or shares the connection that is there) and opens a mount on it. Blocking. The note says which
    /// fabric is used, and why not the ones before.
    ///
    /// # Errors
    /// What failed, on what, and what to do.
    pub fn mount(
        self: &Arc<Self>,
        source: &Source,
        options: &MountOptions,
    ) -> Result<(Arc<Mount>, String), PoolError> {
        let (slot, nodes) = self.slot(source, options)?;
        let _alone = slot.connecting.lock();
        if let Some(pool) = slot.find(|pool| !pool.client.is_replaced())
            && let Some(mount) = attach(&pool, options)
        {
            // It may be on its way back, or on its first way.
            let reached = self.executor.block_on(pool.client.session(mount.timeout()));
            if let (SessionState::Down { why, .. }, Err(_)) = (&*pool.client.state.read(), &reached) {
                return Err(PoolError::Down {
                    node: pool.client.connect.label(),
                    why: why.clone(),
                });
            }
            // Else another pool is served there: that is the one to mount.
            if !matches!(reached, Err(Error::OtherPool(_))) {
                self.begin_at(source, &mount)?;
                let note = pool.client.note.lock().clone();
                return Ok((mount, note));
            }
        }
        let pool = open_pool(&self.executor, &source.pool, options, Box::new(nodes))?;
        slot.add(pool.clone());
        let mount = attach(&pool, options).ok_or(PoolError::Closed)?;
        self.begin_at(source, &mount)?;
        let note = pool.client.note.lock().clone();
        Ok((mount, note))
    }

    /// Finds where the mount begins.
    fn begin_at(&self, source: &Source, mount: &Arc<Mount>) -> Result<(), RootError> {
        let found = self.executor.block_on(mount.begin_at(&source.directory));
        found.inspect_err(|_| mount.close())
    }

    /// Opens a mount on the pool without waiting for its node: until that is reached, operations are EIO after the mount's timeout.
    /// Where another pool than `known` is served by then, they are ESTALE. Never blocks for long.
    ///
    /// # Errors
    /// The key cannot be read, or memory or threads cannot be had.
    pub fn mount_unreached(
        self: &Arc<Self>,
        source: &Source,
        options: &MountOptions,
        known: Option<PoolId>,
    ) -> Result<Arc<Mount>, PoolError> {
        let (slot, nodes) = self.slot(source, options)?;
        let _alone = slot.connecting.lock();
        let present = slot.find(|pool| match known {
            Some(_) => pool.client.identity() == known,
            None => !pool.client.is_replaced(),
        });
        if let Some(mount) = present.and_then(|pool| attach(&pool, options)) {
            return Ok(mount);
        }
        let pool = new_pool(&self.executor, &source.pool, options, Box::new(nodes))?;
        if let Some(known) = known {
            pool.client.identify(known);
        }
        keep(&pool)?;
        slot.add(pool.clone());
        attach(&pool, options).ok_or(PoolError::Closed)
    }

    /// Whether the key of such a mount can be read.
    ///
    /// # Errors
    /// Why not.
    pub fn check_key(&self, options: &MountOptions) -> Result<(), KeyError> {
        Key::load(&options.key).map(drop)
    }

    /// Has the kernels write back what programs stored through mappings of open files. Blocking, at most for a second.
    pub fn write_back_all(&self) {
        let (done, all_done) = mpsc::channel::<()>();
        for pool in self.open_pools() {
            for (inode, mount) in pool.files.inodes().iter().flat_map(|inode| {
                let mounts = pool.mounts.all().into_iter();
                mounts.map(move |mount| (inode.ino, mount))
            }) {
                let done = done.clone();
                mount.write_back(inode, Box::new(move || drop(done)));
            }
        }
        drop(done);
        // Ends when the last sender is gone.
        let _ended = all_done.recv_timeout(WRITE_BACK);
    }

    /// Commits all that was written, by whichever mount. Blocking, at most for the longest timeout of a pool.
    pub fn commit_all(&self) {
        let pools = self.open_pools();
        let longest = pools.iter().map(|pool| pool.client.timeout()).max();
        let (done, all_done) = mpsc::channel::<()>();
        for pool in pools {
            let done = done.clone();
            self.executor
                .run(0, commit_inodes(pool.files.clone()), move |committed| {
                    log_failure(committed);
                    drop(done);
                });
        }
        drop(done);
        // Ends when the last sender is gone.
        let _ended = all_done.recv_timeout(longest.unwrap_or_default());
    }

    /// Where the pool of such a mount is kept, and how to reach it.
    fn slot(&self, source: &Source, options: &MountOptions) -> Result<(Arc<Slot>, Nodes), PoolError> {
        let key = Key::load(&options.key)?;
        let pool_key = PoolKey {
            nodes: source.nodes.clone(),
            pool: source.pool.clone(),
            key_file: options.key.clone(),
            key: key.id,
            fabric: options.fabric,
            crypt: options.crypt,
            verbs: options.verbs.clone(),
        };
        let slot = self.slots.lock().entry(pool_key).or_default().clone();
        let nodes = Nodes::new(source, options, key, self.run_dir.clone());
        let nodes = nodes.map_err(PoolError::Random)?;
        Ok((slot, nodes))
    }

    /// For `status`.
    #[must_use]
    pub fn links(&self) -> Vec<LinkStatus> {
        self.open_pools()
            .iter()
            .map(|pool| link_status(&pool.client))
            .collect()
    }

    /// For `status`. Asks the nodes; blocking, at most a second.
    #[must_use]
    pub fn pools(&self) -> Vec<PoolStatus> {
        let pools = self.open_pools();
        let (send, spaces) = mpsc::channel();
        for (index, pool) in pools.iter().enumerate() {
            let (owner, send) = (pool.clone(), send.clone());
            let ask = async move {
                let Some(session) = owner.client.session_now() else {
                    return Err(Error::Down(owner.client.connect.label()));
                };
                let asked = session.call_as_root(Request::StatFs, STATUS);
                owner
                    .client
                    .executor
                    .within(STATUS, asked)
                    .await
                    .ok_or(Error::Protocol)?
            };
            self.executor.run(0, ask, move |answer| {
                // Nobody listens any more when this came too late.
                let _late = send.send((index, answer));
            });
        }
        drop(send);
        let mut statuses: Vec<_> = pools.iter().map(|pool| unreachable(pool)).collect();
        while let Ok((index, answer)) = spaces.recv_timeout(STATUS) {
            if let Ok(Reply::Space(space)) = answer {
                let status: &mut PoolStatus = &mut statuses[index];
                status.total = space.total;
                status.free = space.free;
                status.used = space.total.saturating_sub(space.free);
                status.inodes = space.inodes;
                (status.lost_files, status.lost_bytes) = (space.lost_files, space.lost_bytes);
            }
        }
        statuses
    }

    /// Pools with mounts; forgets the others.
    fn open_pools(&self) -> Vec<Arc<Pool>> {
        let slots: Vec<_> = self.slots.lock().values().cloned().collect();
        slots.iter().flat_map(|slot| slot.open()).collect()
    }
}

/// Connects, begins a session, and starts keeping it.
pub(super) fn open_pool(
    executor: &Executor,
    name: &str,
    options: &MountOptions,
    connect: Box<dyn Connect>,
) -> Result<Arc<Pool>, PoolError> {
    let pool = new_pool(executor, name, options, connect)?;
    executor.block_on(maintainer::establish(&pool.client))?;
    keep(&pool)?;
    Ok(pool)
}

/// A pool that is not connected yet.
pub(super) fn new_pool(
    executor: &Executor,
    name: &str,
    options: &MountOptions,
    connect: Box<dyn Connect>,
) -> Result<Arc<Pool>, PoolError> {
    let buffers = BufferPool::new(BUFFERS.0, BUFFERS.1).map_err(|source| PoolError::Buffers {
        mib: BUFFERS.1 + BUFFERS.0 / 16,
        source,
    })?;
    let client_owner = rdmafs_rdma::fabric::ClientOwner::random().map_err(PoolError::Random)?;
    Ok(Pool::new(Parts {
        name: name.to_owned(),
        executor: executor.clone(),
        buffers,
        timeout: Duration::from_millis(options.timeout_ms),
        connect,
        client_owner: ClientOwner(client_owner.bytes()),
    }))
}

fn log_failure(committed: Result<(), Error>) {
    if let Err(error) = committed {
        tracing::warn!("not all that was written is committed: {error}");
    }
}

fn keep(pool: &Arc<Pool>) -> Result<(), PoolError> {
    maintainer::start(&pool.client).map_err(PoolError::Thread)
}

/// A mount of the pool; `None` when the pool has been closed.
pub(super) fn attach(pool: &Arc<Pool>, options: &MountOptions) -> Option<Arc<Mount>> {
    pool.attach(options)
}

fn link_status(client: &Client) -> LinkStatus {
    let mut status = LinkStatus {
        node: client.connect.label(),
        pool: client.name.clone(),
        fabric: String::new(),
        qps: 0,
        device: String::new(),
        state: "down".into(),
        for_ms: 0,
        connections: client.connections(),
        lease_ms: 0,
        encrypted: false,
        protocol: 0,
        calls: client.counter.traffic(),
        leases: client.leases.status(),
        why: client.note.lock().clone(),
    };
    let draining = *client.draining.lock();
    match &*client.state.read() {
        SessionState::Up { session, since } => {
            let up_for = client.clock.now().saturating_sub(*since);
            show_link(&mut status, session, up_for, draining == session.connection);
        }
        SessionState::Down { since, why, silent } => {
            if *silent {
                status.state = "not answering".into();
            }
            status.for_ms = milliseconds(client.clock.now().saturating_sub(*since));
            status.why.clone_from(why);
        }
        SessionState::Replaced { since } => {
            status.state = "stale".into();
            status.for_ms = milliseconds(client.clock.now().saturating_sub(*since));
            status.why = client.replacement().to_string();
        }
        SessionState::Closed => status.why = "closed".into(),
    }
    status
}

/// A link that is up, as far as this host knows.
fn show_link(status: &mut LinkStatus, session: &ClientSession, up_for: Duration, draining: bool) {
    let facts = session.link.facts();
    status.fabric = facts.kind.name().into();
    status.qps = facts.queues;
    status.device.clone_from(&facts.device);
    status.encrypted = facts.encrypted;
    status.protocol = facts.negotiated.version;
    status.lease_ms = milliseconds(session.lease);
    let silence = session.link.silence();
    let (state, time) = match silence >= NOT_ANSWERING {
        true => ("not answering", silence),
        false if draining => ("draining", up_for),
        false => ("up", up_for),
    };
    (status.state, status.for_ms) = (state.into(), milliseconds(time));
    if draining {
        status.why = "the node ends soon and takes no new mounts; what is written is committed".into();
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn unreachable(pool: &Pool) -> PoolStatus {
    PoolStatus {
        pool: pool.client.name.clone(),
        id: pool
            .client
            .identity()
            .map(|id| id.to_string())
            .unwrap_or_default(),
        total: 0,
        used: 0,
        free: 0,
        inodes: 0,
        lost_files: 0,
        lost_bytes: 0,
    }
}
