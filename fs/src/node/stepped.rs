//! A node without threads, servers or clocks of its own, for simulations: the service, its journal and its cleaner work when they are told to.

use super::cleaner;
use super::journal::{Journal, Worker};
use super::service::{Parts, ReadClocks, Service};
use parking_lot::Mutex;
use rdmafs_meta::extent::Extent;
use rdmafs_meta::id::{Incarnation, NodeId};
use rdmafs_meta::namespace::{Config, Namespace};
use rdmafs_meta::store::{Store, StoreError};
use rdmafs_rdma::arena::Arena;
use rdmafs_rdma::server::PeerHandler;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};

/// The node's number in its pool, as in a real one.
const NODE: NodeId = NodeId(1);

/// One life of a node.
pub(crate) struct SteppedNode<S> {
    service: Service,
    worker: Mutex<Worker<S>>,
    dirty: Mutex<Receiver<Vec<Extent>>>,
}

impl<S: Store> SteppedNode<S> {
    /// Loads the namespace and begins to serve. `incarnation` must differ from that of every earlier life.
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn start(
        mut store: S,
        config: Config,
        arena: Arc<Arena>,
        incarnation: Incarnation,
        now: ReadClocks,
    ) -> Result<Self, StoreError> {
        let lease = config.lease;
        let mut namespace = Namespace::load(&mut store, config, now())?;
        namespace.add_arena(NODE, incarnation, arena.len());
        let (journal, worker) = Journal::with_worker(store, namespace.term());
        let (send, dirty) = mpsc::channel();
        let service = Service::new(Parts {
            namespace,
            arena,
            incarnation: (NODE, incarnation),
            journal: Some(journal),
            dirty: send,
            lease,
            now,
        });
        Ok(Self {
            service,
            worker: Mutex::new(worker),
            dirty: Mutex::new(dirty),
        })
    }

    /// What peers speak to.
    pub(crate) fn peer_handler(&self) -> &dyn PeerHandler {
        &self.service
    }

    /// Lets time pass: to be called every second of simulated time.
    pub(crate) fn tick(&self) {
        while self.service.tick() {}
    }

    /// Gives the store what has gathered. False when that is nothing.
    pub(crate) fn store(&self) -> bool {
        self.worker.lock().turn()
    }

    /// Zeroes what was freed first of all that is not clean yet, after it was shown to `watch`. False when everything is clean.
    pub(crate) fn clean(&self, watch: impl FnOnce(&[Extent])) -> bool {
        let Ok(extents) = self.dirty.lock().try_recv() else {
            return false;
        };
        watch(&extents);
        // It does not end meanwhile.
        let _all = cleaner::clean_all(&self.service, &extents);
        true
    }

    /// Looks at the namespace.
    pub(crate) fn look<T>(&self, at: impl FnOnce(&Namespace) -> T) -> T {
        self.service.look(at)
    }
}
