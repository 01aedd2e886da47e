//! What FUSE does not say of a calling task: its supplementary groups and, where idmapped mounts are allowed, its uid.
//!
//! Both are read from /proc/TID/status and believed for a second. The kernel has decided with the real ones before the request came
//! (`default_permissions`); here they serve the service's second check, and a uid that only counts. Entries are found by thread id, uid
//! and gid together: a thread id that is used again within the second meets an old entry only under the same uid and gid. Where the kernel
//! says no uid that does not tell two tasks apart, so nothing may be permitted for the uid that is found then.

use crate::process::of_task;
use lru::LruCache;
use parking_lot::Mutex;
use std::num::NonZeroUsize;
use std::time::Duration;

const LIFETIME: Duration = Duration::from_secs(1);
const CAPACITY: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// A task as the request names it: thread id, uid, gid.
type Task = (u32, u32, u32);

/// The uid that the kernel puts where it says none (FUSE_INVALID_UIDGID); also of a task that cannot be seen.
pub(super) const NO_UID: u32 = u32::MAX;

/// What /proc says of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    fs_uid: u32,
    /// `None`: nobody can see them.
    groups: Option<Vec<u32>>,
}

/// Recently read groups and uids. The lock is held for the look-up only, never while /proc is read.
#[derive(Debug)]
pub(super) struct Groups {
    recent: Mutex<LruCache<Task, (Duration, Found)>>,
}

impl Groups {
    pub(super) fn new() -> Self {
        Self {
            recent: Mutex::new(LruCache::new(CAPACITY)),
        }
    }

    /// The groups of `task`, not older than a second: of uid 0, who needs none, there are none. `None` for thread id 0, a task that
    /// cannot be seen, and for a task that is gone.
    pub(super) fn of(&self, task: Task, now: Duration) -> Option<Vec<u32>> {
        self.find(task, now, status_of).groups
    }

    /// The file-system uid of a task whose uid the kernel does not say, not older than a second; [`NO_UID`] when the task cannot be seen or is
    /// gone.
    pub(super) fn fs_uid(&self, tid: u32, now: Duration) -> u32 {
        self.find((tid, NO_UID, NO_UID), now, status_of).fs_uid
    }

    fn find(&self, task: Task, now: Duration, status: impl FnOnce(u32) -> Option<String>) -> Found {
        let (tid, uid, _) = task;
        if tid == 0 || uid == 0 {
            let (fs_uid, groups) = (NO_UID, (uid == 0).then(Vec::new));
            return Found { fs_uid, groups };
        }
        if let Some((read, found)) = self.recent.lock().get(&task)
            && now.saturating_sub(*read) < LIFETIME
        {
            return found.clone();
        }
        let text = status(tid);
        let groups = text.as_deref().map(parse);
        let fs_uid = fs_uid(&text.unwrap_or_default());
        let found = Found { fs_uid, groups };
        self.recent.lock().put(task, (now, found.clone()));
        found
    }
}

fn status_of(tid: u32) -> Option<String> {
    of_task(tid, "status").ok()
}

/// The fourth number of `Uid:` (real, effective, saved, file system; proc_pid_status(5)). Total.
pub(crate) fn fs_uid(status: &str) -> u32 {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    let uid = line.and_then(|uids| uids.split_whitespace().nth(3)?.parse().ok());
    uid.unwrap_or(NO_UID)
}

/// Total.
pub(crate) fn parse(status: &str) -> Vec<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Groups:"));
    line.map_or_else(Vec::new, |groups| {
        groups
            .split_whitespace()
            .filter_map(|group| group.parse().ok())
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: Task = (7, 1000, 1000);

    fn seconds(s: f64) -> Duration {
        Duration::from_secs_f64(s)
    }

    #[test]
    fn groups_are_believed_for_a_second() {
        let groups = Groups::new();
        let text = |groups: &str| Some(format!("Name:\tx\nGroups:\t{groups} \nNStgid:\t7\n"));
        assert_eq!(
            groups.find(TASK, seconds(5.0), |_| text("4 24 1000")).groups,
            Some(vec![4, 24, 1000])
        );
        assert_eq!(
            groups.find(TASK, seconds(5.9), |_| text("9")).groups,
            Some(vec![4, 24, 1000])
        );
        assert_eq!(
            groups.find(TASK, seconds(6.0), |_| text("9")).groups,
            Some(vec![9])
        );
    }

    #[test]
    fn another_identity_under_the_same_thread_id_is_another_task() {
        let groups = Groups::new();
        let one = groups.find(TASK, seconds(5.0), |_| Some("Groups:\t4\n".into()));
        assert_eq!(one.groups, Some(vec![4]));
        let other = groups
            .find((7, 1001, 1000), seconds(5.1), |_| Some("Groups:\t5\n".into()))
            .groups;
        assert_eq!(other, Some(vec![5]));
    }

    #[test]
    fn root_has_none_and_of_nobody_and_the_dead_they_are_not_known() {
        let groups = Groups::new();
        let never = |_| -> Option<String> { unreachable!() };
        let of = |task, status| groups.find(task, seconds(5.0), status).groups;
        assert_eq!(of((0, 1000, 1000), never), None, "a task that cannot be seen");
        assert_eq!(of((7, 0, 0), never), Some(vec![]));
        assert_eq!(
            groups.find(TASK, seconds(5.0), |_| None).groups,
            None,
            "a task that is gone"
        );
    }

    #[test]
    fn the_cache_is_bounded() {
        let groups = Groups::new();
        for tid in 1..5000 {
            let found = groups.find((tid, 1, 1), seconds(5.0), |_| None);
            assert_eq!(found.fs_uid, NO_UID);
        }
        assert_eq!(groups.recent.lock().len(), CAPACITY.get());
    }

    #[test]
    fn the_kernel_says_what_this_process_is_in() {
        let mine: Vec<u32> = nix::unistd::getgroups()
            .unwrap()
            .iter()
            .map(|g| g.as_raw())
            .collect();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let (mut mine, mut read) = (mine, parse(&status));
        mine.sort_unstable();
        read.sort_unstable();
        assert_eq!(read, mine);
    }

    #[test]
    fn the_uid_of_the_file_system_is_the_fourth_number() {
        let of = |text: &str| fs_uid(text);
        assert_eq!(
            of("Name:\tx\nUid:\t1000\t1001\t1002\t1003\nGid:\t7\t7\t7\t7\n"),
            1003
        );
        assert_eq!(of("Uid:\t0\t0\t0\t0\n"), 0);
        for odd in [
            "",
            "Uid:",
            "Uid:\t1\t2\t3\n",
            "Uid:\t1\t2\t3\tx\n",
            "Uid:\t1\t2\t3\t4294967296\n",
        ] {
            assert_eq!(of(odd), NO_UID, "{odd:?}");
        }
        let groups = Groups::new();
        assert_eq!(
            groups.fs_uid(0, seconds(1.0)),
            NO_UID,
            "a task that cannot be seen"
        );
        let mine = nix::unistd::geteuid().as_raw();
        assert_eq!(
            groups.fs_uid(nix::unistd::gettid().as_raw().unsigned_abs(), seconds(1.0)),
            mine
        );
    }
}
