//! A mount that is made before it is anywhere: it can be served first, and then be put in its place without anything being bare
//! meanwhile. mount(2) makes one only in its place.

use super::attach::KernelFlags;
use super::error::MountError;
use super::table::Device;
use super::table::FS_TYPE;
use nix::errno::Errno;
use rustix::fs::{AtFlags, StatxFlags, statx};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string,
    fsmount, fsopen,
};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// A mount that is not anywhere yet. Dropped before it was put in its place, it is gone.
#[derive(Debug)]
pub struct Detached(OwnedFd);

impl Detached {
    /// Makes one for an open /dev/fuse, with the options of a mount that mount(2) makes. Nothing in it answers before that is served.
    ///
    /// # Errors
    /// What failed and how to mend it.
    pub(super) fn make(source: &str, flags: KernelFlags, fuse: File) -> Result<(Self, OwnedFd), MountError> {
        let made = configured(source, flags, &fuse);
        let root = made.map_err(|error| MountError::Unmade {
            of: source.to_owned(),
            source: errno(error),
        })?;
        Ok((Self(root), fuse.into()))
    }

    /// Its device number, which nobody has to be asked for.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn device(&self) -> io::Result<Device> {
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        let found = statx(&self.0, "", flags, StatxFlags::TYPE)?;
        Ok(Device {
            major: found.stx_dev_major,
            minor: found.stx_dev_minor,
        })
    }
}

impl AsFd for Detached {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn configured(source: &str, flags: KernelFlags, fuse: &File) -> rustix::io::Result<OwnedFd> {
    let context = fsopen("fuse", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let subtype = FS_TYPE.trim_start_matches("fuse.");
    let number = fuse.as_raw_fd().to_string();
    let values = [
        ("source", source),
        ("subtype", subtype),
        ("fd", &number),
        ("rootmode", "40000"),
        ("user_id", "0"),
        ("group_id", "0"),
    ];
    for (key, value) in values {
        fsconfig_set_string(&context, key, value)?;
    }
    for key in ["allow_other", "default_permissions"] {
        fsconfig_set_flag(&context, key)?;
    }
    let switches = [
        (flags.read_only, "ro"),
        (flags.sync, "sync"),
        (flags.dirsync, "dirsync"),
    ];
    for (_, key) in switches.into_iter().filter(|(on, _)| *on) {
        fsconfig_set_flag(&context, key)?;
    }
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes(flags))
}

/// As mount(2) understands its flags: `relatime` is what is meant without a word, and `strictatime` is stronger than the others.
fn attributes(flags: KernelFlags) -> MountAttrFlags {
    let plain = !flags.strictatime;
    let switches = [
        (flags.read_only, MountAttrFlags::MOUNT_ATTR_RDONLY),
        (!flags.suid, MountAttrFlags::MOUNT_ATTR_NOSUID),
        (!flags.dev, MountAttrFlags::MOUNT_ATTR_NODEV),
        (flags.noexec, MountAttrFlags::MOUNT_ATTR_NOEXEC),
        (flags.strictatime, MountAttrFlags::MOUNT_ATTR_STRICTATIME),
        (plain && flags.noatime, MountAttrFlags::MOUNT_ATTR_NOATIME),
        (flags.nodiratime, MountAttrFlags::MOUNT_ATTR_NODIRATIME),
    ];
    let chosen = switches.into_iter().filter_map(|(on, flag)| on.then_some(flag));
    chosen.fold(MountAttrFlags::empty(), |all, flag| all | flag)
}

/// An error of rustix as one of nix, which the rest of this module speaks.
pub(super) fn errno(error: rustix::io::Errno) -> Errno {
    Errno::from_raw(error.raw_os_error())
}
