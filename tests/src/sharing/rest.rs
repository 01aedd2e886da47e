//! What must be left when all is over.

use super::history::HOSTS;
use super::operations::{NAMES, Operation};
use super::plan::Plan;
use super::play::{ARENA, LEASE, Play};
use rdmafs_meta::id::PoolId;
use rdmafs_meta::layout::ReplicaState;
use rdmafs_meta::namespace::{Config, Namespace};
use rdmafs_meta::time::Now;
use std::time::Duration;

impl Play {
    /// No more faults: everything ends, leases run out, and the pool holds what its files hold; without files nothing.
    pub(super) fn come_to_rest(&mut self) -> Result<(), String> {
        self.faults = false;
        self.heal()?;
        self.wait_for_all()?;
        for host in 0..HOSTS {
            for handle in self.open_at(host) {
                let ino = self.handles[&handle].ino;
                self.begin_plan(host, Plan::Close { handle, ino });
            }
        }
        self.wait_for_all()?;
        self.rest(LEASE * 3)?;
        self.account()?;
        for name in 0..self.names.len() {
            self.begin_plan(0, Plan::Look { name });
        }
        self.wait_for_all()?;
        for name in 0..self.names.len() {
            if self.names[name].holds.is_some() {
                self.begin_plan(0, Plan::Unlink { name });
            }
        }
        self.wait_for_all()?;
        self.rest(LEASE * 3)?;
        for name in 0..NAMES {
            let operation = Operation::Find { name };
            self.begin_plan(0, Plan::Operation { operation, ino: 0 });
            self.wait_for_all()?;
        }
        let room = self.sim.look(Namespace::room);
        if room != Some((ARENA, 0)) {
            let held = self.sim.look(|namespace| {
                let held = namespace.inodes().filter(|attr| attr.allocated > 0);
                held.map(|attr| (attr.ino, attr.nlink, attr.allocated))
                    .collect::<Vec<_>>()
            });
            return Err(format!(
                "of an empty pool this is free, and in quarantine: {room:?}; inodes, names and bytes that are left: {held:?}"
            ));
        }
        self.account()
    }

    pub(super) fn wait_for_all(&mut self) -> Result<(), String> {
        let end = self.sim.now() + LEASE * 6;
        while !self.doing.is_empty() {
            self.proceed()?;
            if self.sim.now() > end {
                return Err(format!("{:?} does not end", self.doing[0].plan));
            }
        }
        Ok(())
    }

    pub(super) fn rest(&mut self, time: Duration) -> Result<(), String> {
        let end = self.sim.now() + time;
        while self.sim.now() < end {
            self.sim.settle();
            self.look()?;
            while self.sim.work() {
                self.sim.settle();
                self.look()?;
            }
            self.hear();
            self.judge_answers()?;
            self.return_due()?;
            self.sim.pass(end);
        }
        self.sim.settle();
        while self.sim.work() {
            self.sim.settle();
        }
        Ok(())
    }

    /// What is used is what files hold, closed files hold nothing past their ends, and the store would give a sound namespace.
    fn account(&mut self) -> Result<(), String> {
        let checked = self.sim.look(|namespace| {
            namespace.check().map_err(|wrong| wrong.to_string())?;
            let (free, quarantined) = namespace.room();
            let held: u64 = namespace
                .places()
                .filter(|(.., copy)| copy.state == ReplicaState::Valid)
                .map(|(.., copy)| copy.extent.len)
                .sum();
            if quarantined == 0 && free + held == ARENA {
                Ok(())
            } else {
                Err(format!(
                    "{free} bytes are free, {quarantined} in quarantine, {held} in files"
                ))
            }
        });
        checked.unwrap_or_else(|| Err("the node is dead".into()))?;
        let config = Config {
            pool: PoolId([7; 16]),
            lease: LEASE,
            root_owner: (0, 0),
            root_mode: 0o777,
            metadata: u64::MAX,
        };
        let mut store = self.sim.store().kept();
        let loaded =
            Namespace::load(&mut store, config, Now::default()).map_err(|error| error.to_string())?;
        loaded.check().map_err(|wrong| wrong.to_string())
    }
}
