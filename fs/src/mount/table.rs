//! The mounts of this kind that a process sees, from /proc/PID/mountinfo (proc(5)): the way to learn a mount's device number
//! without a request to the file system, which would wait for a handler that is just being set up.

use super::attach::FS_TYPE;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Device number of a mounted file system, as `stat(2)` gives it: unique among the mounts of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Device {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

/// A mount of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountPoint {
    /// What is mounted there.
    pub device: Device,
    /// Where, as the process that was asked sees it.
    pub dir: PathBuf,
}

/// The mounts of type `fuse.rdmafs` that process `pid` sees, a later one above an earlier one of the same directory.
///
/// # Errors
/// The process is gone or cannot be seen.
pub fn of_process(pid: u32) -> io::Result<Vec<MountPoint>> {
    let table = fs::read(format!("/proc/{pid}/mountinfo"))?;
    Ok(table.split(|byte| *byte == b'\n').filter_map(parse).collect())
}

impl Device {
    /// Sets how much the kernel reads ahead of a sequential reader, in KiB. Needs root.
    ///
    /// # Errors
    /// The mount is gone, or sysfs is not writable here (containers).
    pub fn set_read_ahead(self, kib: u32) -> io::Result<()> {
        let path = format!("/sys/class/bdi/{}:{}/read_ahead_kb", self.major, self.minor);
        fs::write(path, kib.to_string())
    }

    /// Ends the FUSE connection: everyone inside gets ECONNABORTED at once. Needs root.
    ///
    /// # Errors
    /// The mount is gone, or fusectl is not mounted.
    pub fn abort(self) -> io::Result<()> {
        // FUSE devices are anonymous: the minor number is the connection's (major 0).
        fs::write(format!("/sys/fs/fuse/connections/{}/abort", self.minor), "1")
    }
}

impl MountPoint {
    /// The topmost mount on `dir`.
    #[must_use]
    pub fn topmost<'a>(table: &'a [MountPoint], dir: &Path) -> Option<&'a MountPoint> {
        table.iter().rev().find(|mount| mount.dir == dir)
    }
}

/// `36 35 0:45 / /mnt/far rw,nosuid shared:1 - fuse.rdmafs node1:/pool rw,...`
pub(crate) fn parse(line: &[u8]) -> Option<MountPoint> {
    let mut fields = line.split(|byte| *byte == b' ');
    let device = std::str::from_utf8(fields.nth(2)?).ok()?;
    let dir = fields.nth(1)?;
    let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
    let (major, minor) = device.split_once(':')?;
    (kind == FS_TYPE.as_bytes()).then_some(MountPoint {
        device: Device {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
        },
        dir: unescape(dir),
    })
}

/// Space, tab, newline and backslash stand there as `\040` and the like.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let octal = tail.get(..3).filter(|_| *first == b'\\');
        let code = octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &tail[3..] } else { tail };
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mount::{KernelFlags, attach, detach};
    use std::io::Read;

    #[test]
    fn our_mounts_are_found_among_others() {
        let lines = [
            "22 1 0:20 / /proc rw,nosuid - proc proc rw",
            "36 35 0:45 / /mnt/far rw,nosuid,nodev shared:7 master:1 - fuse.rdmafs node1:/pool rw,user_id=0",
            "37 35 0:46 / /mnt/far rw - fuse.rdmafs node1:/pool rw",
            "38 35 0:47 / /mnt/a\\040b\\134c rw - fuse.rdmafs node1:/pool rw",
            "39 35 0:48 / /mnt/s3 rw - fuse.other bucket rw",
            "broken",
            "",
        ];
        let table: Vec<_> = lines.iter().filter_map(|line| parse(line.as_bytes())).collect();
        assert_eq!(table.len(), 3);
        let top = MountPoint::topmost(&table, Path::new("/mnt/far")).unwrap();
        let device = Device { major: 0, minor: 46 };
        assert_eq!(top.device, device);
        assert_eq!(table[2].dir, Path::new("/mnt/a b\\c"));
        assert!(MountPoint::topmost(&table, Path::new("/mnt")).is_none());
    }

    #[test]
    fn the_table_of_this_process_can_be_read() {
        assert!(of_process(std::process::id()).is_ok());
        assert!(of_process(u32::MAX).is_err());
    }

    /// Needs root and /dev/fuse, as every mount does.
    #[test]
    fn a_mount_is_listed_with_a_device_that_can_be_tuned_and_aborted() {
        if !nix::unistd::geteuid().is_root() || !Path::new("/dev/fuse").exists() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap().join("with space");
        fs::create_dir(&dir).unwrap();
        let mut fuse = fs::File::from(attach("node1:/pool", &dir, KernelFlags::default()).unwrap());
        let table = of_process(std::process::id()).unwrap();
        let device = MountPoint::topmost(&table, &dir).map(|found| found.device);
        let tuned = device.map(|device| device.set_read_ahead(1024));
        let aborted = device.map(Device::abort);
        // INIT first, which waited since mount(2), unless the connection is gone.
        let after = fuse.read(&mut [0; 8192]);
        detach(&dir);
        assert!(matches!(tuned, Some(Ok(()))), "{tuned:?}");
        if matches!(aborted, Some(Ok(()))) {
            assert_eq!(after.unwrap_err().raw_os_error(), Some(libc::ENODEV));
        } else {
            // fusectl is not mounted here.
            assert!(after.is_ok(), "{aborted:?} {after:?}");
        }
        let table = of_process(std::process::id()).unwrap();
        assert!(MountPoint::topmost(&table, &dir).is_none());
    }
}
