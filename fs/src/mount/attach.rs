//! mount(2), with words for what goes wrong.

use super::directory::Directory;
use super::error::MountError;
use super::table::FS_TYPE;
use nix::mount::{MsFlags, mount};
use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::Path;

/// What the kernel is told at mount(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the names of mount(8)")]
pub struct KernelFlags {
    pub read_only: bool,
    pub suid: bool,
    pub dev: bool,
    pub noexec: bool,
    pub noatime: bool,
    pub nodiratime: bool,
    pub relatime: bool,
    pub strictatime: bool,
    pub sync: bool,
    pub dirsync: bool,
}

/// Mounts `device` on the directory that `beneath` holds, called `dir` in words, as `fuse.rdmafs` with `allow_other,default_permissions`,
/// and nosuid and nodev unless the flags say otherwise. Nothing under `dir` answers before the handler has the descriptor.
/// The working directory is `/proc/thread-self`.
///
/// # Errors
/// What failed and how to mend it.
pub(super) fn mount_on(
    beneath: &Directory,
    dir: &Path,
    source: &str,
    flags: KernelFlags,
    device: File,
) -> Result<OwnedFd, MountError> {
    let dir = || dir.to_owned();
    if !geteuid().is_root() {
        return Err(MountError::NotRoot(dir()));
    }
    let data = kernel_data(device.as_raw_fd());
    let target = format!("fd/{}", beneath.number());
    mount(
        Some(source),
        target.as_str(),
        Some(FS_TYPE),
        flags.to_kernel(),
        Some(data.as_str()),
    )
    .map_err(|source| MountError::Refused { dir: dir(), source })?;
    Ok(device.into())
}

/// Changes the flags of the mount whose root `root` holds, called `dir` in words. The working directory is `/proc/thread-self`.
/// Blocking: the kernel writes back what is dirty before it takes the right to write away.
///
/// # Errors
/// What failed and how to mend it.
pub(super) fn change_flags(root: &Directory, dir: &Path, flags: KernelFlags) -> Result<(), MountError> {
    let target = format!("fd/{}", root.number());
    let flags = flags.to_kernel() | MsFlags::MS_REMOUNT;
    mount(None::<&str>, target.as_str(), None::<&str>, flags, None::<&str>).map_err(|source| {
        let dir = dir.to_owned();
        MountError::Flags { dir, source }
    })
}

impl KernelFlags {
    fn to_kernel(self) -> MsFlags {
        let switches = [
            (!self.suid, MsFlags::MS_NOSUID),
            (!self.dev, MsFlags::MS_NODEV),
            (self.read_only, MsFlags::MS_RDONLY),
            (self.noexec, MsFlags::MS_NOEXEC),
            (self.noatime, MsFlags::MS_NOATIME),
            (self.nodiratime, MsFlags::MS_NODIRATIME),
            (self.relatime, MsFlags::MS_RELATIME),
            (self.strictatime, MsFlags::MS_STRICTATIME),
            (self.sync, MsFlags::MS_SYNCHRONOUS),
            (self.dirsync, MsFlags::MS_DIRSYNC),
        ];
        switches
            .into_iter()
            .filter_map(|(on, flag)| on.then_some(flag))
            .collect()
    }
}

/// `max_read` is left out: without it the kernel reads as much at once as INIT allows.
fn kernel_data(device: RawFd) -> String {
    format!("fd={device},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suid_and_dev_must_be_asked_for() {
        let plain = KernelFlags::default().to_kernel();
        assert_eq!(plain, MsFlags::MS_NOSUID | MsFlags::MS_NODEV);
        let asked = KernelFlags {
            suid: true,
            dev: true,
            read_only: true,
            noexec: true,
            ..KernelFlags::default()
        };
        assert_eq!(asked.to_kernel(), MsFlags::MS_RDONLY | MsFlags::MS_NOEXEC);
    }

    #[test]
    fn the_kernel_decides_permissions_and_reads_are_not_cut() {
        let data = kernel_data(7);
        assert!(data.starts_with("fd=7,rootmode=40000,"));
        assert!(data.ends_with("allow_other,default_permissions"));
        assert!(!data.contains("max_read"));
    }
}
