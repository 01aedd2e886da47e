//! `serve` in a process of its own, as the command line runs it.

use super::client::{Client, FABRICS, TestNode, config};
use crate::node::serve::serve;
use crate::process::run_in_child;
use nix::sys::signal::{Signal, raise};
use rdmafs_meta::id::InodeId;
use rdmafs_meta::name::Name;
use rdmafs_meta::wire::{Reply, Request};
use rdmafs_rdma::fabric::FabricKind;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

#[test]
fn sigterm_drains_a_node() {
    let output = run_in_child("node::tests::process::child_serves");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{output:?}");
    assert!(text.contains("drained"), "{text}");
}

/// The body of the test above; alone it does nothing, since it would harden the test runner.
#[test]
fn child_serves() {
    if std::env::var_os("RDMAFS_TEST_CHILD").is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut prepared = 0;
    let config = config(dir.path(), true);
    let memory = config.memory;
    let pid_file = |port| dir.path().join(format!("node-{port}.pid"));
    let mut port = 0;
    serve(
        config,
        |bytes| prepared = bytes,
        |ready| {
            port = ready.address.port();
            assert!(pid_file(port).exists());
            // raise(3) signals this thread, which is the one that waits for it.
            raise(Signal::SIGTERM).unwrap();
        },
    )
    .unwrap();
    assert_eq!(prepared, memory);
    assert!(port != 0 && !pid_file(port).exists());
    println!("drained");
}

/// A node in another process, killed when dropped.
struct Victim {
    child: Child,
    address: SocketAddr,
}

impl Victim {
    fn start(dir: &Path) -> Self {
        let mut child = Command::new("/proc/self/exe")
            .args([
                "--exact",
                "node::tests::process::child_serves_until_killed",
                "--nocapture",
            ])
            .env("RDMAFS_TEST_DIR", dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut ready = lines
            .map_while(Result::ok)
            .filter_map(|line| line.strip_prefix("serving ")?.parse().ok());
        let address = ready.next().expect("it serves");
        Self { child, address }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        self.kill();
    }
}

#[test]
fn child_serves_until_killed() {
    let Some(dir) = std::env::var_os("RDMAFS_TEST_DIR").map(PathBuf::from) else {
        return;
    };
    // The name of the test stands on the line already.
    let notified = |ready: &crate::node::Ready| println!("\nserving {}", ready.address);
    serve(config(&dir, true), |_| {}, notified).unwrap();
}

#[test]
fn a_killed_node_loses_nothing_that_an_fsync_answered_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut victim = Victim::start(dir.path());
    let mut client = Client::away(dir.path(), victim.address, FabricKind::Tcp);
    client.create("synced");
    assert_eq!(client.call(Request::Sync), Ok(Reply::Done));
    client.create("perhaps");
    victim.kill();
    assert!(client.is_hung_up_on());

    let node = TestNode::on(dir, true);
    let mut client = Client::new(&node, FabricKind::Tcp);
    let (parent, name) = (InodeId::ROOT, Name::new("synced").unwrap());
    let found = client.call(Request::Lookup { parent, name });
    assert!(matches!(found, Ok(Reply::Attr(_))), "{found:?}");
}

#[test]
fn a_killed_node_is_noticed_on_every_fabric() {
    for kind in FABRICS {
        let dir = tempfile::tempdir().unwrap();
        let mut victim = Victim::start(dir.path());
        let mut client = Client::away(dir.path(), victim.address, kind);
        let ino = client.create("file");
        let (extents, _) = Client::extents(&client.layout(ino, 0..4096, true));
        client.write(extents[0].start, &[1; 4096]).unwrap();
        victim.kill();
        assert!(client.is_hung_up_on(), "{kind:?}");
        assert!(
            client.write(extents[0].start, &[2; 4096]).is_err(),
            "never into an orphan"
        );
    }
}
