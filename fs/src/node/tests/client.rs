//! A node in a temporary directory, and a client that speaks to it without a handler.

use crate::node::config::ServeConfig;
use crate::node::framing;
use crate::node::running::{Node, Prepared, StartError};
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::id::{ClientOwner, InodeId, PoolId, RequestId, SessionId, Term};
use rdmafs_meta::layout::{LayoutSlice, ReplicaState};
use rdmafs_meta::name::Name;
use rdmafs_meta::time::AccessTime;
use rdmafs_meta::wire::{self, Answer, Begun, Call, NewInode, Notice, Reply, Request};
use rdmafs_rdma::buffer::BufferPool;
use rdmafs_rdma::fabric::{
    Completion, Crypt, Endpoint, Event, Fabric, FabricError, FabricKind, Target, Verb, Work,
};
use rdmafs_rdma::key::Key;
use rdmafs_rdma::{shm::Shm, tcp::Tcp};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The fabrics that every test runs on.
pub(super) const FABRICS: [FabricKind; 2] = [FabricKind::Shm, FabricKind::Tcp];

/// A memory node of 8 MiB.
pub(super) struct TestNode {
    dir: tempfile::TempDir,
    node: Option<Node>,
}

impl TestNode {
    /// Starts one; with `durable` it keeps its namespace in a state directory.
    pub(super) fn start(durable: bool) -> Self {
        Self::on(tempfile::tempdir().unwrap(), durable)
    }

    /// Starts a node in a directory that may hold a state; with `durable` its namespace is kept there.
    pub(super) fn on(dir: tempfile::TempDir, durable: bool) -> Self {
        let mut this = Self { dir, node: None };
        this.node = Some(this.launch(durable).unwrap());
        this
    }

    /// Gives its directory up, once it was stopped.
    pub(super) fn into_dir(mut self) -> tempfile::TempDir {
        let other = tempfile::tempdir().unwrap();
        std::mem::replace(&mut self.dir, other)
    }

    /// Starts another node on the same directories.
    pub(super) fn launch(&self, durable: bool) -> Result<Node, StartError> {
        let config = config(self.dir.path(), durable);
        Node::start(Prepared::new(config, |_| true)?)
    }

    pub(super) fn node(&self) -> &Node {
        self.node.as_ref().unwrap()
    }

    /// The name of its pid file.
    pub(super) fn pid_file(&self) -> PathBuf {
        let name = format!("node-{}.pid", self.node().ready().address.port());
        self.dir.path().join(name)
    }

    /// Drains it.
    pub(super) fn stop(&mut self) {
        self.node.take().unwrap().stop().unwrap();
    }

    /// Drains it and starts it again on its state directory.
    pub(super) fn restart(&mut self) {
        self.stop();
        self.node = Some(self.launch(true).unwrap());
    }
}

impl Drop for TestNode {
    fn drop(&mut self) {
        if let Some(node) = self.node.take() {
            node.stop().unwrap();
        }
    }
}

/// A node of 8 MiB in a directory, on any free port.
pub(in crate::node) fn config(dir: &Path, durable: bool) -> ServeConfig {
    ServeConfig {
        pool: "test".into(),
        memory: 8 << 20,
        listen: ([127, 0, 0, 1], 0).into(),
        fabrics: FABRICS.to_vec(),
        device: None,
        state: durable.then(|| dir.join("state")),
        new: false,
        key: dir.join("key"),
        root_owner: (0, 0),
        root_mode: 0o755,
        metadata: 64 << 20,
        run_dir: dir.to_owned(),
        lease: Duration::from_secs(10),
        sessions: 64,
        encrypted: false,
        drain: Duration::from_secs(5),
    }
}

/// One connection, and the session that it began.
pub(super) struct Client {
    endpoint: Arc<dyn Endpoint>,
    buffers: BufferPool,
    client_owner: ClientOwner,
    next: u64,
    events: Vec<Event>,
    /// What the service said of its own accord so far.
    pub(super) notices: Vec<Notice>,
    /// Its session.
    pub(super) begun: Begun,
}

impl Client {
    /// Connects and begins a session.
    pub(super) fn new(node: &TestNode, kind: FabricKind) -> Self {
        Self::begun(Self::silent(node, kind))
    }

    /// Connects to a node in another process and begins a session.
    pub(super) fn away(dir: &Path, address: SocketAddr, kind: FabricKind) -> Self {
        Self::begun(Self::connect(dir, address, kind))
    }

    /// Connects without beginning a session.
    pub(super) fn silent(node: &TestNode, kind: FabricKind) -> Self {
        Self::connect(node.dir.path(), node.node().ready().address, kind)
    }

    fn begun(mut this: Self) -> Self {
        let Ok(Reply::Begun(begun)) = this.begin() else {
            panic!("no session was begun");
        };
        this.begun = begun;
        this
    }

    fn connect(dir: &Path, address: SocketAddr, kind: FabricKind) -> Self {
        let client_owner = rdmafs_rdma::fabric::ClientOwner::random().unwrap();
        let fabric: &dyn Fabric = if kind == FabricKind::Shm { &Shm } else { &Tcp };
        let buffers = BufferPool::new(4, 4).unwrap();
        let target = Target {
            host: address.ip().to_string(),
            port: address.port(),
            pool: "test".into(),
            key: Key::load(&dir.join("key")).unwrap(),
            host_id: "tests".into(),
            step_timeout: Duration::from_secs(10),
            queues: 2,
            crypt: Crypt::Auto,
            client_owner,
            verbs: Default::default(),
            run_dir: dir.to_owned(),
            buffers: buffers.clone(),
            protocol: crate::protocol::OURS,
        };
        Self {
            endpoint: fabric.connect(&target).unwrap(),
            buffers,
            client_owner: ClientOwner(client_owner.bytes()),
            next: 0,
            events: Vec::new(),
            notices: Vec::new(),
            begun: Begun {
                session: SessionId(0),
                pool: PoolId([0; 16]),
                term: Term(0),
                lease_ms: 0,
                arenas: Vec::new(),
                wall: Default::default(),
            },
        }
    }

    /// Asks for a session.
    pub(super) fn begin(&mut self) -> Answer {
        let (host, client_owner) = ("tests".into(), self.client_owner);
        self.call_as(
            SessionId(0),
            Request::Begin {
                host,
                client_owner,
                pool: None,
            },
        )
    }

    /// Calls as root in its own session.
    pub(super) fn call(&mut self, request: Request) -> Answer {
        self.call_as(self.begun.session, request)
    }

    /// Calls in the name of any session.
    pub(super) fn call_as(&mut self, session: SessionId, request: Request) -> Answer {
        self.next += 1;
        let call = Call {
            session,
            term: self.begun.term,
            id: RequestId(self.next),
            caller: Credentials::root(),
            access_time: AccessTime::default(),
            request,
            closes: Vec::new(),
        };
        let message = wire::encode(&call, wire::WireVersion::NEWEST).unwrap();
        let frame = [&self.next.to_le_bytes(), message.as_slice()].concat();
        self.endpoint.send(&frame).unwrap();
        let id = self.next;
        self.event(|this, event| match event {
            Event::Message(frame) => this.hear(&frame, id),
            _ => None,
        })
        .expect("the node hung up instead of answering")
    }

    /// Sends bytes that are no call.
    pub(super) fn send_raw(&self, frame: &[u8]) {
        self.endpoint.send(frame).unwrap();
    }

    /// True once the node has ended the connection.
    pub(super) fn is_hung_up_on(&mut self) -> bool {
        self.event(|_, _| None::<()>).is_none()
    }

    /// Ends the connection.
    pub(super) fn close(&self) {
        self.endpoint.close();
    }

    /// A new open file in the root directory.
    pub(super) fn create(&mut self, name: &str) -> InodeId {
        let made = self.call(Request::Make {
            parent: InodeId::ROOT,
            name: Name::new(name).unwrap(),
            what: NewInode::File { open: true },
            mode: 0o600,
        });
        match made {
            Ok(Reply::Opened { attr, .. }) => attr.ino,
            other => panic!("{other:?}"),
        }
    }

    /// A part of a file's layout, from `start` on.
    pub(super) fn layout(&mut self, ino: InodeId, range: std::ops::Range<u64>, allocate: bool) -> Answer {
        let (start, end) = (range.start, range.end);
        self.call(Request::Layout {
            ino,
            start,
            end,
            allocate,
        })
    }

    /// The arena ranges of a layout; panics if a copy is lost.
    pub(super) fn extents(answer: &Answer) -> (Vec<std::ops::Range<u64>>, u64) {
        let Ok(Reply::Layout(LayoutSlice { runs, end, .. })) = answer else {
            panic!("{answer:?}");
        };
        let ranges = runs.iter().map(|run| {
            assert_eq!(run.replicas[0].state, ReplicaState::Valid);
            run.replicas[0].extent.offset..run.replicas[0].extent.end()
        });
        (ranges.collect(), *end)
    }

    /// Reads arena bytes.
    pub(super) fn read(&mut self, remote: u64, len: usize) -> Result<Vec<u8>, FabricError> {
        let completion = self.post(Verb::Read, remote, &vec![0xee; len]);
        completion.result.map(|()| completion.buffer.to_vec())
    }

    /// Writes arena bytes.
    pub(super) fn write(&mut self, remote: u64, bytes: &[u8]) -> Result<(), FabricError> {
        self.post(Verb::Write, remote, bytes).result
    }

    fn post(&mut self, verb: Verb, remote: u64, bytes: &[u8]) -> Completion {
        let mut buffer = self.buffers.try_get(bytes.len()).unwrap();
        buffer.copy_from_slice(bytes);
        self.next += 1;
        let work = Work {
            id: self.next,
            verb,
            remote,
            buffer,
        };
        if let Some(completion) = self.endpoint.post(0, work) {
            return completion;
        }
        self.event(|this, event| match event {
            Event::Message(frame) => {
                assert!(this.hear(&frame, 0).is_none());
                None
            }
            Event::Done(completion) => Some(completion),
            Event::Down(_) => None,
        })
        .expect("work completes before the endpoint is down")
    }

    /// Keeps a notice; the answer to `id` is returned.
    fn hear(&mut self, frame: &[u8], id: u64) -> Option<Answer> {
        let (head, message) = frame.split_first_chunk().unwrap();
        if u64::from_le_bytes(*head) == framing::NOTICE {
            self.notices
                .push(wire::decode(message, wire::WireVersion::NEWEST).unwrap());
            return None;
        }
        assert_eq!(u64::from_le_bytes(*head), id, "an answer to another call");
        let said = wire::decode_answer(message, wire::WireVersion::NEWEST);
        Some(said.unwrap().answer)
    }

    /// Waits until `pick` takes something from an event; `None` when the endpoint went down first.
    fn event<T>(&mut self, mut pick: impl FnMut(&mut Self, Event) -> Option<T>) -> Option<T> {
        for _ in 0..200 {
            let mut events = std::mem::take(&mut self.events).into_iter();
            while let Some(event) = events.next() {
                let down = matches!(event, Event::Down(_));
                let picked = pick(self, event);
                if picked.is_some() || down {
                    self.events = events.collect();
                    return picked;
                }
            }
            self.endpoint.wait(Duration::from_millis(100));
            self.endpoint.poll(&mut self.events);
        }
        panic!("nothing happened for 20 s");
    }
}
