//! The lines of a node's log that handlers can cause: the first few of a kind in ten seconds, then how many more.

use parking_lot::Mutex;
use rdmafs_meta::id::{InodeId, SessionId};
use rdmafs_rdma::door::Identity;
use rdmafs_rdma::log_limit::{Held, LogLimit};
use std::time::Duration;

/// What handlers do that is worth a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
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
const DEEDS: usize = 6;

/// Who did it, and what is to be said about it.
#[derive(Debug)]
struct Line {
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
pub(super) struct Lines {
    /// Taken last; never held while something is logged.
    limits: Mutex<[(Deed, LogLimit<Line>); DEEDS]>,
}

impl Default for Lines {
    fn default() -> Self {
        use Deed::{Came, Fenced, Late, Left, Misbehaved, ShutOut};
        let limits = [Came, Left, Misbehaved, ShutOut, Fenced, Late].map(|deed| (deed, LogLimit::new(BURST)));
        Self {
            limits: Mutex::new(limits),
        }
    }
}

impl Lines {
    /// Logs it, now or as part of a count.
    pub(super) fn say(&self, now: Duration, deed: Deed, who: &Identity, (what, about): (String, About)) {
        let line = Line {
            peer: who.id.0,
            host: who.host.clone(),
            fabric: who.fabric.name(),
            about,
            what,
        };
        let said = {
            let mut limits = self.limits.lock();
            let limit = limits.iter_mut().find(|(other, _)| *other == deed);
            limit.and_then(|(_, limit)| limit.event(now, line))
        };
        if let Some(line) = said {
            line.log(deed);
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
            let Line { host, what, .. } = last;
            tracing::warn!(count, seconds, last_host = host, "more of this: {what}");
        }
    }
}

impl Line {
    fn log(self, deed: Deed) {
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
        if deed.is_ordinary() {
            tracing::info!(peer, host, fabric, session, ino, seconds, "{what}");
        } else {
            tracing::warn!(peer, host, fabric, session, ino, seconds, "{what}");
        }
    }
}

impl Deed {
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
    use rdmafs_rdma::door::PeerId;
    use rdmafs_rdma::fabric::FabricKind;
    use rdmafs_rdma::key::KeyId;

    #[test]
    fn each_deed_has_its_own_limit_and_all_are_counted() {
        let lines = Lines::default();
        let who = Identity {
            id: PeerId(1),
            key: KeyId([0; 8]),
            host: "host".into(),
            fabric: FabricKind::Tcp,
            pid: None,
        };
        let s = Duration::from_secs;
        let say = |deed| lines.say(s(1), deed, &who, ("what".into(), About::default()));
        (0..100).for_each(|_| say(Deed::Came));
        say(Deed::Fenced);
        let due = |deed| {
            let limits = lines.limits.lock();
            let limit = limits.iter().find(|(other, _)| *other == deed);
            limit.and_then(|(_, limit)| limit.due())
        };
        assert_eq!((due(Deed::Came), due(Deed::Fenced)), (Some(s(11)), None));
        lines.say_counts(s(11));
        assert_eq!(due(Deed::Came), None);
    }
}
