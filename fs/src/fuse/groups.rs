//! The supplementary groups of a calling task.
//!
//! FUSE does not carry them, so they are read from /proc/TID/status and believed for a second. The kernel has decided
//! with the real ones before the request came (`default_permissions`); here they serve the service's second check. Entries are
//! found by thread id, uid and gid together: a thread id that is used again within the second meets an old entry
//! only under the same uid and gid.

use crate::process::of_task;
use lru::LruCache;
use parking_lot::Mutex;
use std::num::NonZeroUsize;
use std::time::Duration;

const LIFETIME: Duration = Duration::from_secs(1);
const CAPACITY: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// A task as the request names it: thread id, uid, gid.
type Task = (u32, u32, u32);

/// Recently read groups. The lock is held for the look-up only, never while /proc is read.
#[derive(Debug)]
pub(super) struct Groups {
    recent: Mutex<LruCache<Task, (Duration, Vec<u32>)>>,
}

impl Groups {
    pub(super) fn new() -> Self {
        Self {
            recent: Mutex::new(LruCache::new(CAPACITY)),
        }
    }

    /// The groups of `task`, not older than a second. None for uid 0, who needs none; for thread id 0, a task that
    /// cannot be seen; and for a task that is gone.
    pub(super) fn of(&self, task: Task, now: Duration) -> Vec<u32> {
        self.of_with(task, now, |tid| of_task(tid, "status").ok())
    }

    fn of_with(&self, task: Task, now: Duration, status: impl FnOnce(u32) -> Option<String>) -> Vec<u32> {
        let (tid, uid, _) = task;
        if tid == 0 || uid == 0 {
            return Vec::new();
        }
        if let Some((read, groups)) = self.recent.lock().get(&task)
            && now.saturating_sub(*read) < LIFETIME
        {
            return groups.clone();
        }
        let groups = status(tid).map_or_else(Vec::new, |text| parse(&text));
        self.recent.lock().put(task, (now, groups.clone()));
        groups
    }
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
            groups.of_with(TASK, seconds(5.0), |_| text("4 24 1000")),
            [4, 24, 1000]
        );
        assert_eq!(groups.of_with(TASK, seconds(5.9), |_| text("9")), [4, 24, 1000]);
        assert_eq!(groups.of_with(TASK, seconds(6.0), |_| text("9")), [9]);
    }

    #[test]
    fn another_identity_under_the_same_thread_id_is_another_task() {
        let groups = Groups::new();
        groups.of_with(TASK, seconds(5.0), |_| Some("Groups:\t4\n".into()));
        let other = groups.of_with((7, 1001, 1000), seconds(5.1), |_| Some("Groups:\t5\n".into()));
        assert_eq!(other, [5]);
    }

    #[test]
    fn nobody_root_and_the_dead_have_none() {
        let groups = Groups::new();
        let never = |_| -> Option<String> { unreachable!() };
        assert!(groups.of_with((0, 1000, 1000), seconds(5.0), never).is_empty());
        assert!(groups.of_with((7, 0, 0), seconds(5.0), never).is_empty());
        assert!(groups.of_with(TASK, seconds(5.0), |_| None).is_empty());
    }

    #[test]
    fn the_cache_is_bounded() {
        let groups = Groups::new();
        for tid in 1..5000 {
            groups.of_with((tid, 1, 1), seconds(5.0), |_| None);
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
}
