//! Orders of the namespace to the nodes of its pool, and what becomes of an answer that depends on them.

use super::service::{Service, ServiceState};
use rdmafs_meta::error::MetaError;
use rdmafs_meta::id::NodeId;
use rdmafs_meta::namespace::{Order, Output};

impl Service {
    /// Carries out what a step ordered: all that can be, before the answer. All orders are this node's own while a pool has one node; one to
    /// another node is refused by its extent.
    ///
    /// # Errors
    /// Of the first order that was not carried out, where the answer depends on them; it was logged in any case.
    pub(super) fn carry_out(&self, state: &ServiceState, output: &Output) -> Result<(), MetaError> {
        let mut all = Ok(());
        for (node, order) in &output.orders {
            all = all.and(self.order(state, *node, *order));
        }
        match output.after.orders {
            true => all,
            false => Ok(()),
        }
    }

    fn order(&self, state: &ServiceState, node: NodeId, order: Order) -> Result<(), MetaError> {
        let done = match order {
            Order::Grant {
                session,
                extent,
                write,
            } => match state.peer(session) {
                Some(peer) => self.arena.grant(peer, &extent, write),
                None => Ok(()),
            },
            Order::Revoke { session, extent } => match state.peer(session) {
                Some(peer) => self.arena.revoke(peer, &extent),
                None => Ok(()),
            },
            Order::Zero { extent } => self.arena.zero(&extent),
        };
        done.map_err(|error| {
            tracing::error!(%node, ?order, %error, "an order was not carried out");
            error.into()
        })
    }
}
