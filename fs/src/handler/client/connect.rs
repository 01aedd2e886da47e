//! Reaching a pool's node: which fabric, and why not another.

use crate::options::{MountOptions, Source};
use crate::process::warn_without_roce_rule;
use rdmafs_rdma::buffer::BufferPool;
use rdmafs_rdma::clock::{BootClock, Clock, SystemClock};
use rdmafs_rdma::fabric::{ClientOwner, ConnectError, Endpoint, Fabric, FabricKind, Target, VerbsOptions};
use rdmafs_rdma::key::Key;
use rdmafs_rdma::link::Poller;
use rdmafs_rdma::shm::Shm;
use rdmafs_rdma::tcp::Tcp;
use rdmafs_rdma::verbs::Verbs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// Queue pairs of a link (K).
const QUEUES: usize = 2;

/// No connection to a pool's nodes, with the remedy.
#[derive(Debug, Error)]
pub enum ReachError {
    /// The source is of another form.
    #[error("the source names no node: write NODE[:PORT]:/POOL")]
    NoNode,
    /// The fabric that was asked for does not reach it.
    #[error("fabric={}: {source}", .kind.name())]
    Fabric {
        /// What was asked for.
        kind: FabricKind,
        /// Why it does not.
        source: ConnectError,
    },
    /// `sim` was asked for.
    #[error("fabric=sim: only for tests: use fabric=auto")]
    TestsOnly,
    /// No fabric reaches it; this is why tcp does not.
    #[error(transparent)]
    Every(ConnectError),
}

/// Sets connections of one pool up.
pub(in crate::handler) trait Connect: Send + Sync {
    /// The node, as the user wrote it, with its port.
    fn label(&self) -> String;

    /// What all time limits of the pool are measured by.
    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(SystemClock::new())
    }

    /// What the handler's own leases are measured by: a clock that goes on while the host sleeps, as the service's does.
    fn lease_clock(&self) -> Arc<dyn Clock> {
        self.clock()
    }

    /// Whether sessions take leases of attributes and names where the node gives them. Tests say no, to be what builds without leases were.
    fn takes_leases(&self) -> bool {
        true
    }

    /// Lets the poller of a new link work until the link is over.
    ///
    /// # Errors
    /// The system has no thread to give.
    fn start(&self, poller: Poller) -> std::io::Result<()> {
        let thread = std::thread::Builder::new().name("link-poller".into());
        thread.spawn(move || poller.run()).map(drop)
    }

    /// Connects. Blocking, with time limits. Gives the endpoint, and which fabric it is and why.
    ///
    /// # Errors
    /// No node can be reached, and what to do.
    fn connect(&self, buffers: &BufferPool) -> Result<(Arc<dyn Endpoint>, String), ReachError>;
}

/// The nodes of a mount's source.
pub(in crate::handler) struct Nodes {
    pub(in crate::handler) source: Source,
    pub(in crate::handler) fabric: Option<FabricKind>,
    pub(in crate::handler) crypt: rdmafs_rdma::fabric::Crypt,
    pub(in crate::handler) verbs: VerbsOptions,
    /// Of all connections of the pool: each replaces the one before.
    pub(in crate::handler) client_owner: ClientOwner,
    pub(in crate::handler) key: Key,
    pub(in crate::handler) host: String,
    pub(in crate::handler) run_dir: PathBuf,
    pub(in crate::handler) timeout: Duration,
}

impl Nodes {
    /// # Errors
    /// The kernel gave no random bytes.
    pub(in crate::handler) fn new(
        source: &Source,
        options: &MountOptions,
        key: Key,
        run_dir: PathBuf,
    ) -> io::Result<Self> {
        let client_owner = ClientOwner::random()?;
        Ok(Self {
            source: source.clone(),
            fabric: options.fabric,
            crypt: options.crypt,
            verbs: options.verbs.clone(),
            client_owner,
            key,
            host: host_name(),
            run_dir,
            timeout: Duration::from_millis(options.timeout_ms),
        })
    }

    fn target(&self, node: usize, buffers: &BufferPool) -> Target {
        let address = &self.source.nodes[node];
        Target {
            host: address.host.clone(),
            port: address.port,
            pool: self.source.pool.clone(),
            key: self.key.clone(),
            host_id: self.host.clone(),
            step_timeout: self.timeout,
            queues: QUEUES,
            crypt: self.crypt,
            client_owner: self.client_owner,
            verbs: self.verbs.clone(),
            run_dir: self.run_dir.clone(),
            buffers: buffers.clone(),
            protocol: crate::protocol::OURS,
        }
    }
}

impl Connect for Nodes {
    fn label(&self) -> String {
        let label = |node: &crate::options::NodeAddress| {
            if node.host.contains(':') {
                format!("[{}]:{}", node.host, node.port)
            } else {
                format!("{}:{}", node.host, node.port)
            }
        };
        self.source.nodes.first().map_or_else(String::new, label)
    }

    fn lease_clock(&self) -> Arc<dyn Clock> {
        Arc::new(BootClock)
    }

    fn connect(&self, buffers: &BufferPool) -> Result<(Arc<dyn Endpoint>, String), ReachError> {
        let mut failure = ReachError::NoNode;
        for node in 0..self.source.nodes.len() {
            match choose(self.fabric, &self.target(node, buffers)) {
                Ok(connected) => return Ok(connected),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}

/// Connects by the fabric asked for, or by the first that can.
fn choose(wanted: Option<FabricKind>, target: &Target) -> Result<(Arc<dyn Endpoint>, String), ReachError> {
    if let Some(kind) = wanted {
        let endpoint = by(kind, target).ok_or(ReachError::TestsOnly)?;
        let endpoint = endpoint.map_err(|source| ReachError::Fabric { kind, source })?;
        return Ok((endpoint, kind.name().to_owned()));
    }
    let mut passed_over = String::new();
    let mut last = ReachError::NoNode;
    for kind in [FabricKind::Shm, FabricKind::Verbs, FabricKind::Tcp] {
        match by(kind, target) {
            Some(Ok(endpoint)) => return Ok((endpoint, format!("{}{passed_over}", kind.name()))),
            Some(Err(error)) => {
                passed_over.push_str(&format!("; no {}: {error}", kind.name()));
                // tcp reaches every node that can be reached: its reason, which is the last, is the reason.
                last = ReachError::Every(error);
            }
            None => {}
        }
    }
    Err(last)
}

/// `None` for the fabric of tests.
fn by(kind: FabricKind, target: &Target) -> Option<Result<Arc<dyn Endpoint>, ConnectError>> {
    Some(match kind {
        FabricKind::Shm => Shm.connect(target),
        FabricKind::Tcp => Tcp.connect(target),
        FabricKind::Verbs => Verbs.connect(target).inspect(|_| warn_without_roce_rule()),
        FabricKind::Sim => return None,
    })
}

/// This host, as nodes show it.
pub(in crate::handler) fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() {
        "unknown".into()
    } else {
        name.to_owned()
    }
}
