//! A node with a small peer handler, and ways to reach it.

use rdmafs_rdma::arena::Arena;
use rdmafs_rdma::buffer::BufferPool;
use rdmafs_rdma::fabric::{
    Completion, ConnectError, Crypt, Endpoint, Event, Fabric, FabricError, FabricKind, Target, Verb, Work,
};
use rdmafs_rdma::key::Key;
use rdmafs_rdma::protocol::{Protocol, Versions};
use rdmafs_rdma::server::{Peer, PeerHandler, PeerId, Server, ServerConfig};
use rdmafs_rdma::shm::Shm;
use rdmafs_rdma::tcp::Tcp;
use rdmafs_rdma::verbs::Verbs;
use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

pub(crate) const ARENA: u64 = 8 << 20;
/// What nodes and clients speak where a test does not say otherwise.
pub(crate) const SPOKEN: Protocol = Protocol {
    versions: match Versions::new(1, 6) {
        Some(versions) => versions,
        None => unreachable!(),
    },
    features: 0,
};
/// Within this everything must have happened, on a busy machine too.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// A fabric with its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Shm,
    Plain,
    Encrypted,
    #[allow(dead_code, reason = "only in `tests/verbs.rs`: needs a device")]
    Verbs,
}

pub(crate) const WAYS: [Way; 3] = [Way::Shm, Way::Plain, Way::Encrypted];

/// Echoes messages; keeps books on peers; refuses what is in `forbidden`.
#[derive(Default)]
pub(crate) struct TestPeerHandler {
    books: Mutex<Books>,
    changed: Condvar,
    pub(crate) forbidden: Mutex<Option<Range<u64>>>,
}

#[derive(Default)]
pub(crate) struct Books {
    pub(crate) here: HashMap<PeerId, Arc<dyn Peer>>,
    pub(crate) arrived: usize,
    pub(crate) left: usize,
    pub(crate) messages: Vec<Vec<u8>>,
}

impl TestPeerHandler {
    /// Waits until the books are as they should be.
    pub(crate) fn until(&self, what: &str, mut done: impl FnMut(&Books) -> bool) {
        let books = self.books.lock().unwrap();
        let (books, waited) = self
            .changed
            .wait_timeout_while(books, LIMIT, |books| !done(books))
            .unwrap();
        assert!(!waited.timed_out(), "never: {what}");
        drop(books);
    }

    pub(crate) fn peer(&self) -> Arc<dyn Peer> {
        self.until("a peer", |books| !books.here.is_empty());
        let books = self.books.lock().unwrap();
        Arc::clone(books.here.values().next().unwrap())
    }

    fn write(&self, change: impl FnOnce(&mut Books)) {
        change(&mut self.books.lock().unwrap());
        self.changed.notify_all();
    }
}

impl PeerHandler for TestPeerHandler {
    fn arrived(&self, peer: Arc<dyn Peer>) {
        self.write(|books| {
            books.here.insert(peer.identity().id, peer);
            books.arrived += 1;
        });
    }

    fn message(&self, peer: PeerId, message: &[u8]) {
        let peer = self.books.lock().unwrap().here.get(&peer).cloned();
        self.write(|books| books.messages.push(message.to_vec()));
        if message != b"quiet" {
            let _ = peer.unwrap().send(message);
        }
    }

    fn may(&self, peer: PeerId, _: Verb, range: Range<u64>) -> bool {
        assert!(
            self.books.lock().unwrap().here.contains_key(&peer),
            "asked for a peer that is not here"
        );
        let forbidden = self.forbidden.lock().unwrap();
        forbidden
            .as_ref()
            .is_none_or(|forbidden| range.end <= forbidden.start || forbidden.end <= range.start)
    }

    fn left(&self, peer: PeerId) {
        self.write(|books| {
            assert!(books.here.remove(&peer).is_some());
            books.left += 1;
        });
    }
}

/// A node.
pub(crate) struct Rig {
    pub(crate) server: Server,
    pub(crate) peer_handler: Arc<TestPeerHandler>,
    pub(crate) arena: Arc<Arena>,
    pub(crate) key: Key,
    pub(crate) run_dir: PathBuf,
    _run_dir: Option<tempfile::TempDir>,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with(Duration::from_secs(5), &[FabricKind::Shm, FabricKind::Tcp])
    }

    pub(crate) fn with(step_timeout: Duration, fabrics: &[FabricKind]) -> Self {
        let run_dir = tempfile::tempdir().unwrap();
        let rig = Self::at(run_dir.path(), step_timeout, fabrics);
        Self {
            _run_dir: Some(run_dir),
            ..rig
        }
    }

    /// A node that takes so many peers.
    pub(crate) fn of(peers: u32) -> Self {
        let run_dir = tempfile::tempdir().unwrap();
        let fabrics = [FabricKind::Shm, FabricKind::Tcp];
        let rig = Self::build(run_dir.path(), Duration::from_secs(5), &fabrics, peers);
        Self {
            _run_dir: Some(run_dir),
            ..rig
        }
    }

    /// A node with its socket and its key file in `run_dir`.
    pub(crate) fn at(run_dir: &Path, step_timeout: Duration, fabrics: &[FabricKind]) -> Self {
        Self::build(run_dir, step_timeout, fabrics, 64)
    }

    /// A node that speaks this.
    #[allow(dead_code, reason = "of no use to `tests/verbs.rs`")]
    pub(crate) fn speaking(protocol: Protocol) -> Self {
        let run_dir = tempfile::tempdir().unwrap();
        let fabrics = [FabricKind::Shm, FabricKind::Tcp];
        let rig = Self::open(run_dir.path(), &fabrics, |config| config.protocol = protocol);
        Self {
            _run_dir: Some(run_dir),
            ..rig
        }
    }

    /// A node that serves encrypted data only.
    #[allow(dead_code, reason = "of no use to `tests/verbs.rs`")]
    pub(crate) fn demanding() -> Self {
        let run_dir = tempfile::tempdir().unwrap();
        let rig = Self::open(run_dir.path(), &[FabricKind::Tcp], |config| {
            config.encrypted = true
        });
        Self {
            _run_dir: Some(run_dir),
            ..rig
        }
    }

    fn build(run_dir: &Path, step_timeout: Duration, fabrics: &[FabricKind], peers: u32) -> Self {
        Self::open(run_dir, fabrics, |config| {
            (config.step_timeout, config.peers) = (step_timeout, peers);
        })
    }

    fn open(run_dir: &Path, fabrics: &[FabricKind], change: impl FnOnce(&mut ServerConfig)) -> Self {
        let (key, _) = Key::load_or_create(&run_dir.join("key")).unwrap();
        let arena = Arc::new(Arena::allocate(ARENA, &mut |_| ()).unwrap());
        let peer_handler = Arc::new(TestPeerHandler::default());
        let mut config = ServerConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            pool: "pool".into(),
            key: key.clone(),
            fabrics: fabrics.to_vec(),
            device: None,
            peers: 64,
            step_timeout: Duration::from_secs(5),
            run_dir: run_dir.into(),
            encrypted: false,
            protocol: SPOKEN,
        };
        change(&mut config);
        let server = Server::open(
            config,
            Arc::clone(&arena),
            Arc::clone(&peer_handler) as Arc<dyn PeerHandler>,
        )
        .unwrap();
        Self {
            server,
            peer_handler,
            arena,
            key,
            run_dir: run_dir.into(),
            _run_dir: None,
        }
    }

    pub(crate) fn target(&self, way: Way) -> Target {
        target(way, self.server.address().port(), &self.key, &self.run_dir)
    }

    pub(crate) fn client(&self, way: Way) -> Client {
        let client = Client::connect(way, &self.target(way));
        self.peer_handler
            .until("the peer has arrived", |books| !books.here.is_empty());
        client
    }

    /// Arena bytes, as the node sees them.
    pub(crate) fn bytes(&self, offset: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.arena.read(offset, &mut bytes).unwrap();
        bytes
    }
}

pub(crate) fn target(way: Way, port: u16, key: &Key, run_dir: &Path) -> Target {
    Target {
        host: "127.0.0.1".into(),
        port,
        pool: "pool".into(),
        key: key.clone(),
        host_id: "tester".into(),
        step_timeout: Duration::from_secs(5),
        queues: 3,
        crypt: if way == Way::Encrypted {
            Crypt::On
        } else {
            Crypt::Auto
        },
        client_owner: rdmafs_rdma::fabric::ClientOwner::random().unwrap(),
        verbs: Default::default(),
        run_dir: run_dir.into(),
        buffers: BufferPool::new(16, 16).unwrap(),
        protocol: SPOKEN,
    }
}

pub(crate) fn connect(way: Way, target: &Target) -> Result<Arc<dyn Endpoint>, ConnectError> {
    match way {
        Way::Shm => Shm.connect(target),
        Way::Plain | Way::Encrypted => Tcp.connect(target),
        Way::Verbs => Verbs.connect(target),
    }
}

/// An endpoint driven by one thread.
pub(crate) struct Client {
    pub(crate) endpoint: Arc<dyn Endpoint>,
    pub(crate) buffers: BufferPool,
    pub(crate) events: Vec<Event>,
    first_id: u64,
}

impl Client {
    pub(crate) fn connect(way: Way, target: &Target) -> Self {
        Self {
            endpoint: connect(way, target).unwrap(),
            buffers: target.buffers.clone(),
            events: Vec::new(),
            first_id: 0,
        }
    }

    /// Posts work; its completion will be among the events. Gives its id.
    pub(crate) fn post(&mut self, queue: usize, verb: Verb, remote: u64, bytes: &[u8]) -> u64 {
        let mut buffer = self.buffers.try_get(bytes.len()).expect("a free buffer");
        buffer.copy_from_slice(bytes);
        self.first_id += 1;
        let id = self.first_id;
        let work = Work {
            id,
            verb,
            remote,
            buffer,
        };
        let done = self.endpoint.post(queue, work);
        self.events.extend(done.map(Event::Done));
        id
    }

    /// Drives the endpoint until an event is of the wanted kind, and takes that one out.
    pub(crate) fn until<T>(&mut self, what: &str, mut find: impl FnMut(&Event) -> Option<T>) -> T {
        for _ in 0..LIMIT.as_millis() / 10 {
            if let Some((at, found)) = self
                .events
                .iter()
                .enumerate()
                .find_map(|(at, event)| Some((at, find(event)?)))
            {
                self.events.remove(at);
                return found;
            }
            self.endpoint.wait(Duration::from_millis(10));
            self.endpoint.poll(&mut self.events);
        }
        panic!("never: {what}; events: {:?}", self.events);
    }

    pub(crate) fn completion(&mut self, id: u64) -> (Vec<u8>, Result<(), FabricError>) {
        self.until("a completion", |event| match event {
            Event::Done(Completion {
                id: of,
                buffer,
                result,
            }) if *of == id => Some((buffer.to_vec(), result.clone())),
            _ => None,
        })
    }

    pub(crate) fn message(&mut self) -> Vec<u8> {
        self.until("a message", |event| match event {
            Event::Message(message) => Some(message.clone()),
            _ => None,
        })
    }

    pub(crate) fn down(&mut self) -> FabricError {
        self.until("the end", |event| match event {
            Event::Down(reason) => Some(reason.clone()),
            _ => None,
        })
    }

    pub(crate) fn read(&mut self, remote: u64, len: usize) -> Result<Vec<u8>, FabricError> {
        let id = self.post(0, Verb::Read, remote, &vec![0xee; len]);
        let (bytes, result) = self.completion(id);
        result.map(|()| bytes)
    }

    pub(crate) fn write(&mut self, remote: u64, bytes: &[u8]) -> Result<(), FabricError> {
        let id = self.post(0, Verb::Write, remote, bytes);
        self.completion(id).1
    }
}
