//! What befalls hosts and node.

use super::history::HOSTS;
use super::play::{LEASE, Play};
use rand::RngExt;
use rdmafs_fs::handler::testing::HostId;
use rdmafs_meta::extent::GRANULE;
use rdmafs_meta::layout::ReplicaState;
use rdmafs_rdma::sim::Fault;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long after a fault its consequences may show: reconnecting, fencing, timeouts of 2 s for each connection.
const AFTER_FAULT: Duration = Duration::from_secs(15);
const MOMENT: Duration = Duration::from_millis(800);

impl Play {
    /// Something befalls a host, or the node.
    pub(super) fn fault(&mut self) {
        let host = self.random.random_range(0..HOSTS);
        let long = LEASE.mul_f64(self.random.random_range(0.1..3.0));
        let short = MOMENT.mul_f64(self.random.random_range(0.0..1.0));
        match self.random.random_range(0..20) {
            0..5 => self.break_off(host),
            5..8 => self.stall(host, short, false),
            8..11 => self.stall(host, long, true),
            11..14 => self.stop(host, long),
            14..16 => self.kill(host, long, true),
            16 => self.kill(host, long, false),
            17 => {
                // Who stands still meanwhile goes on believing for as long as its lease lasts.
                if self.random.random_bool(0.5) {
                    let long = LEASE.mul_f64(self.random.random_range(0.1..1.0));
                    self.stop(host, long);
                }
                return self.kill_node(short);
            }
            _ => self.fault_soon(short),
        }
        self.played.faults += 1;
    }

    /// Those whose time has come go on.
    pub(super) fn return_due(&mut self) -> Result<(), String> {
        let now = self.sim.now();
        if self.node_returns.is_some_and(|at| at <= now) {
            self.node_returns = None;
            self.sim.start_node();
            self.tell("the node is back".into());
            self.revive()?;
        }
        for host in 0..HOSTS {
            if self.goes_on[host].is_some_and(|at| at <= now) {
                self.go_on(host);
            }
        }
        Ok(())
    }

    fn go_on(&mut self, host: usize) {
        let id = HostId(host);
        self.goes_on[host] = None;
        if self.is_alive(host) {
            self.sim.stop_host(id, false);
            self.tell(format!("host {host} goes on"));
            self.look_at_once(host);
        } else if self.node_returns.is_none() && self.sim.start_host(id) {
            let step = self.step;
            self.files
                .values_mut()
                .for_each(|file| file.past.heard(host, step));
            self.tell(format!("host {host} is back"));
        } else {
            self.goes_on[host] = Some(self.sim.now() + MOMENT);
        }
        self.shake(host, Duration::ZERO);
    }

    /// A connection ends; the session goes on.
    fn break_off(&mut self, host: usize) {
        self.tell(format!("host {host} loses its connection"));
        for end in self.sim.connections(HostId(host)) {
            end.disconnect();
        }
        self.trouble(host, Duration::ZERO);
    }

    /// Nothing passes between a host and the node.
    fn stall(&mut self, host: usize, by: Duration, serious: bool) {
        self.tell(format!("host {host} is cut off for {by:?}"));
        for end in self.sim.connections(HostId(host)) {
            end.stall(by);
        }
        match serious {
            true => self.shake(host, by),
            false => self.trouble(host, by),
        }
    }

    /// SIGSTOP, for a time.
    fn stop(&mut self, host: usize, by: Duration) {
        if !self.is_working(host) {
            return;
        }
        self.tell(format!("host {host} is stopped for {by:?}"));
        self.sim.stop_host(HostId(host), true);
        self.goes_on[host] = Some(self.sim.now() + by);
        self.shake(host, by);
    }

    fn kill(&mut self, host: usize, by: Duration, noticed: bool) {
        if !self.is_working(host) {
            return;
        }
        self.tell(format!("host {host} dies, noticed: {noticed}"));
        self.sim.kill_host(HostId(host), noticed);
        self.forget_host(host);
        self.goes_on[host] = Some(self.sim.now() + by);
        self.shake(host, by);
    }

    pub(super) fn kill_node(&mut self, by: Duration) {
        if self.node_returns.is_some() {
            return;
        }
        self.played.faults += 1;
        self.tell(format!("the node dies for {by:?}"));
        self.old_leases = std::array::from_fn(|host| self.sim.leases_over(HostId(host)));
        self.sim.kill_node();
        self.ground.lock().renew();
        self.operations.died(self.step);
        self.looks.dies(self.step);
        self.node_returns = Some(self.sim.now() + by);
        (0..HOSTS).for_each(|host| self.shake(host, by));
        self.names.iter_mut().for_each(|name| name.unknown = true);
    }

    /// One of the next operations of the fabric, whoever's, is late or breaks its connection.
    fn fault_soon(&mut self, by: Duration) {
        let fault = match self.random.random_bool(0.5) {
            true => Fault::Delay(by),
            false => Fault::Disconnect,
        };
        let n = self.random.random_range(1..20);
        self.tell(format!("{fault:?} in {n} operations"));
        self.sim.sim().fault_at(n, fault);
        (0..HOSTS).for_each(|host| self.trouble(host, by));
    }

    /// Failures of this host's operations are excused for a while.
    fn trouble(&mut self, host: usize, by: Duration) {
        self.trouble[host] = self.trouble[host].max(self.sim.now() + by + AFTER_FAULT);
    }

    /// And it may lose its session, and what it did not commit.
    fn shake(&mut self, host: usize, by: Duration) {
        self.trouble(host, by);
        self.shaken[host] = self.shaken[host].max(self.sim.now() + by + AFTER_FAULT);
        self.files.values_mut().for_each(|file| file.past.doubts(host));
    }

    /// After a restart of the node: files are as its store has them, without their bytes.
    fn revive(&mut self) -> Result<(), String> {
        let (sizes, mut lost) = self.survivors();
        let step = self.step;
        for (ino, mut file) in std::mem::take(&mut self.files) {
            let Some(size) = sizes.get(&ino) else {
                if file.durable && self.names.iter().any(|name| name.keeps(ino)) {
                    return Err(format!("inode {ino} was synced and is gone"));
                }
                self.looks.stops(ino);
                continue;
            };
            file.past
                .dies(*size, lost.remove(&ino).unwrap_or_default(), step)?;
            self.files.insert(ino, file);
        }
        Ok(())
    }

    /// Size and lost granules of every file.
    fn survivors(&self) -> (BTreeMap<u64, u64>, BTreeMap<u64, BTreeSet<u64>>) {
        let observed = self.sim.look(|namespace| {
            let sizes = namespace.inodes().map(|attr| (attr.ino.0, attr.size)).collect();
            let mut lost: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
            for (ino, start, copy) in namespace.places() {
                if copy.state == ReplicaState::Lost {
                    let granules = start / GRANULE..(start + copy.extent.len) / GRANULE;
                    lost.entry(ino.0).or_default().extend(granules);
                }
            }
            (sizes, lost)
        });
        observed.unwrap_or_default()
    }

    /// All who are dead, stopped or cut off go on, and the aftermath passes.
    pub(super) fn heal(&mut self) -> Result<(), String> {
        self.sim.sim().fault_at(u64::MAX, Fault::Error);
        while self.node_returns.is_some() || self.goes_on.iter().any(Option::is_some) {
            self.return_due()?;
            self.proceed()?;
        }
        self.wait_for_all()?;
        self.rest(LEASE * 4)
    }
}
