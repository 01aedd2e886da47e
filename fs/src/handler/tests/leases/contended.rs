//! Two hosts that make files in one directory at the same time: in simulated time, where each message takes as long as any other.

use super::{ROOT, mkdir};
use crate::errno::Error;
use crate::handler::Mount;
use crate::handler::testing::{HostId, Rules, Simulation, Started};
use crate::handler::tests::sweep::lab::{LEASE, Lab, RW};
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::error::MetaError;
use rdmafs_meta::id::InodeId;
use rdmafs_rdma::sim::Pace;
use std::sync::Arc;
use std::time::Duration;

/// Files that each host makes.
const FILES: u32 = 200;

/// What open(2) with O_CREAT and O_EXCL, write(2) and close(2) of a new file of 4 KiB ask.
async fn makes(mount: Arc<Mount>, directory: InodeId, prefix: &'static str) -> Result<(), Error> {
    let root = Credentials::root;
    for at in 0..FILES {
        let name = format!("{prefix}{at}").into_bytes();
        mount.clone().getattr(root(), directory).await?;
        let found = mount.clone().lookup(root(), directory, name.clone()).await;
        assert_eq!(found.map(drop), Err(MetaError::NotFound.into()));
        let made = mount.clone().create(root(), (directory, name), 0o644, RW, true);
        let (_, opened) = made.await?;
        let bytes = mount.clone().wait_buffer(4096).await?;
        mount.clone().write(opened.handle, 0, bytes, false).await?;
        mount.clone().flush(opened.handle).await?;
        mount.clone().release(opened.handle).await?;
    }
    Ok(())
}

fn lab() -> (Lab, InodeId) {
    let mut lab = Lab::new();
    let message = Duration::from_micros(10);
    lab.sim = Simulation::new(Rules {
        arena: 8 << 20,
        seed: 7,
        pace: Pace::Latency {
            min: message,
            max: message,
            queues: 2,
        },
        lease: LEASE,
        prompt: true,
        leases: true,
    });
    (lab.a, lab.b) = (lab.sim.add_host(), lab.sim.add_host());
    assert_eq!(ROOT, InodeId::ROOT);
    let host = lab.a;
    let directory = mkdir(&mut lab, host, "d");
    (lab, directory)
}

/// How long these hosts take, all at once.
fn take(hosts: impl Fn(&Lab) -> Vec<HostId>) -> Duration {
    let (mut lab, directory) = lab();
    let began = lab.sim.now();
    let start = |(host, prefix)| {
        let mount = lab.sim.mount(host);
        lab.sim.start(host, makes(mount, directory, prefix))
    };
    let mut running: Vec<Started<_>> = hosts(&lab).into_iter().zip(["a", "b"]).map(start).collect();
    while !running.is_empty() {
        lab.sim.pass(Duration::MAX);
        lab.sim.settle();
        running.retain(|started| match started.take() {
            Some(answer) => {
                assert_eq!(answer, Ok(()));
                false
            }
            None => true,
        });
    }
    lab.sim.now() - began
}

/// Each waits for the other's acknowledgement of a recall, and asks what the other has changed, once for each file at most.
#[test]
fn two_hosts_make_as_many_files_as_one_alone_in_the_same_time() {
    let alone = take(|lab| vec![lab.a]);
    let both = take(|lab| vec![lab.a, lab.b]);
    let ratio = 2.0 * alone.as_secs_f64() / both.as_secs_f64();
    println!("{FILES} files: alone {alone:?}, both at once {both:?}: {ratio:.2} of the rate of one");
    assert!(ratio >= 0.9, "{ratio:.2}");
}
