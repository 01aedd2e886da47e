//! Another pool is served where the mounted one was: nothing of it is seen, and nothing is asked of it.

use super::sweep::lab::{Failure, Lab, ROOT, RW, pattern};
use crate::handler::KernelNotify;
use crate::handler::testing::{HostId, SimStore};
use parking_lot::Mutex;
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::id::{InodeId, PoolId};
use std::sync::Arc;
use std::time::Duration;

const FIRST: PoolId = PoolId([7; 16]);
const OTHER: PoolId = PoolId([8; 16]);
const STALE: Result<(), Failure> = Err(Failure::Errno(libc::ESTALE));
const EIO: Failure = Failure::Errno(libc::EIO);

/// A file of 20,000 bytes, open and synced; then its node dies, and one with another pool takes its place.
fn replaced() -> (Lab, SimStore) {
    let mut lab = Lab::new();
    lab.create(lab.a, "f").unwrap();
    lab.write("f", 0, &pattern(20_000, 1)).unwrap();
    lab.fsync("f").unwrap();
    let store = lab.sim.store().clone();
    lab.sim.kill_node();
    lab.sim.pass_by(Duration::from_secs(1));
    lab.sim.start_node_of(OTHER, SimStore::default());
    lab.sim.pass_by(Duration::from_secs(10));
    (lab, store)
}

fn calls(lab: &mut Lab, host: HostId) -> Vec<Result<(), Failure>> {
    vec![
        lab.find(host, "f").map(drop),
        lab.call(host, |mount| Box::pin(mount.getattr(Credentials::root(), ROOT)))
            .map(drop),
        lab.call(host, |mount| Box::pin(mount.opendir(Credentials::root(), ROOT)))
            .map(drop),
        lab.call(host, |mount| Box::pin(mount.statfs(InodeId::ROOT)))
            .map(drop),
        lab.create(host, "new"),
        lab.unlink(host, "f"),
    ]
}

#[test]
fn every_call_is_estale_and_eio_for_what_is_open() {
    let (mut lab, _) = replaced();
    for host in [lab.a, lab.b] {
        assert_eq!(calls(&mut lab, host), [STALE; 6]);
        assert!(lab.sim.mount(host).is_stale());
    }
    assert_eq!(lab.read("f", 0, 100), Err(EIO));
    assert_eq!(lab.write("f", 0, b"x"), Err(EIO));
    assert_eq!(lab.fsync("f"), Err(EIO));
    assert_eq!(lab.close("f"), Err(EIO));
    let inodes = lab.sim.look(|namespace| namespace.inodes().count());
    assert_eq!(inodes, Some(1), "nothing was made in the other pool");
}

#[test]
fn a_call_that_waits_for_the_node_meets_an_error_as_soon_as_the_other_pool_is_found() {
    let mut lab = Lab::new();
    lab.create(lab.a, "f").unwrap();
    lab.fsync("f").unwrap();
    lab.sim.kill_node();
    lab.sim.pass_by(Duration::from_millis(100));
    let started = lab.sim.start(lab.a, {
        let mount = lab.sim.mount(lab.a);
        mount.lookup(Credentials::root(), ROOT, b"f".to_vec())
    });
    lab.sim.pass_by(Duration::from_millis(200));
    lab.sim.start_node_of(OTHER, SimStore::default());
    lab.sim.pass_by(Duration::from_millis(1000));
    let errno = started
        .take()
        .expect("an answer within a second")
        .unwrap_err()
        .errno();
    assert_eq!(errno, libc::ESTALE);
}

#[test]
fn the_pool_goes_on_when_it_is_served_anew() {
    let (mut lab, store) = replaced();
    assert_eq!(lab.find(lab.a, "f").map(drop), STALE);
    lab.sim.kill_node();
    lab.sim.start_node_of(FIRST, store);
    lab.sim.pass_by(Duration::from_secs(10));
    lab.find(lab.a, "f").unwrap();
    assert_eq!(lab.read("f", 0, 100), Err(EIO), "its bytes are lost");
    lab.open(lab.a, "f", RW, "again").unwrap();
    lab.write("again", 40_960, &pattern(100, 3)).unwrap();
    assert_eq!(lab.read("again", 40_960, 100).unwrap(), pattern(100, 3));
}

/// What it was told.
#[derive(Default)]
struct Kernel {
    attributes: Mutex<Vec<InodeId>>,
    data: Mutex<Vec<InodeId>>,
}

impl KernelNotify for Kernel {
    fn attributes_changed(&self, ino: InodeId, done: Option<Box<dyn FnOnce() + Send>>) {
        self.attributes.lock().push(ino);
        done.into_iter().for_each(|done| done());
    }

    fn data_changed(&self, ino: InodeId) {
        self.data.lock().push(ino);
    }

    fn write_back(&self, _: InodeId, done: Box<dyn FnOnce() + Send>) {
        done();
    }

    fn drop_range(&self, _: InodeId, _: std::ops::Range<u64>, done: Box<dyn FnOnce() + Send>) {
        done();
    }
}

#[test]
fn the_kernel_forgets_the_root_and_what_is_open() {
    let mut lab = Lab::new();
    let kernel = Arc::new(Kernel::default());
    lab.sim.mount(lab.a).set_notify(kernel.clone());
    lab.create(lab.a, "f").unwrap();
    lab.fsync("f").unwrap();
    let ino = lab.open["f"].1;
    lab.sim.kill_node();
    lab.sim.start_node_of(OTHER, SimStore::default());
    lab.sim.pass_by(Duration::from_secs(3));
    for notified in [kernel.attributes.lock(), kernel.data.lock()] {
        assert!(
            notified.contains(&ROOT) && notified.contains(&ino),
            "{notified:?}"
        );
    }
}
