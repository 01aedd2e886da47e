//! How handlers behave, what the node does about it, and what it says.

use super::lines::{About, Deed};
use super::recalls::Late;
use super::service::{Guest, Service, State};
use rdmafs_meta::id::{RecallId, SessionId};
use rdmafs_rdma::door::{Identity, PeerId};
use std::sync::Arc;

impl Service {
    /// Ends the connection of a peer that breaks the protocol; `what` it did, for the log.
    pub(super) fn expel(&self, peer: PeerId, what: &'static str) {
        let mut state = self.state.lock();
        let Some(guest) = state.guests.get_mut(&peer) else {
            return;
        };
        guest.shut_out = Some("it broke the protocol");
        let peer = Arc::clone(&guest.peer);
        drop(state);
        self.say(Deed::Misbehaved, peer.identity(), (what.into(), About::default()));
        peer.close();
    }

    /// Logs what a handler did, now or as part of a count.
    pub(super) fn say(&self, deed: Deed, who: &Identity, what: (String, About)) {
        self.lines.say((self.now)().monotonic, deed, who, what);
    }

    /// Peers that begin no session have no lease that could end: these have had as long as a lease to begin one.
    pub(super) fn idle(&self, state: &State) -> Vec<PeerId> {
        let now = self.time().monotonic;
        let idle = |guest: &Guest| guest.session.is_none() && now.saturating_sub(guest.since) > self.lease;
        let guests = state.guests.iter();
        guests
            .filter(|(_, guest)| guest.shut_out.is_none() && idle(guest))
            .map(|(id, _)| *id)
            .collect()
    }

    pub(super) fn acknowledged(&self, state: &mut State, session: SessionId, recall: RecallId) {
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
    pub(super) fn say_late(&self, state: &mut State) {
        for Late { session, ino, waited } in state.recalls.late(self.time().monotonic, self.lease / 3) {
            if let Some(guest) = state.guest(session) {
                let about = About {
                    session: Some(session),
                    ino: Some(ino),
                    waited: Some(waited),
                };
                let who = guest.peer.identity();
                self.say(
                    Deed::Late,
                    who,
                    ("a session keeps a recall waiting".into(), about),
                );
            }
        }
    }
}
