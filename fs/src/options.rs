//! What a mount was asked to be, parsed.

use rdmafs_rdma::fabric::{Crypt, FabricKind};
use rdmafs_rdma::qos::share::Share;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// `NODE[:PORT][,NODE...]:/POOL`. IPv6 addresses in brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Source {
    /// The memory nodes, at least one.
    pub nodes: Vec<NodeAddress>,
    /// The pool.
    pub pool: String,
}

/// A node as the user wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NodeAddress {
    /// Name or address.
    pub host: String,
    /// Port, 7470 unless given.
    pub port: u16,
}

/// How the kernel may cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CacheMode {
    /// Page cache with close-to-open consistency.
    #[default]
    Auto,
    /// Every read and write goes to the node.
    None,
}

/// Options that the handler acts upon (kernel mount flags are applied by the helper at mount(2)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountOptions {
    /// `fabric=`; `None` is auto.
    pub fabric: Option<FabricKind>,
    /// `key=`; default `/etc/rdmafs/POOL.key`.
    pub key: PathBuf,
    /// `crypt=`.
    pub crypt: Crypt,
    /// `timeout=` in milliseconds, 100 to 600,000; default 5,000.
    pub timeout_ms: u64,
    /// `cache=`.
    pub cache: CacheMode,
    /// `bw= iops= burst= weight=`.
    pub share: Share,
    /// `ro`.
    pub read_only: bool,
}
