//! How handlers behave, what the node does about it, and what it says.

use super::peer_log::{About, PeerEvent};
use super::recalls::Late;
use super::service::{PeerEntry, Service, ServiceState};
use rdmafs_meta::id::{RecallId, SessionId};
use rdmafs_rdma::server::{Identity, PeerId};
use std::sync::Arc;

impl Service {
    /// Ends the connection of a peer that breaks the protocol; `what` it did, for the log.
    pub(super) fn expel(&self, peer: PeerId, what: &'static str) {
        let mut state = self.state.lock();
        let Some(entry) = state.peers.get_mut(&peer) else {
            return;
        };
        entry.shut_out = Some("it broke the protocol");
        let peer = Arc::clone(&entry.peer);
        drop(state);
        self.say(
            PeerEvent::Misbehaved,
            peer.identity(),
            (what.into(), About::default()),
        );
        peer.close();
    }

    /// Logs what a handler did, now or as part of a count.
    pub(super) fn say(&self, event: PeerEvent, who: &Identity, what: (String, About)) {
        self.peer_log.say((self.now)().monotonic, event, who, what);
    }

    /// Peers that begin no session have no lease that could end: these have had as long as a lease to begin one.
    pub(super) fn idle(&self, state: &ServiceState) -> Vec<PeerId> {
        let now = self.time().monotonic;
        let idle =
            |entry: &PeerEntry| entry.session.is_none() && now.saturating_sub(entry.since) > self.lease;
        let peers = state.peers.iter();
        peers
            .filter(|(_, entry)| entry.shut_out.is_none() && idle(entry))
            .map(|(id, _)| *id)
            .collect()
    }

    pub(super) fn acknowledged(&self, state: &mut ServiceState, session: SessionId, recall: RecallId) {
        if let Some(took) = state.recalls.answered(session, recall, self.time().monotonic) {
            tracing::debug!(
                session = session.0,
                recall = recall.0,
                ?took,
                "recall acknowledged"
            );
        }
    }

    /// Names those who have kept others waiting for a third of a lease.
    pub(super) fn say_late(&self, state: &mut ServiceState) {
        let (now, patience) = (self.time().monotonic, self.lease / 3);
        let mut late = state.recalls.late(now, patience);
        late.extend(state.lease_recalls.late(now, patience));
        for Late { session, ino, waited } in late {
            if let Some(entry) = state.entry(session) {
                let about = About {
                    session: Some(session),
                    ino: Some(ino),
                    waited: Some(waited),
                };
                let who = entry.peer.identity();
                self.say(
                    PeerEvent::Late,
                    who,
                    ("a session keeps a recall waiting".into(), about),
                );
            }
        }
    }
}
