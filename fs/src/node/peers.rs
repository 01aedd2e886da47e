//! Who is at the node, for an operator who asks, and whether it may end without asking them.

use super::service::Service;
use crate::control::NodeSession;
use rdmafs_meta::namespace::Locked;
use std::time::Duration;

/// A session whose handler is away, and may come back until its lease ends.
const AWAY: &str = "(away)";

impl Service {
    /// The handlers that are connected, in the order in which they came.
    pub(super) fn sessions(&self) -> Vec<NodeSession> {
        let now = self.time().monotonic;
        let state = self.state.lock();
        let mut peers: Vec<_> = state.peers.iter().collect();
        peers.sort_unstable_by_key(|(id, _)| id.0);
        let observed = peers.into_iter().map(|(_, entry)| {
            let who = entry.peer.identity();
            NodeSession {
                host: who.host.clone(),
                fabric: who.fabric.name().to_owned(),
                session: entry.session.map(|session| session.0),
                pid: who.pid,
                silent_ms: millis(now.saturating_sub(entry.since)),
                protocol: who.negotiated.version,
                committed: entry.drained,
            }
        });
        observed.collect()
    }

    /// At most `most` locks and waiters with their hosts, and how many more there are.
    pub(super) fn locked(&self, most: usize) -> (Vec<(String, Locked)>, usize) {
        let state = self.state.lock();
        let (locked, more) = state.namespace.locked(most);
        let with_host = locked.into_iter().map(|locked| {
            let entry = state.entry(locked.session);
            let host = entry.map_or(AWAY.to_owned(), |entry| entry.peer.identity().host.clone());
            (host, locked)
        });
        (with_host.collect(), more)
    }

    /// Lets no session begin any more, unless the pool is in use: somebody is connected, or something would be lost that lies in it.
    /// `yes`: all the same. `kept`: names outlive the node. Says whether nobody comes in any more.
    pub(super) fn close(&self, yes: bool, kept: bool) -> bool {
        let mut state = self.state.lock();
        let space = state.namespace.space();
        let bytes = space.total > space.free;
        let names = space.inodes > 1 && !kept;
        let sessions = state.peers.values().any(|entry| entry.session.is_some());
        if !yes && (bytes || names || sessions) {
            return false;
        }
        state.draining = true;
        true
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
