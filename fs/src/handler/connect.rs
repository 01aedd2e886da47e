//! Reaching a pool's node: which fabric, and why not another.

use crate::options::{MountOptions, Source};
use crate::process::warn_without_roce_rule;
use rdmafs_rdma::buffer::BufferPool;
use rdmafs_rdma::clock::{Clock, SystemClock};
use rdmafs_rdma::fabric::{Endpoint, Fabric, FabricKind, Lineage, Target, VerbsOptions};
use rdmafs_rdma::key::Key;
use rdmafs_rdma::link::Poller;
use rdmafs_rdma::shm::Shm;
use rdmafs_rdma::tcp::Tcp;
use rdmafs_rdma::verbs::Verbs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Queue pairs of a link (K).
const QUEUES: usize = 2;

/// Sets connections of one pool up.
pub(super) trait Connect: Send + Sync {
    /// The node, as the user wrote it, with its port.
    fn label(&self) -> String;

    /// What all time limits of the pool are measured by.
    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(SystemClock::new())
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
    /// One line with the remedy.
    fn connect(&self, buffers: &BufferPool) -> Result<(Arc<dyn Endpoint>, String), String>;
}

/// The nodes of a mount's source.
pub(super) struct Nodes {
    pub(super) source: Source,
    pub(super) fabric: Option<FabricKind>,
    pub(super) crypt: rdmafs_rdma::fabric::Crypt,
    pub(super) verbs: VerbsOptions,
    /// Of all connections of the pool: each replaces the one before.
    pub(super) lineage: Lineage,
    pub(super) key: Key,
    pub(super) host: String,
    pub(super) run_dir: PathBuf,
    pub(super) timeout: Duration,
}

impl Nodes {
    /// # Errors
    /// The kernel gave no random bytes.
    pub(super) fn new(
        source: &Source,
        options: &MountOptions,
        key: Key,
        run_dir: PathBuf,
    ) -> Result<Self, String> {
        let lineage = Lineage::random().map_err(|error| format!("no random bytes: {error}"))?;
        Ok(Self {
            source: source.clone(),
            fabric: options.fabric,
            crypt: options.crypt,
            verbs: options.verbs.clone(),
            lineage,
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
            lineage: self.lineage,
            verbs: self.verbs.clone(),
            run_dir: self.run_dir.clone(),
            buffers: buffers.clone(),
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

    fn connect(&self, buffers: &BufferPool) -> Result<(Arc<dyn Endpoint>, String), String> {
        let mut failure = "the source names no node: write NODE[:PORT]:/POOL".to_owned();
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
fn choose(wanted: Option<FabricKind>, target: &Target) -> Result<(Arc<dyn Endpoint>, String), String> {
    if let Some(kind) = wanted {
        let endpoint = by(kind, target).map_err(|error| format!("fabric={}: {error}", kind.name()))?;
        return Ok((endpoint, kind.name().to_owned()));
    }
    let mut passed_over = String::new();
    let mut last = String::new();
    for kind in [FabricKind::Shm, FabricKind::Verbs, FabricKind::Tcp] {
        match by(kind, target) {
            Ok(endpoint) => return Ok((endpoint, format!("{}{passed_over}", kind.name()))),
            Err(error) => {
                passed_over.push_str(&format!("; no {}: {error}", kind.name()));
                last = error;
            }
        }
    }
    // tcp reaches every node that can be reached: its reason is the reason.
    Err(last)
}

fn by(kind: FabricKind, target: &Target) -> Result<Arc<dyn Endpoint>, String> {
    let connected = match kind {
        FabricKind::Shm => Shm.connect(target),
        FabricKind::Tcp => Tcp.connect(target),
        FabricKind::Verbs => Verbs.connect(target).inspect(|_| warn_without_roce_rule()),
        FabricKind::Sim => return Err("only for tests: use fabric=auto".into()),
    };
    connected.map_err(|error| error.to_string())
}

/// This host, as nodes show it.
pub(super) fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() {
        "unknown".into()
    } else {
        name.to_owned()
    }
}
