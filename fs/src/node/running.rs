//! A node, from its parts to its orderly end.

use super::cleaner;
use super::clocks::Clocks;
use super::front::{Control, Front};
use super::identity;
use super::journal::Journal;
use super::limits;
use super::made::Made;
use super::place::{self, Wanted};
use super::serve::{Ready, ServeConfig};
use super::service::{Parts, Service};
use super::state_dir::{Purpose, StateDir};
use crate::process::{PidFile, prepare_run_dir};
use rdmafs_meta::id::{Incarnation, InodeId, NodeId, PoolId};
use rdmafs_meta::namespace::{Config, Identity, Namespace};
use rdmafs_meta::store::{MemoryStore, Store};
use rdmafs_meta::time::Now;
use rdmafs_rdma::arena::Arena;
use rdmafs_rdma::door::{Desk, Door, DoorConfig};
use rdmafs_rdma::key::Key;
use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// The node of a pool of one.
const NODE: NodeId = NodeId(1);

/// The ids of a new namespace begin below 2^47: two pools that followed one another on an address have as good as never an id in common,
/// and there is room for more than any pool makes.
const IDS_SHIFT: u32 = 17;

/// Time limit of a set-up with a handler until its key is proved, and of each step after that.
const STEP_TIMEOUT: Duration = Duration::from_secs(5);

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
    door: Door,
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
    /// One line: what failed and how to mend it. What was made on the way is gone then.
    pub(super) fn new(config: ServeConfig, mut go_on: impl FnMut(u64) -> bool) -> Result<Self, String> {
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
        let door = Door::listen(door_config(&config, key)).map_err(|error| error.to_string())?;
        let front = Arc::new(Front::new(&config, door.address()));
        let control = Control::open(&front, &config)?;
        let progress = &mut |done: u64| {
            let percent = u8::try_from(done.saturating_mul(100) / config.memory.max(1)).unwrap_or(100);
            door.preparing(percent.min(99));
            front.preparing(percent.min(99));
            go_on(done)
        };
        let arena = Arena::allocate_while(config.memory, progress).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => "ended by a signal while it prepared its memory".to_owned(),
            _ => format!("cannot prepare the memory to lend: {error}; give less with --memory"),
        })?;
        let random = random().map_err(|error| format!("cannot read /dev/urandom: {error}"))?;
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
            door,
            front,
            control,
            made,
        })
    }
}

fn load_key(config: &ServeConfig, made: &mut Made) -> Result<(Key, bool), String> {
    let folder = config.key.parent().filter(|folder| !folder.exists());
    let (key, created) = Key::load_or_create(&config.key).map_err(|error| error.to_string())?;
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
    door: Door,
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
    /// One line: a device does not take the memory, a file cannot be written, or a thread cannot be started.
    pub(super) fn start(prepared: Prepared) -> Result<Self, String> {
        let no_thread = |error: io::Error| format!("cannot start a thread: {error}");
        let arena = Arc::new(prepared.arena);
        let (dirty, cleaning) = mpsc::channel();
        let term = prepared.namespace.term();
        let journal = prepared
            .store
            .map(|store| Journal::start(store, term))
            .transpose()
            .map_err(no_thread)?;
        let clocks = prepared.clocks;
        let service = Arc::new(Service::new(Parts {
            namespace: prepared.namespace,
            arena: Arc::clone(&arena),
            life: (NODE, prepared.incarnation),
            journal,
            dirty,
            lease: prepared.config.lease,
            now: Box::new(move || clocks.now()),
        }));
        let (door, front) = (prepared.door, prepared.front);
        let desk = Arc::clone(&service) as Arc<dyn Desk>;
        let warning = door.begin(arena, desk).map_err(|error| error.to_string())?;
        let address = door.address();
        let pid_file = format!("node-{}.pid", address.port());
        let pid_file = PidFile::write(prepared.config.run_dir.join(pid_file))?;
        let (stop, stopped) = mpsc::channel();
        let (at_ticks, at_dirt) = (Arc::clone(&service), Arc::clone(&service));
        let thread = spawn("tick", move || cleaner::tick(&at_ticks, &stopped)).map_err(no_thread)?;
        let cleaner = spawn("cleaner", move || cleaner::clean(&at_dirt, &cleaning)).map_err(no_thread)?;
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
            door,
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

    /// What was answered becomes durable, fsyncs that wait are answered, then doors and store are closed. Blocking.
    ///
    /// # Errors
    /// One line: the store failed, now or before.
    pub(super) fn stop(self) -> Result<(), String> {
        if let Some(journal) = self.service.journal() {
            // Its failure is said below; the doors must be closed all the same.
            let _ = journal.flush();
        }
        self.door.close();
        drop(self.ticker.stop);
        self.service.stop_cleaning();
        let threads = [self.ticker.thread, self.cleaner].map(JoinHandle::join);
        let stored = self.service.journal().map_or(Ok(()), Journal::stop);
        if threads.iter().any(Result::is_err) {
            return Err("a thread of the node panicked: see the log".into());
        }
        stored.map_err(|_| "the store failed: changes since its failure are lost; see the log".into())
    }
}

fn door_config(config: &ServeConfig, key: Key) -> DoorConfig {
    DoorConfig {
        listen: config.listen,
        pool: config.pool.clone(),
        key,
        fabrics: config.fabrics.clone(),
        device: config.device.clone(),
        peers: config.sessions,
        step_timeout: STEP_TIMEOUT,
        run_dir: config.run_dir.clone(),
    }
}

/// Loads the namespace from the store, or makes a new one where there is none.
fn load(config: &ServeConfig, store: Option<&mut StateDir>, now: Now) -> Result<Namespace, String> {
    let no_random = |error| format!("cannot read /dev/urandom: {error}");
    let id = PoolId(bytes().map_err(no_random)?);
    let after = random().map_err(no_random)?;
    let mut namespace = Config {
        pool: id,
        lease: config.lease,
        root_owner: config.root_owner,
        root_mode: config.root_mode,
        ids_after: InodeId(after >> IDS_SHIFT),
    };
    let (Some(store), Some(dir)) = (store, config.state.as_deref()) else {
        let loaded = Namespace::load(&mut MemoryStore::default(), namespace, now);
        return loaded.map_err(|error| format!("cannot make a namespace: {error}"));
    };
    let known = identity::check(store, dir, config)?;
    namespace.pool = known.as_ref().and_then(|known| known.id).unwrap_or(id);
    let told = Identity {
        id: Some(namespace.pool),
        ..known
            .clone()
            .unwrap_or_else(|| Identity::new(id, &config.pool, config.memory))
    };
    let loaded = Namespace::load(store, namespace, now).map_err(|error| identity::unsound(dir, &error))?;
    if known.as_ref() != Some(&told) {
        store
            .commit(&[told.batch()], loaded.term())
            .map_err(|error| identity::unsound(dir, &error))?;
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
