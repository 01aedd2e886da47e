//! What goes over the control socket. The JSON of [`Status`] is also what `rdmafs status --json` prints: fields are only
//! ever added.

use crate::mount::{KernelFlags, MountPlace};
use crate::options::{AccessTimes, MountOptions, Source};
use rdmafs_rdma::link::FlowCounters;
use rdmafs_rdma::qos::share::Share;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What the command line may ask of a handler.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ControlRequest {
    /// Connect to the pool, so that a bad node, pool or key is found before mount(2). Answer: [`ControlReply::Ready`].
    Prepare {
        /// The pool, and how its nodes are reached.
        source: Source,
        /// The mount's options.
        options: MountOptions,
    },
    /// Serve this mount; the descriptor comes with the request. Answer: [`ControlReply::Mounted`] after the FUSE handshake.
    Mount {
        /// The pool, and how its nodes are reached.
        source: Source,
        /// Where: absolute and without symbolic links in the mount's namespace.
        dir: PathBuf,
        /// The mount's options.
        options: MountOptions,
        /// What the kernel was told at mount(2).
        flags: KernelFlags,
        /// Where mount(2) made it.
        place: MountPlace,
    },
    /// Answer: [`ControlReply::Status`].
    Status,
    /// Show or change a live mount's times. Answer: [`ControlReply::Times`].
    Times {
        /// Mount directory, absolute and canonical; the topmost mount there is meant.
        dir: PathBuf,
        /// What to change.
        change: TimesChange,
    },
    /// Show or change a live mount's share. Answer: [`ControlReply::Share`].
    Qos {
        /// Mount directory, absolute and canonical; the topmost mount there is meant.
        dir: PathBuf,
        /// What to change.
        change: ShareChange,
    },
    /// What the kernel was told by a remount of a live mount, or is about to be told. Answer: [`ControlReply::Remounted`].
    Remount {
        /// The mount's directory.
        dir: PathBuf,
        /// All flags of the mount from now on, changed or not.
        flags: KernelFlags,
        /// What they mean for access times.
        access_times: AccessTimes,
    },
}

/// New values for some of a mount's times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimesChange {
    /// `timeout=` in milliseconds, 100 to 600,000.
    pub timeout_ms: Option<u64>,
    /// `commit=` in seconds, 1 to 600.
    pub commit_s: Option<u64>,
}

/// New values for some fields of a share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareChange {
    /// Bytes per second; 0 for no limit.
    pub bw: Option<u64>,
    /// Operations per second; 0 for no limit.
    pub iops: Option<u64>,
    /// Bytes; 0 for the default.
    pub burst: Option<u64>,
    /// 1 to 10,000.
    pub weight: Option<u32>,
}

/// What a handler answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ControlReply {
    /// The pool is reachable with these options; `note` says by which fabric, and why not by the ones before.
    Ready {
        /// Like `tcp; no shm: node1 is another host`.
        note: String,
    },
    /// Mounted.
    Mounted {
        /// Which fabric is used, and why not the ones before.
        note: String,
    },
    /// The state of everything.
    Status(Status),
    /// A mount's times as they are now.
    Times {
        /// `timeout=` in milliseconds.
        timeout_ms: u64,
        /// `commit=` in seconds.
        commit_s: u64,
    },
    /// A share as it is now.
    Share(Share),
    /// The handler acts by these flags, and records them.
    Remounted,
    /// It failed: one line that says what and how to mend it.
    Error(String),
}

/// `rdmafs status --json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Connections to nodes.
    pub links: Vec<LinkStatus>,
    /// Mounts.
    pub mounts: Vec<MountStatus>,
    /// Pools.
    pub pools: Vec<PoolStatus>,
}

/// A link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinkStatus {
    /// `host:port`.
    pub node: String,
    /// The name of the pool.
    pub pool: String,
    /// Fabric in use.
    pub fabric: String,
    /// Queue pairs.
    pub qps: usize,
    /// Device, or "".
    pub device: String,
    /// `up`, `draining` (the node ends soon), `down`, `not answering` (connected or not, the node
    /// is silent), or `stale` (another pool is served in its place).
    pub state: String,
    /// For how long, in milliseconds.
    pub for_ms: u64,
    /// Connections so far: above 1 the link was lost and came back.
    pub connections: u64,
    /// The session's lease, in milliseconds: how long the node keeps what a lost link had open; 0 while down.
    pub lease_ms: u64,
    /// Data on the wire is encrypted.
    pub encrypted: bool,
    /// The version of the protocol that is spoken with the node; 0 while down, and from a handler that does not say.
    #[serde(default)]
    pub protocol: u16,
    /// What went beside the data since the first connection.
    #[serde(default)]
    pub calls: CallTraffic,
    /// What is known without a call.
    #[serde(default)]
    pub leases: LeaseStatus,
    /// Why this fabric and not an earlier one, why it is down, or what draining means.
    pub why: String,
}

/// Calls to the namespace service, their answers, and its notices.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallTraffic {
    /// Calls. One that the service puts off counts each time that it is sent.
    pub count: u64,
    /// Calls by their kind, like `lookup` or `get_attr`, those above 0; empty from a handler that does not say.
    #[serde(default)]
    pub kinds: BTreeMap<String, u64>,
    /// Bytes of calls, before encryption.
    pub sent_bytes: u64,
    /// Bytes of answers and notices.
    pub received_bytes: u64,
}

/// Names and attributes that a handler holds by lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseStatus {
    /// Inodes of which it holds the attributes now.
    pub attributes: u64,
    /// Names of which it holds now what they lead to, or that they are absent.
    pub names: u64,
    /// Lookups and requests for attributes that were answered from them, without a call, since the first connection.
    pub answered: u64,
}

/// A mount.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MountStatus {
    /// The directory that is mounted on.
    pub dir: PathBuf,
    /// What is mounted.
    pub source: String,
    /// Another pool is served in its place: every call is ESTALE, and EIO for what is open.
    #[serde(default)]
    pub stale: bool,
    /// `auto` or `none`.
    pub cache: String,
    /// All options in force, as `-o` takes them.
    #[serde(default)]
    pub options: String,
    /// The mount's share of the link.
    pub share: Share,
    /// Link traffic.
    pub traffic: FlowCounters,
    /// FUSE requests answered.
    pub requests: u64,
    /// Requests taken and not answered yet: parked operations, and those that run at this moment.
    pub parked: u64,
    /// Mean time from request to answer since the start, in microseconds.
    pub mean_latency_us: u64,
    /// It is unmounted where it was made: who has a copy that keeps it served, and how to unmount that.
    #[serde(default)]
    pub copies: Vec<String>,
}

/// A pool's space.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PoolStatus {
    /// The name of the pool.
    pub pool: String,
    /// Which of all pools of that name, 32 hexadecimal digits; "" before its node was reached for the first time.
    #[serde(default)]
    pub id: String,
    /// Size of the pool in bytes; 0 while its node is not reached.
    pub total: u64,
    /// Bytes of the arena that files have.
    pub used: u64,
    /// Bytes of the arena that are free.
    pub free: u64,
    /// Inodes.
    pub inodes: u64,
    /// Files that have lost bytes with the memory of an earlier start of the node: `rdmafs fsck` lists them.
    #[serde(default)]
    pub lost_files: u64,
    /// Bytes that files lost.
    #[serde(default)]
    pub lost_bytes: u64,
}
