//! How a simulation goes.

use rdmafs_rdma::sim::Pace;
use std::time::Duration;

/// How a simulation goes.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Bytes to lend, a multiple of 4 KiB.
    pub arena: u64,
    /// Of the schedule.
    pub seed: u64,
    /// Of the fabric.
    pub pace: Pace,
    /// Lease of a session.
    pub lease: Duration,
    /// The node does its chores (storing, fencing, cleaning) as soon as it can; else when it is told to ([`Simulation::work`](super::Simulation::work)).
    pub prompt: bool,
    /// Handlers take leases.
    pub leases: bool,
}
