//! `serve` in a process of its own, as the command line runs it.

use super::client::config;
use crate::node::serve::serve;
use crate::process::run_in_child;
use nix::sys::signal::{Signal, raise};

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
