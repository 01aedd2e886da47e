//! /dev/fuse of the namespace that a job comes from.
//!
//! Inside another mount namespace that path is whatever its owner put there, or nothing. So the device is found before the namespace is
//! entered, without opening it, is looked at, and opened only when something is mounted.

use super::error::{DEVICE, MountError};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, SFlag, fstat, major, minor};
use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// Device number of /dev/fuse (Documentation/admin-guide/devices.txt).
const NUMBER: (u64, u64) = (10, 229);

/// /dev/fuse, found and not opened; or why it was not found.
#[derive(Debug)]
pub(super) struct FuseDevice(Result<OwnedFd, Errno>);

impl FuseDevice {
    /// What /dev/fuse is now, in this thread's mount namespace.
    pub(super) fn find() -> Self {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Self(open(DEVICE, flags, Mode::empty()))
    }

    /// Opens it. The working directory is `/proc/thread-self`.
    ///
    /// # Errors
    /// It was not found, is another file, or has no driver.
    pub(super) fn open(&self) -> Result<File, MountError> {
        let failed = |error: Errno| MountError::Device(error.into());
        let found = self.0.as_ref().map_err(|error| failed(*error))?;
        if !is_fuse(found).map_err(failed)? {
            return Err(MountError::OtherDevice);
        }
        let path = format!("fd/{}", found.as_raw_fd());
        let opened = OpenOptions::new().read(true).write(true).open(path);
        opened.map_err(MountError::Device)
    }
}

/// True for a descriptor of the character device that the kernel's FUSE has.
///
/// # Errors
/// fstat(2) failed.
pub(crate) fn is_fuse(device: &impl AsFd) -> Result<bool, Errno> {
    let stat = fstat(device)?;
    let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
    Ok(kind == SFlag::S_IFCHR && (major(stat.st_rdev), minor(stat.st_rdev)) == NUMBER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mount::Namespace;

    #[test]
    fn only_the_device_itself_is_opened() {
        let other = tempfile::NamedTempFile::new().unwrap();
        let path = |path: &std::path::Path| open(path, OFlag::O_PATH, Mode::empty());
        for (file, is) in [(other.path(), false), (std::path::Path::new("/dev/null"), false)] {
            assert_eq!(is_fuse(&path(file).unwrap()), Ok(is));
            let line = FuseDevice(path(file)).open().unwrap_err().to_string();
            assert!(line.starts_with("/dev/fuse is another file"), "{line}");
        }
        let line = FuseDevice(Err(Errno::ENOENT)).open().unwrap_err().to_string();
        assert!(line.contains("modprobe fuse"), "{line}");
        if !nix::unistd::geteuid().is_root() || !std::path::Path::new(DEVICE).exists() {
            return;
        }
        let device = FuseDevice::find();
        let opened = Namespace::own()
            .unwrap()
            .enter(|_| device.open().map(|file| is_fuse(&file)));
        assert_eq!(opened.unwrap().unwrap(), Ok(true));
    }
}
