//! Makes a daemon hard to read, to swap out and to kill by accident.
//!
//! A daemon holds keys and other users' bytes: no other user may trace it, open its memory through /proc, or find its core
//! dump. It answers for every mount of its host (or every host of its pool): the OOM killer takes something else, and
//! no request waits for a page to come back from swap.

use super::of_task::keep_a_spare;
use nix::errno::Errno;
use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use rdmafs_rdma::sys::keep_large_blocks_apart;
use std::fmt::Display;
use thiserror::Error;

/// What a process could not do for want of privileges, to be logged once it is up: an error that ends it before stands alone.
#[derive(Debug, Default)]
#[must_use = "log it when the daemon is ready"]
pub struct LeftOut(Vec<String>);

impl LeftOut {
    /// Logs each as a warning.
    pub fn log(self) {
        for what in self.0 {
            tracing::warn!("{what}");
        }
    }

    pub(super) fn note(&mut self, done: Result<(), impl Display>, what: &str) {
        if let Err(error) = done {
            self.0.push(format!("{what}: {error}"));
        }
    }
}

/// The process cannot be made undumpable.
#[derive(Debug, Error)]
#[error("cannot make the process undumpable, so its keys would not be safe: {0}")]
pub struct NotHardened(#[source] Errno);

/// Does all of it. Call it before keys are read and threads start.
///
/// What needs privileges that the process lacks (locking, the OOM score) is left out.
///
/// # Errors
/// The process cannot be made undumpable, so its keys would not be safe.
pub fn harden() -> Result<LeftOut, NotHardened> {
    let mut left_out = LeftOut::default();
    keep_large_blocks_apart();
    umask(Mode::from_bits_truncate(0o077));
    // Before it is undumpable: its /proc files belong to root from then on.
    left_out.note(
        std::fs::write("/proc/self/oom_score_adj", "-1000"),
        "cannot ask the OOM killer to spare this process",
    );
    nix::sys::prctl::set_dumpable(false).map_err(NotHardened)?;
    left_out.note(
        limit(Resource::RLIMIT_CORE, |_| (0, 0)),
        "cannot forbid core dumps",
    );
    left_out.note(
        limit(Resource::RLIMIT_NOFILE, |hard| (hard, hard)),
        "cannot raise the limit of open files",
    );
    left_out.note(
        keep_a_spare(),
        "cannot keep a descriptor for when there is no other",
    );
    left_out.note(
        lock_memory(),
        "cannot lock this process in memory, so it may be swapped out",
    );
    Ok(left_out)
}

/// From now on a panic in any thread ends the process (SIGABRT, without a core) once its message is written:
/// half a daemon would hang its clients, and what the panicking thread was changing can no longer be trusted.
pub fn abort_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
}

fn limit(resource: Resource, choose: impl FnOnce(u64) -> (u64, u64)) -> nix::Result<()> {
    let (_, hard) = getrlimit(resource)?;
    let (soft, hard) = choose(hard);
    setrlimit(resource, soft, hard)
}

/// MCL_ONFAULT: a page is locked once it is touched. Without it every thread would at once own all 2 MiB of its stack, and
/// fuser 16 MiB of buffer per worker; what is never touched holds no secret and needs no place in memory.
///
/// Nothing is locked where a limit holds (no CAP_IPC_LOCK and no infinite RLIMIT_MEMLOCK): MCL_FUTURE would make allocations
/// fail once it is reached.
fn lock_memory() -> nix::Result<()> {
    let onfault = MlockAllFlags::from_bits_retain(libc::MCL_ONFAULT);
    let flags = MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE | onfault;
    let unlimited = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
    let may = if has_ipc_lock() { Ok(()) } else { unlimited };
    may.and_then(|()| mlockall(flags))
}

/// True when CAP_IPC_LOCK is effective: no limit of locked memory holds then.
fn has_ipc_lock() -> bool {
    const CAP_IPC_LOCK: u64 = 1 << 14;
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
            u64::from_str_radix(line.trim(), 16).ok()
        })
        .is_some_and(|capabilities| capabilities & CAP_IPC_LOCK != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::run_in_child;

    #[test]
    fn a_hardened_process_is_undumpable_and_leaves_no_core() {
        let output = run_in_child("process::harden::tests::child_hardens");
        assert!(output.status.success(), "{output:?}");
    }

    /// The body of the test above, in a process of its own; alone it does nothing, since it would change the test runner.
    #[test]
    fn child_hardens() {
        if std::env::var_os("RDMAFS_TEST_CHILD").is_none() {
            return;
        }
        harden().unwrap().log();
        assert!(!nix::sys::prctl::get_dumpable().unwrap());
        assert_eq!(getrlimit(Resource::RLIMIT_CORE).unwrap(), (0, 0));
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!(soft, hard);
        let made = tempfile::NamedTempFile::new().unwrap();
        let mode = std::os::unix::fs::MetadataExt::mode(&made.as_file().metadata().unwrap());
        assert_eq!(mode & 0o077, 0);
        if has_ipc_lock() {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let locked = status.lines().find(|line| line.starts_with("VmLck:")).unwrap();
            assert!(!locked.contains(" 0 kB"), "{locked}");
        }
    }

    #[test]
    fn a_panic_in_any_thread_ends_the_process_with_its_message() {
        let output = run_in_child("process::harden::tests::child_panics_in_a_thread");
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&output.status),
            Some(libc::SIGABRT)
        );
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains("on purpose"), "{text}");
    }

    /// The body of the test above; alone it does nothing.
    #[test]
    fn child_panics_in_a_thread() {
        if std::env::var_os("RDMAFS_TEST_CHILD").is_none() {
            return;
        }
        abort_on_panic();
        let thread = std::thread::spawn(|| panic!("on purpose"));
        let _ = thread.join();
        unreachable!("the process outlived the panic of its thread");
    }
}
