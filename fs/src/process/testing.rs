//! Tests of what a process does to itself, in processes of their own.

use std::process::{Command, Output};

/// Runs one test of this program in a new process, with `RDMAFS_TEST_CHILD` set. Blocking, until it ends.
pub(crate) fn run_in_child(test: &str) -> Output {
    Command::new("/proc/self/exe")
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env("RDMAFS_TEST_CHILD", "1")
        .output()
        .unwrap()
}
