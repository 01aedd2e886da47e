//! Two hosts on a simulated pool: one does the changes, the other is there to be recalled from, and to look.

use crate::errno::Error;
use crate::handler::testing::{HostId, Rules, Simulation};
use crate::handler::{HandleId, Mount, OpenMode, ReadData};
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::id::InodeId;
use rdmafs_rdma::sim::{Fault, Pace};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub(in crate::handler::tests) const ARENA: u64 = 64 * 4096;
pub(in crate::handler::tests) const LEASE: Duration = Duration::from_secs(10);
/// Longest that a call may take: the mount's timeout of 2 s is for each connection, and a call may meet two.
const LIMIT: Duration = Duration::from_secs(5);
pub(in crate::handler::tests) const ROOT: InodeId = InodeId::ROOT;

pub(in crate::handler::tests) const RW: OpenMode = OpenMode {
    read: true,
    write: true,
    append: false,
    truncate: false,
    execute: false,
    direct: false,
    no_access_time: false,
};

/// Why a call gave nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::handler::tests) enum Failure {
    Errno(i32),
    /// The handler died under it.
    Dead,
}

pub(in crate::handler::tests) type Did<T> = Result<T, Failure>;

pub(in crate::handler::tests) struct Lab {
    pub(in crate::handler::tests) sim: Simulation,
    /// Does the changes.
    pub(in crate::handler::tests) a: HostId,
    /// Holds files open, and looks.
    pub(in crate::handler::tests) b: HostId,
    /// What is open, by a name of its own.
    pub(in crate::handler::tests) open: BTreeMap<&'static str, (HostId, InodeId, HandleId)>,
    /// The node is to die when the pending fault happens.
    pub(in crate::handler::tests) node_dies: bool,
    /// It has.
    pub(in crate::handler::tests) node_died: bool,
    /// No bounds: the lab is being set up or looked at.
    pub(in crate::handler::tests) patient: bool,
}

impl Lab {
    pub(in crate::handler::tests) fn new() -> Self {
        let mut sim = Simulation::new(Rules {
            arena: ARENA,
            seed: 7,
            pace: Pace::AtOnce,
            lease: LEASE,
            prompt: true,
            leases: true,
        });
        let (a, b) = (sim.add_host(), sim.add_host());
        Self {
            sim,
            a,
            b,
            open: BTreeMap::new(),
            node_dies: false,
            node_died: false,
            patient: true,
        }
    }

    /// Does it on a host, and sees that it is answered in time.
    pub(in crate::handler::tests) fn call<T: Send + 'static>(
        &mut self,
        host: HostId,
        operation: impl FnOnce(Arc<Mount>) -> Op<T>,
    ) -> Did<T> {
        if !self.sim.is_alive(host) {
            return Err(Failure::Dead);
        }
        let started = self.sim.start(host, operation(self.sim.mount(host)));
        let (since, mut limit) = (self.sim.now(), LIMIT);
        loop {
            self.sim.settle();
            self.befall();
            if !self.sim.is_alive(host) {
                return Err(Failure::Dead);
            }
            if let Some(answer) = started.take() {
                return answer.map_err(|error| Failure::Errno(error.errno()));
            }
            let took = self.sim.now() - since;
            // A change waits for what others believe, and for a silent one as long as its lease runs.
            if self
                .sim
                .look(|namespace| namespace.delayed_count())
                .is_some_and(|delayed| delayed > 0)
            {
                limit = LIMIT + LEASE;
            }
            assert!(self.patient || took <= limit, "no answer after {took:?}");
            self.sim.pass(Duration::MAX);
        }
    }

    /// The node is to die at the n-th operation of the fabric.
    pub(in crate::handler::tests) fn dies_at(&mut self, n: u64) {
        self.node_dies = true;
        self.sim.sim().fault_at(n, Fault::Disconnect);
    }

    /// The node dies where the fault was, and comes back a second later.
    fn befall(&mut self) {
        let happened = self.node_dies && !self.sim.sim().fault_is_pending();
        let down = self.sim.look(|_| ()).is_none();
        if !happened && !down {
            return;
        }
        (self.node_dies, self.node_died) = (false, true);
        self.sim.kill_node();
        self.sim.pass_by(Duration::from_secs(1));
        self.sim.start_node();
    }

    // --- calls, shortly; handles have names ---

    pub(in crate::handler::tests) fn create(&mut self, host: HostId, name: &'static str) -> Did<()> {
        let path = name.as_bytes().to_vec();
        let (entry, opened) = self.call(host, |mount| {
            Box::pin(mount.create(Credentials::root(), (ROOT, path), 0o644, RW, true))
        })?;
        self.open.insert(name, (host, entry.attr.ino, opened.handle));
        Ok(())
    }

    pub(in crate::handler::tests) fn find(&mut self, host: HostId, name: &str) -> Did<InodeId> {
        let path = name.as_bytes().to_vec();
        let found = self.call(host, |mount| {
            Box::pin(mount.lookup(Credentials::root(), ROOT, path))
        })?;
        Ok(found.attr.ino)
    }

    pub(in crate::handler::tests) fn open(
        &mut self,
        host: HostId,
        name: &str,
        mode: OpenMode,
        called: &'static str,
    ) -> Did<()> {
        let ino = self.find(host, name)?;
        let opened = self.call(host, |mount| Box::pin(mount.open(Credentials::root(), ino, mode)))?;
        self.open.insert(called, (host, ino, opened.handle));
        Ok(())
    }

    pub(in crate::handler::tests) fn write(&mut self, file: &str, offset: u64, bytes: &[u8]) -> Did<()> {
        let (host, _, handle) = self.open[file];
        if !self.sim.is_alive(host) {
            return Err(Failure::Dead);
        }
        let buffer = self.sim.buffer(host, bytes).expect("a free buffer");
        let wrote = self.call(host, |mount| Box::pin(mount.write(handle, offset, buffer, false)))?;
        assert!(wrote <= bytes.len() && wrote > 0);
        if wrote < bytes.len() {
            return Err(Failure::Errno(libc::EIO));
        }
        Ok(())
    }

    pub(in crate::handler::tests) fn read(&mut self, file: &str, offset: u64, len: usize) -> Did<Vec<u8>> {
        let (host, _, handle) = self.open[file];
        let data = self.call(host, |mount| Box::pin(mount.read(handle, offset, len)))?;
        Ok(match data {
            ReadData::Bytes(buffer) => buffer.to_vec(),
            ReadData::Zeros(len) => vec![0; len],
            ReadData::End => Vec::new(),
        })
    }

    pub(in crate::handler::tests) fn fsync(&mut self, file: &str) -> Did<()> {
        let (host, _, handle) = self.open[file];
        self.call(host, |mount| Box::pin(mount.fsync(handle)))
    }

    /// close(2), and with it the last reference.
    pub(in crate::handler::tests) fn close(&mut self, file: &'static str) -> Did<()> {
        let (host, _, handle) = self.open.remove(file).expect("an open file");
        let flushed = self.call(host, |mount| Box::pin(mount.flush(handle)));
        let released = self.call(host, |mount| Box::pin(mount.release(handle)));
        flushed.and(released)
    }

    pub(in crate::handler::tests) fn unlink(&mut self, host: HostId, name: &str) -> Did<()> {
        let name = name.as_bytes().to_vec();
        self.call(host, |mount| {
            Box::pin(mount.unlink(Credentials::root(), ROOT, name))
        })
    }
}

/// A mount's operation.
pub(in crate::handler::tests) type Op<T> = std::pin::Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>;

/// Bytes that differ from place to place and from each other's seeds, none 0.
pub(in crate::handler::tests) fn pattern(len: usize, seed: u8) -> Vec<u8> {
    let byte = |i: usize| u8::try_from(i % 251).unwrap().wrapping_mul(seed | 1) | 1;
    (0..len).map(byte).collect()
}
