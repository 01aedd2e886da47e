//! What the doors ask of the service.

use super::framing;
use super::service::Service;
use rdmafs_rdma::door::{Desk, Peer, PeerId};
use rdmafs_rdma::fabric::Verb;
use std::ops::Range;
use std::sync::Arc;

impl Desk for Service {
    fn arrived(&self, peer: Arc<dyn Peer>) {
        let who = peer.identity();
        tracing::info!(
            peer = who.id.0,
            host = who.host,
            fabric = who.fabric.name(),
            "a handler came"
        );
        Service::arrived(self, peer);
    }

    fn message(&self, peer: PeerId, message: &[u8]) {
        let Some((id, call)) = framing::call(message) else {
            tracing::warn!(
                peer = peer.0,
                "a handler sent what is no call: its connection is closed"
            );
            self.expel(peer);
            return;
        };
        self.call(peer, id, call);
    }

    fn may(&self, peer: PeerId, verb: Verb, range: Range<u64>) -> bool {
        self.grants().may(peer, verb, &range)
    }

    fn left(&self, peer: PeerId) {
        tracing::info!(peer = peer.0, "a handler left");
        Service::left(self, peer);
    }
}
