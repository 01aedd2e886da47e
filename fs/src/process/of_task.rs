//! The files of a task in /proc, read also when this process has no descriptor left.
//!
//! They decide whether a caller's group may do what it asks, and whether a caller that waits is being killed: for want of a descriptor
//! the one must not be refused and the other not be kept.

use parking_lot::Mutex;
use std::fs::{self, File};
use std::io;

/// Given up for a moment when there is no other.
static SPARE: Mutex<Option<File>> = Mutex::new(None);

/// Takes the spare descriptor, while there are others.
pub(super) fn keep_a_spare() -> io::Result<()> {
    *SPARE.lock() = Some(File::open("/dev/null")?);
    Ok(())
}

/// What `/proc/TID/FILE` says.
///
/// # Errors
/// The task is gone, or cannot be seen.
pub(crate) fn of_task(tid: u32, file: &str) -> io::Result<String> {
    let path = format!("/proc/{tid}/{file}");
    let read = fs::read_to_string(&path);
    let number = read.as_ref().err().and_then(io::Error::raw_os_error);
    if !matches!(number, Some(libc::EMFILE | libc::ENFILE)) {
        return read;
    }
    // Held meanwhile, so that another reader waits for its turn.
    let mut spare = SPARE.lock();
    drop(spare.take());
    let read = fs::read_to_string(path);
    *spare = File::open("/dev/null").ok();
    read
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::run_in_child;
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    use std::os::fd::AsRawFd;

    #[test]
    fn a_task_is_read_without_a_descriptor() {
        let output = run_in_child("process::of_task::tests::child_reads_without_a_descriptor");
        assert!(output.status.success(), "{output:?}");
    }

    /// The body of the test above; alone it does nothing, since it would change the test runner.
    #[test]
    fn child_reads_without_a_descriptor() {
        if std::env::var_os("RDMAFS_TEST_CHILD").is_none() {
            return;
        }
        keep_a_spare().unwrap();
        let lowest_free = File::open("/dev/null").unwrap().as_raw_fd();
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, u64::try_from(lowest_free).unwrap(), hard).unwrap();
        let none = File::open("/dev/null").unwrap_err();
        assert_eq!(none.raw_os_error(), Some(libc::EMFILE));
        for _ in 0..3 {
            let status = of_task(std::process::id(), "status").unwrap();
            assert!(status.contains("Groups:"), "{status}");
        }
        // What looks for leaks at the end needs some.
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    }

    #[test]
    fn a_task_that_is_gone_is_an_error() {
        assert!(of_task(u32::MAX, "status").is_err());
    }
}
