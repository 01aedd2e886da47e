//! Doing again, on the connection that replaces it, what a lost connection left undone.
//!
//! Only on verbs: its endpoint destroys its queue pairs before it says that work has failed, and the node destroys its own
//! before it accepts new ones of the same lineage, so nothing of the first attempt can arrive after the second. On tcp the
//! node may still be reading what was sent.

use super::pool::Pool;
use super::session::Session;
use crate::errno::Error;
use rdmafs_rdma::clock::Clock;
use rdmafs_rdma::fabric::{FabricError, FabricKind};
use rdmafs_rdma::link::LinkError;
use std::time::Duration;

/// An operation that may be done again while nine tenths of the pool's timeout are not over, counted from its start: the rest
/// is for its answer to get to the program in time.
pub(super) struct Again<'a> {
    pool: &'a Pool,
    begun: Duration,
}

impl<'a> Again<'a> {
    pub(super) fn new(pool: &'a Pool) -> Self {
        Self {
            pool,
            begun: pool.clock.now(),
        }
    }

    /// Whether the operation, which failed in `session` with `error`, is to be done again: then there is a new session. Waits
    /// for that.
    pub(super) async fn after(&self, session: &Session, error: &Error) -> bool {
        if !is_lost(session, error) {
            return false;
        }
        // The pool may not have heard of it yet.
        self.pool.lost(session.id, &error.to_string());
        let patience = self.pool.timeout.saturating_mul(9) / 10;
        let left = (self.begun + patience).saturating_sub(self.pool.clock.now());
        let next = Box::pin(self.pool.session());
        matches!(self.pool.executor.within(left, next).await, Some(Ok(_)))
    }
}

/// Whether the connection went away under the work, and nothing of the work can still arrive.
fn is_lost(session: &Session, error: &Error) -> bool {
    let gone = matches!(
        error,
        Error::Link(LinkError::Fabric(FabricError::Disconnected(_)))
    );
    gone && session.link.facts().kind == FabricKind::Verbs
}
