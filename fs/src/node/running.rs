//! A node, from its parts to its orderly end.

use super::cleaner;
use super::clocks::Clocks;
use super::config::{Ready, ServeConfig};
use super::front::{Control, Front, SocketError};
use super::identity::{self, IdentityError};
use super::journal::Journal;
use super::limits::{self, LimitError};
use super::made::Made;
use super::place::{self, StatePlaceError, Wanted};
use super::service::{Parts, Service};
use super::state_dir::StateDir;
use super::store_file::{Purpose, StateDirError};
use crate::process::{PidFile, PidFileError, RunDirError, prepare_run_dir};
use rdmafs_meta::id::{Incarnation, NodeId, PoolId};
use rdmafs_meta::namespace::{Config, Identity, Namespace};
use rdmafs_meta::store::{MemoryStore, Store, StoreError};
use rdmafs_meta::time::Now;
use rdmafs_rdma::arena::Arena;
use rdmafs_rdma::key::{Key, KeyError};
use rdmafs_rdma::server::{PeerHandler, Server, ServerConfig};
use rdmafs_rdma::shown::shown;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use thiserror::Error;

/// The node of a pool of one.
const NODE: NodeId = NodeId(1);

/// Time limit of a set-up with a handler until its key is proved, and of each step after that.
const STEP_TIMEOUT: Duration = Duration::from_secs(5);

/// A node that does not come to serve: the step that failed, with what to do.
#[derive(Debug, Error)]
pub enum StartError {
    /// The configuration.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// The run directory.
    #[error(transparent)]
    RunDir(#[from] RunDirError),
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Where the state is to be.
    #[error(transparent)]
    Place(#[from] StatePlaceError),
    /// The state that is there.
    #[error(transparent)]
    StateDir(#[from] StateDirError),
    /// Which pool it is of.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// No namespace could be made.
    #[error("cannot make a namespace: {0}")]
    Namespace(#[source] StoreError),
    /// The sockets and devices that peers come by.
    #[error(transparent)]
    Server(io::Error),
    /// The control socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// A signal came first.
    #[error("ended by a signal while it prepared its memory")]
    Interrupted,
    /// The memory.
    #[error("cannot prepare the memory to lend: {0}; give less with --memory")]
    Memory(#[source] io::Error),
    /// Random bytes.
    #[error("cannot read /dev/urandom: {0}")]
    Random(#[source] io::Error),
    /// A thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
    /// The pid file.
    #[error(transparent)]
    PidFile(#[from] PidFileError),
}

/// A node whose end lost something.
#[derive(Debug, Error)]
pub enum StopError {
    /// A thread was gone before.
    #[error("a thread of the node panicked: see the log")]
    Panicked,
    /// The store did not take all changes.
    #[error("the store failed: changes since its failure are lost; see the log")]
    Store,
}

/// Everything that a node needs before its first session. It listens already, and says that it prepares its memory.
pub(super) struct Prepared {
    config: ServeConfig,
    key_created: bool,
    new_pool: bool,
    arena: Arena,
    incarnation: Incarnation,
    namespace: Namespace,
    store: Option<StateDir>,
    clocks: Clocks,
    server: Server,
    front: Arc<Front>,
    control: Control,
    /// Dropped last: what it removes is closed by then.
    made: Made,
}

impl Prepared {
    /// Checks the configuration, opens the store, listens, prepares the memory. Blocking: about 0.3 s per GiB of memory. `go_on` is told how
    /// many bytes of it are prepared, and may say `false` to give it up.
    ///
    /// # Errors
    /// What failed and how to mend it. What was made on the way is gone then.
    pub(super) fn new(config: ServeConfig, mut go_on: impl FnMut(u64) -> bool) -> Result<Self, StartError> {
        limits::check(&config)?;
        prepare_run_dir(&config.run_dir)?;
        let mut made = Made::default();
        let (key, key_created) = load_key(&config, &mut made)?;
        let wanted = Wanted {
            new: config.new,
            first: key_created,
        };
        let state = config.state.as_deref();
        let check = |dir| place::check(dir, wanted, &mut made);
        let new_pool = state.map(check).transpose()?.unwrap_or(false);
        let open = |dir| StateDir::open(dir, Purpose::Serve);
        let mut store = state.map(open).transpose()?;
        let clocks = Clocks::default();
        let mut namespace = load(&config, store.as_mut(), clocks.now())?;
        let server = Server::listen(server_config(&config, key)).map_err(StartError::Server)?;
        let front = Arc::new(Front::new(&config, server.address()));
        let control = Control::open(&front, &config)?;
        let progress = &mut |done: u64| {
            let percent = u8::try_from(done.saturating_mul(100) / config.memory.max(1)).unwrap_or(100);
            server.preparing(percent.min(99));
            front.preparing(percent.min(99));
            go_on(done)
        };
        let arena = Arena::allocate_while(config.memory, progress).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => StartError::Interrupted,
            _ => StartError::Memory(error),
        })?;
        let random = random().map_err(StartError::Random)?;
        // No two lives of an arena share it, whatever the node remembers.
        let incarnation = Incarnation(random.max(Incarnation::NEVER.0 + 1));
        namespace.add_arena(NODE, incarnation, arena.len());
        Ok(Self {
            config,
            key_created,
            new_pool,
            arena,
            incarnation,
            namespace,
            store,
            clocks,
            server,
            front,
            control,
            made,
        })
    }
}

fn load_key(config: &ServeConfig, made: &mut Made) -> Result<(Key, bool), KeyError> {
    let folder = config.key.parent().filter(|folder| !folder.exists());
    let (key, created) = Key::load_or_create(&config.key)?;
    if created {
        if let Some(folder) = folder {
            made.directory(folder.to_owned());
        }
        made.file(config.key.clone());
    }
    Ok((key, created))
}

/// A node that serves.
pub(super) struct Node {
    ready: Ready,
    service: Arc<Service>,
    server: Server,
    ticker: Worker,
    cleaner: JoinHandle<()>,
    front: Arc<Front>,
    _control: Control,
    _pid_file: PidFile,
}

/// A thread that ends when the sender is dropped.
struct Worker {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Node {
    /// Starts the threads and lets handlers in.
    ///
    /// # Errors
    /// A device does not take the memory, a file cannot be written, or a thread cannot be started.
    pub(super) fn start(prepared: Prepared) -> Result<Self, StartError> {
        say_awaited(&prepared);
        let arena = Arc::new(prepared.arena);
        let (dirty, cleaning) = mpsc::channel();
        let term = prepared.namespace.term();
        let journal = prepared
            .store
            .map(|store| Journal::start(store, term))
            .transpose()
            .map_err(StartError::Thread)?;
        let clocks = prepared.clocks;
        let service = Arc::new(Service::new(Parts {
            namespace: prepared.namespace,
            arena: Arc::clone(&arena),
            incarnation: (NODE, prepared.incarnation),
            journal,
            dirty,
            lease: prepared.config.lease,
            now: Box::new(move || clocks.now()),
        }));
        let (server, front) = (prepared.server, prepared.front);
        let peer_handler = Arc::clone(&service) as Arc<dyn PeerHandler>;
        let warning = server.begin(arena, peer_handler).map_err(StartError::Server)?;
        let address = server.address();
        let pid_file = format!("node-{}.pid", address.port());
        let pid_file = PidFile::write(prepared.config.run_dir.join(pid_file))?;
        let (stop, stopped) = mpsc::channel();
        let (at_ticks, at_dirt) = (Arc::clone(&service), Arc::clone(&service));
        let thread = spawn("tick", move || cleaner::tick(&at_ticks, &stopped)).map_err(StartError::Thread)?;
        let cleaner =
            spawn("cleaner", move || cleaner::clean(&at_dirt, &cleaning)).map_err(StartError::Thread)?;
        front.serves(&service, warning.as_deref());
        prepared.made.keep();
        Ok(Self {
            ready: Ready {
                address,
                key_created: prepared.key_created,
                new_pool: prepared.config.state.filter(|_| prepared.new_pool),
                warning,
            },
            service,
            server,
            ticker: Worker { stop, thread },
            cleaner,
            front,
            _control: prepared.control,
            _pid_file: pid_file,
        })
    }

    /// Where it serves.
    pub(super) fn ready(&self) -> &Ready {
        &self.ready
    }

    /// Lets no session begin any more and waits, at most for `limit`, until the handlers have committed what their programs wrote, or
    /// until `hurry` says so. Blocking.
    pub(super) fn drain(&self, signal: &str, limit: Duration, hurry: &dyn Fn() -> bool) {
        self.front.stops();
        let sessions = self.service.drain();
        tracing::info!(signal, sessions, ?limit, "draining");
        let hurry = || self.front.is_hurried() || hurry();
        match self.service.wait_until_drained(limit, &hurry) {
            0 => tracing::info!("drained: the handlers have committed what they had"),
            left => tracing::warn!(left, "not drained: what these sessions did not commit is lost"),
        }
    }

    /// What was answered becomes durable, fsyncs that wait are answered, then servers and store are closed. Blocking.
    ///
    /// # Errors
    /// The store failed, now or before.
    pub(super) fn stop(self) -> Result<(), StopError> {
        if let Some(journal) = self.service.journal() {
            // Its failure is said below; the servers must be closed all the same.
            let _ = journal.flush();
        }
        self.server.close();
        drop(self.ticker.stop);
        self.service.stop_cleaning();
        let threads = [self.ticker.thread, self.cleaner].map(JoinHandle::join);
        let stored = self.service.journal().map_or(Ok(()), Journal::stop);
        if threads.iter().any(Result::is_err) {
            return Err(StopError::Panicked);
        }
        stored.map_err(|_| StopError::Store)
    }
}

fn server_config(config: &ServeConfig, key: Key) -> ServerConfig {
    ServerConfig {
        listen: config.listen,
        pool: config.pool.clone(),
        key,
        fabrics: config.fabrics.clone(),
        device: config.device.clone(),
        peers: config.sessions,
        step_timeout: STEP_TIMEOUT,
        run_dir: config.run_dir.clone(),
        encrypted: config.encrypted,
        protocol: crate::protocol::OURS,
    }
}

/// Says that changes wait, and for how many handlers.
fn say_awaited(prepared: &Prepared) {
    let (awaited, lease) = (prepared.namespace.awaited_count(), prepared.config.lease);
    if awaited > 0 {
        tracing::info!(
            awaited,
            ?lease,
            "changes wait until the handlers that had the pool mounted are back, at most for a lease"
        );
    }
}

/// Loads the namespace from the store, or makes a new one where there is none.
fn load(config: &ServeConfig, store: Option<&mut StateDir>, now: Now) -> Result<Namespace, StartError> {
    let id = PoolId(bytes().map_err(StartError::Random)?);
    let namespace = Config {
        pool: id,
        lease: config.lease,
        root_owner: config.root_owner,
        root_mode: config.root_mode,
        metadata: config.metadata,
    };
    let (Some(store), Some(dir)) = (store, config.state.as_deref()) else {
        let loaded = Namespace::load(&mut MemoryStore::default(), namespace, now);
        return loaded.map_err(StartError::Namespace);
    };
    let loaded = load_from(store, dir, config, namespace, now);
    // Of a start that is refused nothing is missing either.
    if !store.keep_room() {
        tracing::warn!(
            "no room can be kept for removals in {}: make some on its file system",
            shown(dir)
        );
    }
    loaded
}

fn load_from(
    store: &mut StateDir,
    dir: &Path,
    config: &ServeConfig,
    mut namespace: Config,
    now: Now,
) -> Result<Namespace, StartError> {
    let known = identity::check(store, dir, config)?;
    let id = known
        .as_ref()
        .and_then(|known| known.id)
        .unwrap_or(namespace.pool);
    namespace.pool = id;
    let notified = Identity {
        id: Some(id),
        ..known
            .clone()
            .unwrap_or_else(|| Identity::new(id, &config.pool, config.memory))
    };
    let loaded = Namespace::load(store, namespace, now).map_err(|error| identity::unsound(dir, error))?;
    if known.as_ref() != Some(&notified) {
        store
            .commit(&[notified.batch()], loaded.term())
            .map_err(|error| identity::unsound(dir, error))?;
    }
    Ok(loaded)
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.into()).spawn(work)
}

fn random() -> io::Result<u64> {
    bytes().map(u64::from_le_bytes)
}

fn bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}
