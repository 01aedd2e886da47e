//! A namespace with one session, as root asks it: its store forgets, so what is measured is the namespace.

use rdmafs_meta::cred::Credentials;
use rdmafs_meta::id::{ClientOwner, InodeId, PoolId, RequestId, SessionId};
use rdmafs_meta::name::Name;
use rdmafs_meta::namespace::{Config, Namespace};
use rdmafs_meta::store::MemoryStore;
use rdmafs_meta::time::{AccessTime, Now};
use rdmafs_meta::wire::{Answer, Call, NewInode, Reply, Request};
use std::time::Duration;

pub(crate) struct World {
    pub(crate) space: Namespace,
    session: SessionId,
    request: u64,
}

impl World {
    /// With so many bytes for names.
    pub(crate) fn new(metadata: u64) -> Self {
        let config = Config {
            pool: PoolId([7; 16]),
            lease: Duration::from_secs(10),
            root_owner: (0, 0),
            root_mode: 0o755,
            metadata,
        };
        let mut world = World {
            space: Namespace::load(&mut MemoryStore::default(), config, Now::default()).unwrap(),
            session: SessionId(0),
            request: 0,
        };
        let begin = Request::Begin {
            host: "host".into(),
            client_owner: ClientOwner([1; 16]),
            pool: None,
        };
        match world.ask(begin) {
            Ok(Reply::Begun(begun)) => world.session = begun.session,
            other => panic!("{other:?}"),
        }
        world
    }

    pub(crate) fn ask(&mut self, request: Request) -> Answer {
        self.request += 1;
        let call = Call {
            session: self.session,
            term: self.space.term(),
            id: RequestId(self.request),
            caller: Credentials::root(),
            access_time: AccessTime::default(),
            request,
            closes: Vec::new(),
        };
        self.space.call(call, Now::default()).answer.unwrap()
    }

    pub(crate) fn make(&mut self, parent: InodeId, name: Name, what: NewInode) -> InodeId {
        let mode = 0o755;
        match self.ask(Request::Make {
            parent,
            name,
            what,
            mode,
        }) {
            Ok(Reply::Attr(attr)) => attr.ino,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn link(&mut self, ino: InodeId, parent: InodeId, name: Name) {
        self.ask(Request::Link { ino, parent, name }).unwrap();
    }
}

/// Bytes of memory that this process has.
pub(crate) fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = pages.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}
