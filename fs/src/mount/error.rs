//! Why a mount could not be made, moved, changed or removed. Each shows as one line with the remedy; the caller of mount(8) reads it, or
//! whoever reads the handler's log.

use nix::errno::Errno;
use rdmafs_rdma::shown::shown;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The file that FUSE sessions are opened by.
pub(super) const DEVICE: &str = "/dev/fuse";

/// A step of mounting that failed.
#[derive(Debug, Error)]
pub enum MountError {
    /// `/dev/fuse` cannot be opened.
    #[error("{}", device_line(.0))]
    Device(#[source] io::Error),
    /// Something else stands where the device should be.
    #[error(
        "{DEVICE} is another file than the character device 10:229: remove it, and make it anew with 'mknod {DEVICE} c 10 229'"
    )]
    OtherDevice,
    /// Only root can mount on this directory.
    #[error("{}: only root can mount; use sudo, or an /etc/fstab line that root mounts", shown(.0))]
    NotRoot(PathBuf),
    /// The directory cannot be opened, so nothing can be mounted on it.
    #[error("{}", unusable_line(.dir, *.source))]
    Unusable {
        /// The directory.
        dir: PathBuf,
        /// What open(2) says.
        source: Errno,
    },
    /// The directory is another one than was mounted on before.
    #[error("{} is not the directory any more that was mounted on", shown(.0))]
    OtherDirectory(PathBuf),
    /// mount(2) refused.
    #[error("{}", refused_line(.dir, *.source))]
    Refused {
        /// The directory.
        dir: PathBuf,
        /// What mount(2) says.
        source: Errno,
    },
    /// fsopen(2) or fsmount(2) refused to make a mount that is not anywhere yet.
    #[error("{}", unmade_line(.of, *.source))]
    Unmade {
        /// What is mounted: `NODE:/POOL`.
        of: String,
        /// What the kernel says.
        source: Errno,
    },
    /// move_mount(2) did not put a new mount on the directory.
    #[error("mount on {}: {}", shown(.dir), .source.desc())]
    Move {
        /// The directory.
        dir: PathBuf,
        /// What move_mount(2) says.
        source: Errno,
    },
    /// The directory was moved while it was being mounted on.
    #[error("{} was moved while it was being mounted on", shown(.0))]
    MovedMeanwhile(PathBuf),
    /// The flags of a mount cannot be changed.
    #[error("{}", flags_line(.dir, *.source))]
    Flags {
        /// The directory.
        dir: PathBuf,
        /// What mount(2) says.
        source: Errno,
    },
    /// umount(2) refused.
    #[error("cannot unmount {}: {}", shown(.dir), .source.desc())]
    Unmount {
        /// The directory.
        dir: PathBuf,
        /// What umount(2) says.
        source: Errno,
    },
    /// `/proc` does not say what is mounted.
    #[error("cannot read the mount table: {0}")]
    Table(#[source] io::Error),
    /// What is mounted on the directory is another file system.
    #[error("{} is no mount of rdmafs", shown(.0))]
    NotOurs(PathBuf),
    /// Another mount appeared on the directory, or the one there went away.
    #[error("what is mounted on {} has just changed: try again", shown(.0))]
    Changed(PathBuf),
    /// Something else stands over the mount on this directory.
    #[error("something else is mounted over {}: unmount that", shown(.0))]
    Over(PathBuf),
    /// A mount lies in the mount on this directory.
    #[error("{0} is mounted in {1}: 'umount -l {1}' detaches both", shown(.other), shown(.dir))]
    Within {
        /// The directory.
        dir: PathBuf,
        /// Where the other mount is.
        other: PathBuf,
    },
    /// A mount keeps its place, for this reason.
    #[error("{0}")]
    Kept(String),
}

impl MountError {
    /// The directory is not there, or not the one that was expected: trying again is of no use.
    #[must_use]
    pub fn is_of_the_place(&self) -> bool {
        match self {
            Self::OtherDirectory(_) => true,
            Self::Unusable { source, .. } => {
                matches!(source, Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP)
            }
            Self::Device(_)
            | Self::OtherDevice
            | Self::NotRoot(_)
            | Self::Refused { .. }
            | Self::Unmade { .. }
            | Self::Move { .. }
            | Self::MovedMeanwhile(_)
            | Self::Flags { .. }
            | Self::Unmount { .. }
            | Self::Table(_)
            | Self::NotOurs(_)
            | Self::Changed(_)
            | Self::Over(_)
            | Self::Within { .. }
            | Self::Kept(_) => false,
        }
    }

    pub(super) fn unusable(dir: &Path, source: Errno) -> Self {
        let dir = dir.to_owned();
        Self::Unusable { dir, source }
    }
}

fn device_line(error: &io::Error) -> String {
    match error.kind() {
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
    }
}

fn unusable_line(dir: &Path, error: Errno) -> String {
    let shown = shown(&dir);
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

fn refused_line(dir: &Path, error: Errno) -> String {
    let shown = shown(&dir);
    match error {
        Errno::EPERM | Errno::EACCES => format!(
            "the kernel does not let this process mount on {shown}: CAP_SYS_ADMIN is needed (in a container: --cap-add SYS_ADMIN)"
        ),
        Errno::ENODEV => "this kernel has no FUSE: load it with 'modprobe fuse'".into(),
        Errno::EBUSY => format!("{shown} is busy: another process is mounting or unmounting it; try again"),
        _ => format!("mount on {shown}: {}", error.desc()),
    }
}

fn unmade_line(of: &str, error: Errno) -> String {
    match error {
        Errno::ENOSYS => "this kernel is too old: Linux 5.6 or newer is needed (fsopen)".into(),
        Errno::ENODEV => "this kernel has no FUSE: load it with 'modprobe fuse'".into(),
        Errno::EPERM => "the kernel does not let this process mount: CAP_SYS_ADMIN is needed".into(),
        _ => format!("cannot make a mount of {of}: {}", io::Error::from(error)),
    }
}

fn flags_line(dir: &Path, error: Errno) -> String {
    let shown = shown(&dir);
    match error {
        Errno::EBUSY => {
            format!("files are open for writing: 'fuser -vm {shown}' shows by whom; close them and try again")
        }
        _ => format!("remount of {shown}: {}", error.desc()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_none_is_said_with_its_remedy() {
        let unusable = |errno| MountError::unusable(Path::new("/mnt/far"), errno);
        let text = unusable(Errno::ENOENT).to_string();
        assert!(
            text.contains("does not exist: make it with 'mkdir -p /mnt/far'"),
            "{text}"
        );
        for (errno, part) in [
            (Errno::ENOTDIR, "is not a directory"),
            (Errno::ELOOP, "symbolic link"),
            (Errno::ENOTCONN, "umount -l /mnt/far"),
        ] {
            assert!(unusable(errno).to_string().contains(part), "{errno}");
        }
    }

    #[test]
    fn what_the_kernel_refuses_names_the_remedy() {
        let dir = || PathBuf::from("/mnt/far");
        let refused = |source| MountError::Refused { dir: dir(), source }.to_string();
        assert!(refused(Errno::EPERM).contains("CAP_SYS_ADMIN"));
        assert!(refused(Errno::ENODEV).contains("modprobe fuse"));
        assert!(refused(Errno::EINVAL).contains("/mnt/far"));
    }

    #[test]
    fn only_what_is_wrong_with_the_place_is_of_the_place() {
        let of_the_place = |errno| MountError::unusable(Path::new("/mnt/far"), errno).is_of_the_place();
        assert!([Errno::ENOENT, Errno::ENOTDIR, Errno::ELOOP].map(of_the_place) == [true; 3]);
        assert!(!of_the_place(Errno::ENOTCONN) && !of_the_place(Errno::EACCES));
        assert!(MountError::OtherDirectory("/mnt/far".into()).is_of_the_place());
        assert!(!MountError::Over("/mnt/far".into()).is_of_the_place());
    }

    #[test]
    fn a_mount_within_names_both_directories() {
        let within = MountError::Within {
            dir: "/c".into(),
            other: "/c/tmp".into(),
        };
        assert_eq!(
            within.to_string(),
            "/c/tmp is mounted in /c: 'umount -l /c' detaches both"
        );
    }
}
