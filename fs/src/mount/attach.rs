//! mount(2), with words for what goes wrong.

use super::directory::Directory;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::Path;

/// The type that `/proc/mounts`, `df -T` and `findmnt` show.
pub(super) const FS_TYPE: &str = "fuse.rdmafs";

const DEVICE: &str = "/dev/fuse";

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

/// Opens /dev/fuse. Before another mount namespace is entered: there may be none inside.
///
/// # Errors
/// One line: why not, and how to mend it.
pub(super) fn open_device() -> Result<File, String> {
    let opened = OpenOptions::new().read(true).write(true).open(DEVICE);
    opened.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            format!(
                "{DEVICE} is missing: load it with 'modprobe fuse' (in a container: pass --device {DEVICE})"
            )
        }
        _ if error.raw_os_error() == Some(libc::ENODEV) => {
            format!("{DEVICE} has no driver: load it with 'modprobe fuse'")
        }
        io::ErrorKind::PermissionDenied => {
            format!("{DEVICE}: {error}; in a container: pass --device {DEVICE}")
        }
        _ => format!("{DEVICE}: {error}"),
    })
}

/// Mounts `device` on the directory that `beneath` holds, called `dir` in words, as `fuse.rdmafs` with `allow_other,default_permissions`,
/// and nosuid and nodev unless the flags say otherwise. Nothing under `dir` answers before the handler has the descriptor.
/// The working directory is `/proc/thread-self`.
///
/// # Errors
/// One line: what failed and how to mend it.
pub(super) fn mount_on(
    beneath: &Directory,
    dir: &Path,
    source: &str,
    flags: KernelFlags,
    device: File,
) -> Result<OwnedFd, String> {
    if !geteuid().is_root() {
        return Err(format!(
            "{}: only root can mount; use sudo, or an /etc/fstab line that root mounts",
            dir.display()
        ));
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
    .map_err(|error| refused(dir, error))?;
    Ok(device.into())
}

/// Changes the flags of the mount whose root `root` holds, called `dir` in words. The working directory is `/proc/thread-self`.
/// Blocking: the kernel writes back what is dirty before it takes the right to write away.
///
/// # Errors
/// One line: what failed and how to mend it.
pub(super) fn change_flags(root: &Directory, dir: &Path, flags: KernelFlags) -> Result<(), String> {
    let target = format!("fd/{}", root.number());
    let flags = flags.to_kernel() | MsFlags::MS_REMOUNT;
    mount(None::<&str>, target.as_str(), None::<&str>, flags, None::<&str>).map_err(|error| {
        let shown = dir.display();
        match error {
            Errno::EBUSY => format!(
                "files are open for writing: 'fuser -vm {shown}' shows by whom; close them and try again"
            ),
            _ => format!("remount of {shown}: {}", error.desc()),
        }
    })
}

/// Words for a directory that cannot be mounted on.
pub(super) fn unusable(dir: &Path, error: Errno) -> String {
    let shown = dir.display();
    match error {
        Errno::ENOENT => format!("{shown} does not exist: make it with 'mkdir -p {shown}'"),
        Errno::ENOTDIR => format!("{shown} is not a directory: mount on an existing directory"),
        Errno::ELOOP => format!("a symbolic link stands in the path {shown}: name the directory itself"),
        Errno::ENOTCONN => {
            format!("{shown} is a mount whose handler died: remove it with 'umount -l {shown}'")
        }
        Errno::ENOSYS => "this kernel is too old: Linux 5.6 or newer is needed (openat2)".into(),
        _ => format!("{shown}: {}", error.desc()),
    }
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

fn refused(dir: &Path, error: Errno) -> String {
    let shown = dir.display();
    match error {
        Errno::EPERM | Errno::EACCES => format!(
            "the kernel does not let this process mount on {shown}: CAP_SYS_ADMIN is needed (in a container: --cap-add SYS_ADMIN)"
        ),
        Errno::ENODEV => "this kernel has no FUSE: load it with 'modprobe fuse'".into(),
        Errno::EBUSY => format!("{shown} is busy: another process is mounting or unmounting it; try again"),
        _ => format!("mount on {shown}: {}", error.desc()),
    }
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

    #[test]
    fn a_directory_that_is_none_is_said_with_its_remedy() {
        let dir = Path::new("/mnt/far");
        let text = unusable(dir, Errno::ENOENT);
        assert!(
            text.contains("does not exist: make it with 'mkdir -p /mnt/far'"),
            "{text}"
        );
        assert!(unusable(dir, Errno::ENOTDIR).contains("is not a directory"));
        assert!(unusable(dir, Errno::ELOOP).contains("symbolic link"));
        assert!(unusable(dir, Errno::ENOTCONN).contains("umount -l /mnt/far"));
    }

    #[test]
    fn what_the_kernel_refuses_names_the_remedy() {
        let dir = Path::new("/mnt/far");
        assert!(refused(dir, Errno::EPERM).contains("CAP_SYS_ADMIN"));
        assert!(refused(dir, Errno::ENODEV).contains("modprobe fuse"));
        assert!(refused(dir, Errno::EINVAL).contains("/mnt/far"));
    }
}
