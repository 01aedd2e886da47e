//! A mount's place in the schedulers of the present links.

use crate::handler::client::{ClientSession, Flows};
use crate::handler::lock_order::Mutex;
use crate::handler::values::Connection;
use rdmafs_rdma::link::FlowCounters;
use rdmafs_rdma::qos::share::Share;
use std::sync::Arc;
use std::time::Duration;

/// A mount's flow on the link that its pool has now; a new link gets a new flow with the mount's share.
///
/// Lock order: `state` is a leaf of the handler; a link's own locks are taken under it.
pub(super) struct MountFlow {
    state: Mutex<OnLinks>,
}

struct OnLinks {
    share: Share,
    flows: Option<(Connection, Arc<Flows>)>,
    /// Traffic over links that are gone.
    past: FlowCounters,
}

impl MountFlow {
    /// A mount with this share, on no link yet.
    pub(super) fn new(share: Share) -> Self {
        let state = OnLinks {
            share,
            flows: None,
            past: FlowCounters::default(),
        };
        Self {
            state: Mutex::new(state),
        }
    }

    /// The share now.
    pub(super) fn share(&self) -> Share {
        self.state.lock().share
    }

    /// Changes it; queued work feels it at once.
    pub(super) fn set_share(&self, share: Share) {
        let mut state = self.state.lock();
        state.share = share;
        let flows = state.flows.as_ref().map(|(_, flows)| flows.clone());
        drop(state);
        if let Some(flows) = flows {
            flows.set_share(share);
        }
    }

    /// Leaves the links: the next flows are opened anew.
    pub(super) fn leave(&self) {
        let mut state = self.state.lock();
        if let Some((_, old)) = state.flows.take() {
            state.past = state.past.plus(old.counters());
        }
    }

    /// Link traffic since the mount was made.
    pub(super) fn traffic(&self) -> FlowCounters {
        let state = self.state.lock();
        let now = state.flows.as_ref().map(|(_, flows)| flows.counters());
        state.past.plus(now.unwrap_or_default())
    }

    /// The place on each of the session's links, taken with this time limit if need be.
    pub(super) fn flows(&self, session: &ClientSession, timeout: Duration) -> Arc<Flows> {
        let mut state = self.state.lock();
        if let Some((of, flows)) = &state.flows
            && *of == session.connection
        {
            return flows.clone();
        }
        let new = Arc::new(session.links.open_flows(state.share, timeout));
        let old = state.flows.replace((session.connection, new.clone()));
        if let Some((_, old)) = old {
            state.past = state.past.plus(old.counters());
        }
        new
    }
}
