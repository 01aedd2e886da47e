//! The service alone: peers are recorded, the store fails when told to.

use crate::node::journal::Journal;
use crate::node::service::{Parts, Service};
use parking_lot::Mutex;
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::error::MetaError;
use rdmafs_meta::extent::Extent;
use rdmafs_meta::id::{Incarnation, InodeId, Lineage, NodeId, PoolId, RequestId, SessionId, Term};
use rdmafs_meta::name::Name;
use rdmafs_meta::namespace::{Config, Namespace};
use rdmafs_meta::store::{Batch, MemoryStore, Store, StoreError};
use rdmafs_meta::time::{AccessTime, Now};
use rdmafs_meta::wire::{self, Answer, Begun, Call, NewInode, Reply, Request};
use rdmafs_rdma::arena::Arena;
use rdmafs_rdma::door::{Identity, Peer, PeerId};
use rdmafs_rdma::fabric::{FabricError, FabricKind, Verb};
use rdmafs_rdma::key::KeyId;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

const LIFE: (NodeId, Incarnation) = (NodeId(1), Incarnation(77));

const LEASE: Duration = Duration::from_secs(10);

/// A peer that keeps what it is sent.
struct Recorder {
    identity: Identity,
    sent: Mutex<Vec<Vec<u8>>>,
    closed: AtomicBool,
    /// Who holds it makes every message, and so the call that it answers, last.
    slow: Mutex<()>,
    sending: AtomicBool,
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

struct Rig {
    service: Service,
    broken: Arc<AtomicBool>,
    dirty: Mutex<Receiver<Vec<Extent>>>,
    time: Arc<Mutex<Duration>>,
    /// How often somebody looked at the clock.
    looks: Arc<AtomicU64>,
}

impl Rig {
    fn new() -> Self {
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
            ids_after: InodeId::ROOT,
        };
        let mut namespace = Namespace::load(&mut store, config, Now::default()).unwrap();
        let arena = Arena::allocate(1 << 20, &mut |_| {}).unwrap();
        namespace.add_arena(LIFE.0, LIFE.1, arena.len());
        let time = Arc::new(Mutex::new(Duration::from_secs(1000)));
        let clock = Arc::clone(&time);
        let looks = Arc::new(AtomicU64::new(0));
        let looked = Arc::clone(&looks);
        let (send, dirty) = mpsc::channel();
        let journal = Journal::start(store, namespace.term()).unwrap();
        let service = Service::new(Parts {
            namespace,
            arena: Arc::new(arena),
            life: LIFE,
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
    fn pass(&self, duration: Duration) {
        let until = *self.time.lock() + duration;
        while *self.time.lock() < until {
            let mut time = self.time.lock();
            *time = until.min(*time + Duration::from_secs(1));
            drop(time);
            while self.service.tick() {}
        }
    }

    /// A peer with a session.
    fn peer(&self, id: u64) -> Guest<'_> {
        let mut guest = self.silent(id);
        let host = "recorder".into();
        let lineage = Lineage([u8::try_from(guest.peer.identity.id.0).unwrap(); 16]);
        match guest.call(Request::Begin {
            host,
            lineage,
            pool: None,
        }) {
            Ok(Reply::Begun(Begun { session, term, .. })) => guest.begun = (session, term),
            other => panic!("{other:?}"),
        }
        guest
    }

    /// A peer that has only arrived.
    fn silent(&self, id: u64) -> Guest<'_> {
        let peer = Arc::new(Recorder {
            identity: Identity {
                id: PeerId(id),
                key: KeyId([0; 8]),
                host: "recorder".into(),
                fabric: FabricKind::Tcp,
                pid: None,
            },
            sent: Mutex::default(),
            closed: AtomicBool::new(false),
            slow: Mutex::default(),
            sending: AtomicBool::new(false),
        });
        self.service.arrived(Arc::clone(&peer) as Arc<dyn Peer>);
        Guest {
            rig: self,
            peer,
            calls: 0,
            begun: (SessionId(0), Term(0)),
        }
    }
}

struct Guest<'a> {
    rig: &'a Rig,
    peer: Arc<Recorder>,
    calls: u64,
    begun: (SessionId, Term),
}

impl Guest<'_> {
    /// Calls and waits for the last message sent, which must be the answer.
    fn call(&mut self, request: Request) -> Answer {
        self.calls += 1;
        let call = Call {
            session: self.begun.0,
            term: self.begun.1,
            id: RequestId(self.calls),
            caller: Credentials::root(),
            access_time: AccessTime::default(),
            request,
        };
        let before = self.peer.sent.lock().len();
        self.rig.service.call(self.peer.identity.id, self.calls, call);
        // An fsync is answered by the thread of the store.
        while self.peer.sent.lock().len() == before {
            std::thread::yield_now();
        }
        let frame = self.peer.sent.lock().last().unwrap().clone();
        assert_eq!(frame[..8], self.calls.to_le_bytes());
        wire::decode(&frame[8..]).unwrap()
    }

    fn make(&mut self, name: &str) -> Answer {
        self.call(Request::Make {
            parent: InodeId::ROOT,
            name: Name::new(name).unwrap(),
            what: NewInode::File { open: true },
            mode: 0o644,
        })
    }
}

#[test]
fn a_store_that_failed_ends_changes_but_not_reading() {
    let rig = Rig::new();
    let mut guest = rig.peer(1);
    assert!(guest.make("before").is_ok());
    assert_eq!(guest.call(Request::Sync), Ok(Reply::Done));
    rig.broken.store(true, Ordering::SeqCst);
    assert!(
        guest.make("during").is_ok(),
        "it did not ask to wait for the store"
    );
    assert_eq!(
        guest.call(Request::Sync),
        Err(MetaError::StoreFailed),
        "an fsync says the truth"
    );
    assert_eq!(guest.make("after"), Err(MetaError::StoreFailed));
    let (parent, name) = (InodeId::ROOT, Name::new("before").unwrap());
    assert!(guest.call(Request::Lookup { parent, name }).is_ok());
    assert!(matches!(guest.call(Request::Renew), Ok(Reply::Renewed { .. })));
    rig.broken.store(false, Ordering::SeqCst);
    assert_eq!(
        guest.make("later"),
        Err(MetaError::StoreFailed),
        "what was lost stays lost"
    );
}

#[test]
fn a_session_whose_lease_ran_out_is_cut_off_and_then_forgotten() {
    let rig = Rig::new();
    let mut guest = rig.peer(1);
    let Ok(Reply::Opened { attr, .. }) = guest.make("file") else {
        panic!("no file");
    };
    let layout = guest.call(Request::Layout {
        ino: attr.ino,
        start: 0,
        end: 4096,
        allocate: true,
    });
    let Ok(Reply::Layout(slice)) = layout else {
        panic!("{layout:?}");
    };
    let extent = slice.runs[0].copies[0].extent;
    let range = extent.offset..extent.offset + 4096;
    assert!(rig.service.grants().may(PeerId(1), Verb::Write, &range));
    let last_tick = LEASE - rig.service.look(Namespace::tick_time) * 2;
    rig.pass(last_tick - Duration::from_millis(1));
    assert!(!guest.peer.closed.load(Ordering::SeqCst));
    rig.pass(Duration::from_millis(2));
    assert!(guest.peer.closed.load(Ordering::SeqCst));
    assert!(!rig.service.grants().may(PeerId(1), Verb::Read, &range));
    assert_eq!(guest.make("more"), Err(MetaError::SessionEnded));
    assert!(
        rig.dirty.lock().try_recv().is_err(),
        "its work may still run: nothing is reused"
    );
    rig.service.left(PeerId(1));
    assert!(rig.peer(2).make("other").is_ok());
}

#[test]
fn a_peer_that_begins_no_session_is_hung_up_on() {
    let rig = Rig::new();
    let mut busy = rig.peer(1);
    let idle = rig.silent(2);
    let is_closed = |guest: &Guest<'_>| guest.peer.closed.load(Ordering::SeqCst);
    for _ in 0..2 {
        rig.pass(LEASE / 2);
        assert!(matches!(busy.call(Request::Renew), Ok(Reply::Renewed { .. })));
    }
    assert!(!is_closed(&idle));
    rig.pass(Duration::from_secs(1));
    assert!(is_closed(&idle) && !is_closed(&busy));
    rig.service.left(PeerId(2));
    let late = rig.silent(3);
    rig.pass(Duration::from_secs(5));
    assert!(!is_closed(&late), "its time counts from when it came");
}

/// An examination of a large pool lasts longer than a lease, and the renewals of all sessions wait behind it.
#[test]
fn a_call_that_lasts_ends_no_lease() {
    let rig = Rig::new();
    let mut guest = rig.peer(1);
    let mut other = rig.peer(2);
    rig.service.tick();
    let peer = Arc::clone(&guest.peer);
    let slow = peer.slow.lock();
    peer.sending.store(false, Ordering::SeqCst);
    std::thread::scope(|scope| {
        let call = scope.spawn(|| guest.call(Request::Examine { skip: 0 }));
        while !peer.sending.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        let looks = rig.looks.load(Ordering::SeqCst);
        let tick = scope.spawn(|| rig.service.tick());
        // A tick that looks at the clock before it waits has done so by then; ours does not.
        for _ in 0..20 {
            if rig.looks.load(Ordering::SeqCst) > looks {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        *rig.time.lock() += LEASE * 2;
        drop(slow);
        assert!(matches!(call.join().unwrap(), Ok(Reply::Examined(_))));
        tick.join().unwrap();
    });
    assert!(!peer.closed.load(Ordering::SeqCst) && !other.peer.closed.load(Ordering::SeqCst));
    assert!(matches!(other.call(Request::Renew), Ok(Reply::Renewed { .. })));
    rig.pass(LEASE + Duration::from_secs(1));
    assert!(
        peer.closed.load(Ordering::SeqCst),
        "from then on time counts again"
    );
}
