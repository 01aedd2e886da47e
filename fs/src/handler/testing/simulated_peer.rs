//! A handler's connection as the simulated node sees it, and its way there.

use super::store::SimStore;
use super::threaded::nobody_answers;
use crate::handler::client::{Connect, ReachError};
use crate::node::stepped::SteppedNode;
use parking_lot::Mutex;
use rdmafs_meta::extent::Extent;
use rdmafs_meta::namespace::Namespace;
use rdmafs_meta::wire;
use rdmafs_rdma::buffer::BufferPool;
use rdmafs_rdma::clock::Clock;
use rdmafs_rdma::fabric::{Endpoint, FabricError, FabricKind};
use rdmafs_rdma::key::KeyId;
use rdmafs_rdma::link::Poller;
use rdmafs_rdma::protocol::Negotiated;
use rdmafs_rdma::server::{Identity, Peer, PeerId};
use rdmafs_rdma::sim::{Access, Pace, Sim, SimEndpoint};
use std::io;
use std::sync::{Arc, OnceLock, Weak};

/// What handlers and the node speak with each other.
const NEWEST: Negotiated = Negotiated {
    version: wire::NEWEST,
    features: wire::FEATURES,
};

/// Sees what happens to the arena.
pub trait Watch: Send {
    /// The namespace may have changed.
    fn changed(&mut self, namespace: &Namespace);
    /// A write lands; this is the namespace at that moment.
    fn written(&mut self, namespace: &Namespace, write: Access<'_>);
    /// These are zeroed now, to be used again.
    fn cleans(&mut self, extents: &[Extent]);
}

/// One life of the node.
pub(super) type NodeRun = SteppedNode<SimStore>;

/// A connection that is not fenced yet.
pub(super) struct SimulatedPeer {
    pub(super) peer: PeerId,
    pub(super) host: usize,
    pub(super) end: Arc<SimEndpoint>,
    /// The node wants it to end, or noticed that it has.
    pub(super) ends: bool,
}

/// Everything that the hosts share.
pub(super) struct SimulatedPool {
    pub(super) sim: Sim,
    pub(super) pace: Pace,
    /// Handlers take leases.
    leases: bool,
    /// `None` while the node is dead.
    pub(super) node: Mutex<Option<Arc<NodeRun>>>,
    pub(super) visits: Mutex<Vec<SimulatedPeer>>,
    pub(super) watcher: Mutex<Option<Arc<Mutex<dyn Watch>>>>,
    next: Mutex<u64>,
}

impl SimulatedPool {
    pub(super) fn new(sim: Sim, pace: Pace, leases: bool) -> Self {
        Self {
            sim,
            pace,
            leases,
            node: Mutex::default(),
            visits: Mutex::default(),
            watcher: Mutex::default(),
            next: Mutex::default(),
        }
    }

    /// A message of a handler reaches the node.
    fn hears(&self, peer: PeerId, message: &[u8], node: &NodeRun) {
        node.peer_handler().message(peer, message);
        if let Some(watcher) = &*self.watcher.lock() {
            node.look(|namespace| watcher.lock().changed(namespace));
        }
    }

    pub(super) fn node(&self) -> Option<Arc<NodeRun>> {
        self.node.lock().clone()
    }

    /// The node ends a connection, or hears that it has ended, when it gets to it.
    fn ends(&self, peer: PeerId) {
        let mut visits = self.visits.lock();
        let visit = visits.iter_mut().find(|visit| visit.peer == peer);
        visit.into_iter().for_each(|visit| visit.ends = true);
    }
}

/// A host's way to the node.
pub(super) struct Way {
    pub(super) place: Arc<SimulatedPool>,
    pub(super) host: usize,
    /// Pollers of new links.
    pub(super) pollers: Arc<Mutex<Vec<Poller>>>,
}

impl Connect for Way {
    fn label(&self) -> String {
        "sim:1".into()
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.place.sim.clock()
    }

    fn takes_leases(&self) -> bool {
        self.place.leases
    }

    fn start(&self, poller: Poller) -> io::Result<()> {
        self.pollers.lock().push(poller);
        Ok(())
    }

    fn connect(&self, _: &BufferPool) -> Result<(Arc<dyn Endpoint>, String), ReachError> {
        let node = self.place.node().ok_or_else(nobody_answers)?;
        let peer = {
            let mut next = self.place.next.lock();
            *next += 1;
            PeerId(*next)
        };
        let at_end = AtEnd(Arc::downgrade(&self.place), peer);
        let peer_handler = Arc::downgrade(&node);
        let hears = move |message: &[u8]| {
            if let (Some(node), Some(place)) = (peer_handler.upgrade(), at_end.0.upgrade()) {
                place.hears(peer, message, &node);
            }
            Vec::new()
        };
        let sim = &self.place.sim;
        let end = sim.endpoint_that_speaks(NEWEST, self.place.pace, Box::new(hears));
        self.place.visits.lock().push(SimulatedPeer {
            peer,
            host: self.host,
            end: end.clone(),
            ends: false,
        });
        node.peer_handler()
            .arrived(Arc::new(SimulatedConnect::new(&self.place, peer, &end)));
        Ok((end, "sim".into()))
    }
}

/// Tells the node that a connection is over.
struct AtEnd(Weak<SimulatedPool>, PeerId);

impl Drop for AtEnd {
    fn drop(&mut self) {
        if let Some(place) = self.0.upgrade() {
            place.ends(self.1);
        }
    }
}

/// The node's hold of a connection.
struct SimulatedConnect {
    identity: Identity,
    end: Weak<SimEndpoint>,
    place: Weak<SimulatedPool>,
    closed: OnceLock<()>,
}

impl SimulatedConnect {
    fn new(place: &Arc<SimulatedPool>, id: PeerId, end: &Arc<SimEndpoint>) -> Self {
        Self {
            identity: Identity {
                id,
                key: KeyId([0; 8]),
                host: "simulated".into(),
                fabric: FabricKind::Sim,
                pid: None,
                negotiated: NEWEST,
            },
            end: Arc::downgrade(end),
            place: Arc::downgrade(place),
            closed: OnceLock::new(),
        }
    }
}

impl Peer for SimulatedConnect {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn send(&self, message: &[u8]) -> Result<(), FabricError> {
        let end = self.end.upgrade().filter(|_| self.closed.get().is_none());
        let end = end.ok_or_else(|| FabricError::Disconnected("simulated".into()))?;
        end.deliver(message.to_vec());
        Ok(())
    }

    fn close(&self) {
        let _first = self.closed.set(());
        if let Some(place) = self.place.upgrade() {
            place.ends(self.identity.id);
        }
    }
}
