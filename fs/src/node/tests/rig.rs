//! A service alone: its peers are recorded, its store fails when told to.

use crate::node::journal::Journal;
use crate::node::service::{Parts, Service};
use parking_lot::Mutex;
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::extent::Extent;
use rdmafs_meta::id::{ClientOwner, Incarnation, InodeId, NodeId, PoolId, RequestId, SessionId, Term};
use rdmafs_meta::name::Name;
use rdmafs_meta::namespace::{Config, Namespace};
use rdmafs_meta::store::{Batch, MemoryStore, Store, StoreError};
use rdmafs_meta::time::{AccessTime, Now};
use rdmafs_meta::wire::{self, Answer, Begun, Call, NewInode, Reply, Request, WireVersion};
use rdmafs_rdma::arena::Arena;
use rdmafs_rdma::fabric::{FabricError, FabricKind};
use rdmafs_rdma::key::KeyId;
use rdmafs_rdma::protocol::Negotiated;
use rdmafs_rdma::server::{Identity, Peer, PeerId};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

/// Whose arena the service has.
const INCARNATION: (NodeId, Incarnation) = (NodeId(1), Incarnation(77));

pub(super) const LEASE: Duration = Duration::from_secs(10);

/// What peers speak that nothing else is said of.
const NEWEST: Negotiated = Negotiated {
    version: wire::NEWEST,
    features: wire::FEATURES,
};

/// A peer that keeps what it is sent.
pub(super) struct Recorder {
    identity: Identity,
    sent: Mutex<Vec<Vec<u8>>>,
    pub(super) closed: AtomicBool,
    /// Who holds it makes every message, and so the call that it answers, last.
    pub(super) slow: Mutex<()>,
    pub(super) sending: AtomicBool,
}

impl Peer for Recorder {
    fn identity(&self) -> &Identity {
        &self.identity
    }
    fn send(&self, message: &[u8]) -> Result<(), FabricError> {
        self.sending.store(true, Ordering::SeqCst);
        let _waited = self.slow.lock();
        self.sent.lock().push(message.to_vec());
        Ok(())
    }
    fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }
}

/// A memory store that fails once it was told to.
struct Fragile {
    store: MemoryStore,
    broken: Arc<AtomicBool>,
}

impl Store for Fragile {
    fn scan(
        &self,
        prefix: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.store.scan(prefix, each)
    }
    fn commit(&mut self, batches: &[Batch], term: Term) -> Result<(), StoreError> {
        match self.broken.load(Ordering::SeqCst) {
            true => Err(StoreError::Io("broken".into())),
            false => self.store.commit(batches, term),
        }
    }
    fn take_over(&mut self, term: Term) -> Result<(), StoreError> {
        self.store.take_over(term)
    }
    fn term(&self) -> Result<Term, StoreError> {
        self.store.term()
    }
}

/// A service and what it is made of.
pub(super) struct Rig {
    pub(super) service: Service,
    pub(super) broken: Arc<AtomicBool>,
    pub(super) dirty: Mutex<Receiver<Vec<Extent>>>,
    pub(super) time: Arc<Mutex<Duration>>,
    /// How often somebody looked at the clock.
    pub(super) looks: Arc<AtomicU64>,
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::beside(&[])
    }

    /// The service of a pool that has these arenas, too: their nodes live, and this one has no way to them.
    pub(super) fn beside(others: &[(NodeId, u64)]) -> Self {
        let broken = Arc::new(AtomicBool::new(false));
        let mut store = Fragile {
            store: MemoryStore::default(),
            broken: Arc::clone(&broken),
        };
        let config = Config {
            pool: PoolId([7; 16]),
            lease: LEASE,
            root_owner: (0, 0),
            root_mode: 0o755,
            metadata: u64::MAX,
        };
        let mut namespace = Namespace::load(&mut store, config, Now::default()).unwrap();
        let arena = Arena::allocate(1 << 20, &mut |_| {}).unwrap();
        namespace.add_arena(INCARNATION.0, INCARNATION.1, arena.len());
        for (node, len) in others {
            namespace.add_arena(*node, INCARNATION.1, *len);
        }
        let time = Arc::new(Mutex::new(Duration::from_secs(1000)));
        let clock = Arc::clone(&time);
        let looks = Arc::new(AtomicU64::new(0));
        let looked = Arc::clone(&looks);
        let (send, dirty) = mpsc::channel();
        let journal = Journal::start(store, namespace.term()).unwrap();
        let service = Service::new(Parts {
            namespace,
            arena: Arc::new(arena),
            incarnation: INCARNATION,
            journal: Some(journal),
            dirty: send,
            lease: LEASE,
            now: Box::new(move || {
                let monotonic = *clock.lock();
                looked.fetch_add(1, Ordering::SeqCst);
                Now {
                    monotonic,
                    ..Now::default()
                }
            }),
        });
        Self {
            service,
            broken,
            dirty: Mutex::new(dirty),
            time,
            looks,
        }
    }

    /// Lets time pass.
    pub(super) fn pass(&self, duration: Duration) {
        let until = *self.time.lock() + duration;
        while *self.time.lock() < until {
            let mut time = self.time.lock();
            *time = until.min(*time + Duration::from_secs(1));
            drop(time);
            while self.service.tick() {}
        }
    }

    /// A peer with a session.
    pub(super) fn peer(&self, id: u64) -> TestHandler<'_> {
        let mut peer = self.silent(id);
        let host = "recorder".into();
        let client_owner = ClientOwner([u8::try_from(peer.peer.identity.id.0).unwrap(); 16]);
        match peer.call(Request::Begin {
            host,
            client_owner,
            pool: None,
        }) {
            Ok(Reply::Begun(Begun { session, term, .. })) => peer.begun = (session, term),
            other => panic!("{other:?}"),
        }
        peer
    }

    /// A peer that has only arrived.
    pub(super) fn silent(&self, id: u64) -> TestHandler<'_> {
        self.arrives(id, NEWEST)
    }

    /// A peer with which this was agreed, and that has only arrived.
    pub(super) fn arrives(&self, id: u64, negotiated: Negotiated) -> TestHandler<'_> {
        let peer = Arc::new(Recorder {
            identity: Identity {
                id: PeerId(id),
                key: KeyId([0; 8]),
                host: "recorder".into(),
                fabric: FabricKind::Tcp,
                pid: None,
                negotiated,
            },
            sent: Mutex::default(),
            closed: AtomicBool::new(false),
            slow: Mutex::default(),
            sending: AtomicBool::new(false),
        });
        self.service.arrived(Arc::clone(&peer) as Arc<dyn Peer>);
        TestHandler {
            rig: self,
            peer,
            calls: 0,
            begun: (SessionId(0), Term(0)),
        }
    }
}

/// A peer and its session.
pub(super) struct TestHandler<'a> {
    rig: &'a Rig,
    pub(super) peer: Arc<Recorder>,
    pub(super) calls: u64,
    begun: (SessionId, Term),
}

impl TestHandler<'_> {
    /// Calls and waits for the last message sent, which must be the answer.
    pub(super) fn call(&mut self, request: Request) -> Answer {
        self.calls += 1;
        let call = Call {
            session: self.begun.0,
            term: self.begun.1,
            id: RequestId(self.calls),
            caller: Credentials::root(),
            access_time: AccessTime::default(),
            request,
            closes: Vec::new(),
        };
        let before = self.peer.sent.lock().len();
        self.rig.service.call(self.peer.identity.id, self.calls, call);
        // An fsync is answered by the thread of the store.
        while self.peer.sent.lock().len() == before {
            std::thread::yield_now();
        }
        let frame = self.peer.sent.lock().last().unwrap().clone();
        assert_eq!(frame[..8], self.calls.to_le_bytes());
        let spoken = crate::protocol::spoken(self.peer.identity.negotiated);
        let spoken = match spoken.covers(WireVersion::THIRD) {
            true => spoken,
            false => WireVersion::FIRST,
        };
        let said = wire::decode_answer(&frame[8..], spoken);
        said.unwrap().answer
    }

    pub(super) fn make(&mut self, name: &str) -> Answer {
        self.call(Request::Make {
            parent: InodeId::ROOT,
            name: Name::new(name).unwrap(),
            what: NewInode::File { open: true },
            mode: 0o644,
        })
    }
}
