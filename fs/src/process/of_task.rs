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

/// Whether `/proc`, by a process's mountinfo, shows tasks of other users only to who may trace them (`hidepid=`): without CAP_SYS_PTRACE a process of
/// root sees them only where the group that is let in is root's, as it is without a word.
#[must_use]
pub(crate) fn hides_tasks(mountinfo: &str) -> bool {
    let options = mountinfo.lines().rev().find_map(|line| {
        let (place, kind) = line.split_once(" - proc ")?;
        let is_proc = place.split(' ').nth(4) == Some("/proc");
        is_proc.then(|| kind.rsplit(' ').next()).flatten()
    });
    let has = |begins: &str, none: &[&str]| {
        let words = options.unwrap_or_default().split(',');
        words
            .filter_map(|word| word.strip_prefix(begins))
            .any(|value| !none.contains(&value))
    };
    // By `ptraceable` that alone decides, whatever group there is.
    let by_trace_only = has("hidepid=", &["0", "off", "1", "noaccess", "2", "invisible"]);
    by_trace_only || has("hidepid=", &["0", "off"]) && has("gid=", &["0"])
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
    fn tasks_are_hidden_where_proc_says_so_and_lets_root_in_by_no_group() {
        let with = |options: &str| {
            format!(
                "30 1 0:20 / /sys rw - sysfs sysfs rw\n31 1 0:5 / /proc rw,nosuid shared:3 - proc proc {options}\n"
            )
        };
        for (options, hidden) in [
            ("rw", false),
            ("rw,hidepid=invisible", false),
            ("rw,gid=27,hidepid=off", false),
            ("rw,gid=0,hidepid=2", false),
            ("rw,gid=27,hidepid=invisible", true),
            ("rw,gid=27,hidepid=1", true),
            ("rw,hidepid=noaccess", false),
            ("rw,hidepid=ptraceable", true),
            ("rw,gid=0,hidepid=4", true),
        ] {
            assert_eq!(hides_tasks(&with(options)), hidden, "{options}");
        }
        assert!(!hides_tasks(
            "31 1 0:5 / /c/proc rw - proc proc rw,gid=27,hidepid=2\n"
        ));
        assert!(!hides_tasks(""));
    }

    #[test]
    fn a_task_that_is_gone_is_an_error() {
        assert!(of_task(u32::MAX, "status").is_err());
    }
}
