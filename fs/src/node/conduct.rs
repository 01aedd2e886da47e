//! How handlers behave, what the node does about it, and what it says.

use super::lines::Deed;
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
        self.say(Deed::Misbehaved, peer.identity(), what.into());
        peer.close();
    }

    /// Logs what a handler did, now or as part of a count.
    pub(super) fn say(&self, deed: Deed, who: &Identity, what: String) {
        self.lines.say((self.now)().monotonic, deed, who, what);
    }

    /// A peer that begins no session has no lease that could end: it has as long as a lease to begin one.
    pub(super) fn expel_idle(&self) {
        let now = self.time().monotonic;
        let idle = |guest: &Guest| guest.session.is_none() && now.saturating_sub(guest.since) > self.lease;
        let state = self.state.lock();
        let guests = state.guests.iter().filter(|(_, guest)| guest.shut_out.is_none());
        let idle: Vec<_> = guests
            .filter(|(_, guest)| idle(guest))
            .map(|(id, _)| *id)
            .collect();
        drop(state);
        for peer in idle {
            self.expel(peer, "a handler began no session: its connection is closed");
        }
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
                let (id, seconds) = (session.0, waited.as_secs());
                let what = format!("session {id} has not given up inode {ino} for {seconds} s");
                self.say(Deed::Late, guest.peer.identity(), what);
            }
        }
    }
}
