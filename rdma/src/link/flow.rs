//! A mount's place on a link.

use super::core::Core;
use super::counters::{Counters, FlowCounters};
use crate::qos::scheduler::FlowId;
use crate::qos::share::Share;
use std::sync::Arc;
use std::time::Duration;

/// A mount's place in the scheduler of a link; dropping it gives the place back: what it had queued and not
/// posted fails with [`Flushed`](crate::fabric::FabricError::Flushed).
pub struct Flow {
    pub(super) core: Arc<Core>,
    pub(super) id: FlowId,
    /// Time limit of the flow's transfers.
    pub(super) timeout: Duration,
    pub(super) counters: Arc<Counters>,
}

impl Flow {
    /// Changes the share; queued work feels it at once.
    pub fn set_share(&self, share: Share) {
        self.core.set_share(self.id, share);
    }

    /// Counters.
    #[must_use]
    pub fn counters(&self) -> FlowCounters {
        self.counters.read()
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.core.close_flow(self.id);
    }
}

impl std::fmt::Debug for Flow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Flow").field(&self.counters()).finish()
    }
}
