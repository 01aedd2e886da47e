//! The lines of a node's log that handlers can cause: the first few of a kind in ten seconds, then how many more.

use parking_lot::Mutex;
use rdmafs_meta::id::{InodeId, SessionId};
use rdmafs_rdma::log_limit::{Held, LogLimit};
use rdmafs_rdma::server::Identity;
use std::time::Duration;

/// What handlers do that is worth a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PeerEvent {
    /// Connected.
    Came,
    /// Its connection is gone, and no work of it runs.
    Left,
    /// Sent what is no call, or began no session.
    Misbehaved,
    /// Its session is ended by the node.
    ShutOut,
    /// Nothing of its session runs any more.
    Fenced,
    /// It has not acknowledged a recall for long.
    Late,
}

/// Lines of a kind in a window that are said at once: a rack of handlers may come at the same time.
const BURST: u32 = 16;
const EVENTS: usize = 6;

/// Who did it, and what is to be said about it.
#[derive(Debug)]
struct Entry {
    peer: u64,
    host: String,
    fabric: &'static str,
    about: About,
    what: String,
}

/// What more there is to say.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct About {
    pub(super) session: Option<SessionId>,
    pub(super) ino: Option<InodeId>,
    pub(super) waited: Option<Duration>,
}

impl From<SessionId> for About {
    fn from(session: SessionId) -> Self {
        Self {
            session: Some(session),
            ..Self::default()
        }
    }
}

/// The limits of all of them.
#[derive(Debug)]
pub(super) struct PeerLog {
    /// Taken last; never held while something is logged.
    limits: Mutex<[(PeerEvent, LogLimit<Entry>); EVENTS]>,
}

impl Default for PeerLog {
    fn default() -> Self {
        use PeerEvent::{Came, Fenced, Late, Left, Misbehaved, ShutOut};
        let limits =
            [Came, Left, Misbehaved, ShutOut, Fenced, Late].map(|event| (event, LogLimit::new(BURST)));
        Self {
            limits: Mutex::new(limits),
        }
    }
}

impl PeerLog {
    /// Logs it, now or as part of a count.
    pub(super) fn say(
        &self,
        now: Duration,
        event: PeerEvent,
        who: &Identity,
        (what, about): (String, About),
    ) {
        let line = Entry {
            peer: who.id.0,
            host: who.host.clone(),
            fabric: who.fabric.name(),
            about,
            what,
        };
        let said = {
            let mut limits = self.limits.lock();
            let limit = limits.iter_mut().find(|(other, _)| *other == event);
            limit.and_then(|(_, limit)| limit.event(now, line))
        };
        if let Some(line) = said {
            line.log(event);
        }
    }

    /// Says the counts that are due.
    pub(super) fn say_counts(&self, now: Duration) {
        let held: Vec<_> = {
            let mut limits = self.limits.lock();
            let all = limits.iter_mut();
            all.filter_map(|(_, limit)| limit.held(now)).collect()
        };
        for Held { count, span, last } in held {
            let seconds = span.as_secs();
            let Entry { host, what, .. } = last;
            tracing::warn!(count, seconds, last_host = host, "more of this: {what}");
        }
    }
}

impl Entry {
    fn log(self, event: PeerEvent) {
        let Self {
            peer,
            host,
            fabric,
            about,
            what,
        } = self;
        let session = about.session.map(|session| session.0);
        let ino = about.ino.map(|ino| ino.0);
        let seconds = about.waited.map(|waited| waited.as_secs());
        if event.is_ordinary() {
            tracing::info!(peer, host, fabric, session, ino, seconds, "{what}");
        } else {
            tracing::warn!(peer, host, fabric, session, ino, seconds, "{what}");
        }
    }
}

impl PeerEvent {
    fn is_ordinary(self) -> bool {
        match self {
            Self::Came | Self::Left | Self::Fenced => true,
            Self::Misbehaved | Self::ShutOut | Self::Late => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdmafs_rdma::fabric::FabricKind;
    use rdmafs_rdma::key::KeyId;
    use rdmafs_rdma::server::PeerId;

    #[test]
    fn each_event_has_its_own_limit_and_all_are_counted() {
        let peer_log = PeerLog::default();
        let who = Identity {
            id: PeerId(1),
            key: KeyId([0; 8]),
            host: "host".into(),
            fabric: FabricKind::Tcp,
            pid: None,
            negotiated: rdmafs_rdma::protocol::Negotiated::FIRST,
        };
        let s = Duration::from_secs;
        let say = |event| peer_log.say(s(1), event, &who, ("what".into(), About::default()));
        (0..100).for_each(|_| say(PeerEvent::Came));
        say(PeerEvent::Fenced);
        let due = |event| {
            let limits = peer_log.limits.lock();
            let limit = limits.iter().find(|(other, _)| *other == event);
            limit.and_then(|(_, limit)| limit.due())
        };
        assert_eq!(
            (due(PeerEvent::Came), due(PeerEvent::Fenced)),
            (Some(s(11)), None)
        );
        peer_log.say_counts(s(11));
        assert_eq!(due(PeerEvent::Came), None);
    }
}
