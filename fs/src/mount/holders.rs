//! Who still has a mount that was unmounted here: copies of it in other mount namespaces (containers, services with `PrivateMounts=`),
//! and bind mounts. As long as there is one, the mount is served.

use super::table::{Device, MountTable};
use rdmafs_rdma::shown::shown;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A mount namespace, by a process that lives in it, that has a mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The process with the lowest id.
    pub pid: u32,
    /// What it runs (its comm).
    pub name: String,
    /// How many processes live there.
    pub processes: usize,
    /// Where the mount is, as they see it.
    pub dir: PathBuf,
}

/// All that have the mount with this number, this process's own namespace included. Processes that cannot be looked at are passed over.
/// Blocking, for some milliseconds for each thousand processes.
#[must_use]
pub fn holders(device: Device) -> Vec<Holder> {
    let mut namespaces: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
    for pid in processes() {
        if let Ok(namespace) = fs::metadata(format!("/proc/{pid}/ns/mnt")) {
            namespaces.entry(namespace.ino()).or_default().push(pid);
        }
    }
    let mut found: Vec<_> = namespaces
        .into_values()
        .filter_map(|pids| holder(device, &pids))
        .collect();
    found.sort_by_key(|holder| holder.pid);
    found
}

fn processes() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids: Vec<u32> = entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    pids
}

/// The first process may have ended by now: the next one sees the same.
fn holder(device: Device, pids: &[u32]) -> Option<Holder> {
    let observed = pids.iter().find_map(|pid| {
        let text = fs::read(Path::new("/proc").join(pid.to_string()).join("mountinfo")).ok()?;
        Some((*pid, MountTable::parse(&text)))
    });
    let (pid, table) = observed?;
    let mount = table.iter().find(|mount| mount.device == device)?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some(Holder {
        pid,
        name: name.trim().to_owned(),
        processes: pids.len(),
        dir: mount.dir.clone(),
    })
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let more = match self.processes {
            0 | 1 => String::new(),
            count => format!(" and {} more", count - 1),
        };
        let (pid, name, dir) = (self.pid, shown(&self.name), shown(&self.dir));
        write!(
            f,
            "{dir} of process {pid} ({name}){more}: 'nsenter -t {pid} -m umount {dir}'"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_holds_what_is_mounted_on_proc() {
        let table = MountTable::parse(&fs::read("/proc/self/mountinfo").unwrap());
        let proc = table.topmost(Path::new("/proc")).unwrap().device;
        let found = holders(proc);
        assert!(!found.is_empty());
        assert!(
            holders(Device {
                major: 0,
                minor: 1 << 30
            })
            .is_empty()
        );
    }

    #[test]
    fn a_holder_is_said_with_the_remedy() {
        let holder = Holder {
            pid: 12,
            name: "sleep".into(),
            processes: 3,
            dir: "/mnt/far".into(),
        };
        assert_eq!(
            holder.to_string(),
            "/mnt/far of process 12 (sleep) and 2 more: 'nsenter -t 12 -m umount /mnt/far'"
        );
    }
}
