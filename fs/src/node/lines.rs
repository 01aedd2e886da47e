//! The lines of a node's log that handlers can cause: the first few of a kind in ten seconds, then how many more.

use parking_lot::Mutex;
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
    what: String,
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
    pub(super) fn say(&self, now: Duration, deed: Deed, who: &Identity, what: String) {
        let line = Line {
            peer: who.id.0,
            host: who.host.clone(),
            fabric: who.fabric.name(),
            what,
        };
        let said = {
            let mut limits = self.limits.lock();
            let limit = limits.iter_mut().find(|(other, _)| *other == deed);
            limit.and_then(|(_, limit)| limit.event(now, line))
        };
        if let Some(Line {
            peer,
            host,
            fabric,
            what,
        }) = said
        {
            if deed.is_ordinary() {
                tracing::info!(peer, host, fabric, "{what}");
            } else {
                tracing::warn!(peer, host, fabric, "{what}");
            }
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

impl Deed {
    fn is_ordinary(self) -> bool {
        match self {
            Self::Came | Self::Left | Self::Fenced => true,
            Self::Misbehaved | Self::ShutOut | Self::Late => false,
        }
    }
}
