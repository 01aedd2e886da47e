//! The data links of a session by the node that each leads to, and the flows of a mount on them.
//!
//! A transfer takes link and flow of the node that has its bytes. Where there is no link to that node it fails: an offset in one arena
//! means nothing in another. Nodes are few, so they are looked through one after the other; looking takes no lock and no memory.

use rdmafs_meta::id::NodeId;
use rdmafs_rdma::link::{Flow, FlowCounters, Link};
use rdmafs_rdma::qos::share::Share;
use std::sync::Arc;
use std::time::Duration;

/// The data links of a session: one to each node that it reaches.
#[derive(Debug)]
pub(in crate::handler) struct Links(ByNode<Arc<Link>>);

/// The flows of a mount: one on each link of a session.
#[derive(Debug)]
pub(in crate::handler) struct Flows(ByNode<Flow>);

/// At most one thing for each node.
#[derive(Debug)]
struct ByNode<T>(Vec<(NodeId, T)>);

impl Links {
    /// These links lead to these nodes, each to another one.
    pub(super) fn new(links: impl IntoIterator<Item = (NodeId, Arc<Link>)>) -> Self {
        Self(ByNode(links.into_iter().collect()))
    }

    /// The link to a node, if there is one.
    pub(in crate::handler) fn to(&self, node: NodeId) -> Option<&Arc<Link>> {
        self.0.find(node)
    }

    /// A place for a mount on each of them.
    pub(in crate::handler) fn open_flows(&self, share: Share, timeout: Duration) -> Flows {
        let links = self.0.0.iter();
        let flows = links.map(|(node, link)| (*node, link.open_flow(share, timeout)));
        Flows(ByNode(flows.collect()))
    }
}

impl Flows {
    /// The flow on the link to a node, if there is one.
    pub(in crate::handler) fn to(&self, node: NodeId) -> Option<&Flow> {
        self.0.find(node)
    }

    /// Changes the share on each link; queued work feels it at once.
    pub(in crate::handler) fn set_share(&self, share: Share) {
        for (_, flow) in &self.0.0 {
            flow.set_share(share);
        }
    }

    /// Traffic over all links.
    pub(in crate::handler) fn counters(&self) -> FlowCounters {
        let counters = self.0.0.iter().map(|(_, flow)| flow.counters());
        counters.fold(FlowCounters::default(), FlowCounters::plus)
    }
}

impl<T> ByNode<T> {
    fn find(&self, node: NodeId) -> Option<&T> {
        let found = self.0.iter().find(|(of, _)| *of == node);
        found.map(|(_, found)| found)
    }
}
