//! What the servers ask of the service.

use super::framing;
use super::peer_log::{About, PeerEvent};
use super::service::Service;
use rdmafs_rdma::fabric::Verb;
use rdmafs_rdma::server::{Peer, PeerHandler, PeerId};
use std::ops::Range;
use std::sync::Arc;

impl PeerHandler for Service {
    fn arrived(&self, peer: Arc<dyn Peer>) {
        let came = ("a handler came".into(), About::default());
        self.say(PeerEvent::Came, peer.identity(), came);
        Service::arrived(self, peer);
    }

    fn message(&self, peer: PeerId, message: &[u8]) {
        let Some(spoken) = self.spoken_with(peer) else {
            return; // It left.
        };
        match framing::call(message, spoken) {
            Some((id, call)) => self.call(peer, id, call),
            None => self.expel(peer, "a handler sent what is no call: its connection is closed"),
        }
    }

    fn may(&self, peer: PeerId, verb: Verb, range: Range<u64>) -> bool {
        self.grants().may(peer, verb, &range)
    }

    fn left(&self, peer: PeerId) {
        Service::left(self, peer);
    }
}
