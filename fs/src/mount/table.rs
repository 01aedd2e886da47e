//! The mount table of a process, from mountinfo (proc(5)): the way to learn what is mounted where without a request to a file
//! system, which would wait for a handler that is just being set up, or for one that hangs.

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::write;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// The type that `/proc/mounts`, `df -T` and `findmnt` show.
pub(super) const FS_TYPE: &str = "fuse.rdmafs";

/// Device number of a mounted file system, as `stat(2)` gives it: unique among the mounts of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

/// A line of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MountPoint {
    /// Of this mount, as the `fdinfo` of an open file has it.
    pub id: u64,
    /// Of the mount that it stands on or in.
    pub parent: u64,
    /// The device number of what is mounted there.
    pub device: Device,
    /// Where, as the process that was asked sees it.
    pub dir: PathBuf,
    /// `node:/pool` for those of ours.
    pub source: String,
    /// Made by root, of type `fuse.rdmafs`, and whole: no bind mount of a directory in it. An ordinary user can make a mount of this
    /// type with fusermount3, which writes the user's id into it.
    pub is_ours: bool,
    /// Set-id programs in it give rights: it is not nosuid.
    pub suid: bool,
    /// Devices in it are devices: it is not nodev.
    pub dev: bool,
}

/// What a process sees, a later mount above an earlier one of the same directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountTable(Vec<MountPoint>);

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
    /// The mount is gone, or the kernel's list of FUSE connections cannot be had.
    pub fn abort(self) -> io::Result<()> {
        // The list is a file system of its own, which need not be mounted anywhere.
        let context = fsopen("fusectl", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_create(&context)?;
        let list = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
        // FUSE devices are anonymous: the minor number is the connection's (major 0).
        let path = format!("{}/abort", self.minor);
        let file = openat(
            &list,
            path.as_str(),
            OFlag::O_WRONLY | OFlag::O_CLOEXEC,
            Mode::empty(),
        )?;
        write(&file, b"1")?;
        Ok(())
    }
}

impl MountTable {
    /// Reads mountinfo(5); lines that are not of its form are passed over.
    #[must_use]
    pub fn parse(text: &[u8]) -> Self {
        Self(text.split(|byte| *byte == b'\n').filter_map(parse).collect())
    }

    /// How many mounts there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &MountPoint> {
        self.0.iter()
    }

    /// The topmost mount on `dir`.
    #[must_use]
    pub fn topmost(&self, dir: &Path) -> Option<&MountPoint> {
        let on_dir = || self.0.iter().rev().filter(|mount| mount.dir == dir);
        let covered = |mount: &MountPoint| on_dir().any(|other| other.parent == mount.id);
        on_dir().find(|mount| !covered(mount))
    }

    /// The mount with this id.
    #[must_use]
    pub fn get(&self, id: u64) -> Option<&MountPoint> {
        self.0.iter().find(|mount| mount.id == id)
    }

    /// What is mounted over `mount`, in it, in those, and so on.
    #[must_use]
    pub fn above(&self, mount: &MountPoint) -> Vec<&MountPoint> {
        let mut found = Vec::new();
        let mut ids = vec![mount.id];
        while let Some(id) = ids.pop() {
            for child in self.0.iter().filter(|other| other.parent == id && other.id != id) {
                ids.push(child.id);
                found.push(child);
            }
        }
        found
    }
}

/// `36 35 0:45 / /mnt/far rw,nosuid shared:1 - fuse.rdmafs node1:/pool rw,user_id=0,...`
fn parse(line: &[u8]) -> Option<MountPoint> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let dash = fields.iter().position(|field| *field == b"-")?;
    let text = |index: usize| std::str::from_utf8(fields.get(index)?).ok();
    let (major, minor) = text(2)?.split_once(':')?;
    let of_root = fields
        .get(dash + 3)?
        .split(|byte| *byte == b',')
        .any(|word| word == b"user_id=0");
    let whole = *fields.get(3)? == b"/";
    let kind = *fields.get(dash + 1)?;
    let is_without = |word: &str| {
        let options = fields.get(5).map(|options| options.split(|byte| *byte == b','));
        options.is_some_and(|mut options| options.any(|option| option == word.as_bytes()))
    };
    Some(MountPoint {
        id: text(0)?.parse().ok()?,
        parent: text(1)?.parse().ok()?,
        device: Device {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
        },
        dir: PathBuf::from(OsString::from_vec(unescape(fields.get(4)?))),
        source: String::from_utf8_lossy(&unescape(fields.get(dash + 2)?)).into_owned(),
        is_ours: of_root && whole && kind == FS_TYPE.as_bytes(),
        suid: !is_without("nosuid"),
        dev: !is_without("nodev"),
    })
}

/// Space, tab, newline and backslash stand there as `\040` and the like.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let octal = tail.get(..3).filter(|_| *first == b'\\');
        let code = octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &tail[3..] } else { tail };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TABLE: &str = "\
22 1 0:20 / /proc rw,nosuid - proc proc rw
36 35 0:45 / /mnt/far rw,nosuid,nodev shared:7 master:1 - fuse.rdmafs node1:/pool rw,user_id=0,group_id=0
37 36 0:46 / /mnt/far rw - fuse.rdmafs node1:/pool rw,user_id=0
38 37 0:47 / /mnt/far/a\\040b\\134c rw - tmpfs none rw
39 35 0:48 / /mnt/user rw - fuse.rdmafs node1:/pool rw,user_id=1000,group_id=0
40 35 0:45 /sub /mnt/bind rw - fuse.rdmafs node1:/pool rw,user_id=0
broken
41 35 0:49 / /mnt/s3 rw - fuse.other bucket rw,user_id=0
";

    #[test]
    fn ours_are_those_of_root_of_our_type_and_whole() {
        let table = MountTable::parse(TABLE.as_bytes());
        assert_eq!(table.len(), 7);
        let ours: Vec<_> = table
            .iter()
            .filter(|mount| mount.is_ours)
            .map(|mount| mount.id)
            .collect();
        assert_eq!(ours, [36, 37]);
        let gives = |id: u64| table.get(id).map(|mount| (mount.suid, mount.dev));
        assert_eq!(
            (gives(36), gives(37), gives(22)),
            (Some((false, false)), Some((true, true)), Some((false, true)))
        );
        assert_eq!(table.get(38).unwrap().dir, Path::new("/mnt/far/a b\\c"));
        assert_eq!(table.get(36).unwrap().source, "node1:/pool");
    }

    /// What fusermount3 makes of options with which a user would pass for root.
    #[test]
    fn no_words_of_a_user_make_a_mount_ours() {
        let made = [
            r"fuse.rdmafs n:/p rw,user_id=65534,group_id=65534",
            r"fuse.rdmafs n:/p,user_id=0 rw,user_id=65534,group_id=65534",
            r"fuse.rdmafs n:/p\040rw\040user_id=0 rw,user_id=65534,group_id=65534",
            r"fuse.rdmafs\040n:/p\040rw,user_id=0 x rw,user_id=65534,group_id=65534",
            r"fuse.rdmafs n:/p\040-\040fuse.rdmafs\040n:/p\040rw,user_id=0 rw,user_id=65534,group_id=65534",
        ];
        for line in made {
            let line = format!("82 45 0:41 / /d rw,nosuid,nodev,relatime - {line}");
            let table = MountTable::parse(line.as_bytes());
            assert_eq!(table.iter().filter(|mount| mount.is_ours).count(), 0, "{line}");
            assert_eq!(table.len(), 1, "{line}");
        }
    }

    #[test]
    fn the_topmost_is_the_one_that_nothing_covers_whatever_the_order_of_lines() {
        let table = MountTable::parse(TABLE.as_bytes());
        assert_eq!(table.topmost(Path::new("/mnt/far")).unwrap().id, 37);
        assert!(table.topmost(Path::new("/mnt")).is_none());
        let turned: Vec<&str> = TABLE.lines().rev().collect();
        let turned = MountTable::parse(turned.join("\n").as_bytes());
        assert_eq!(turned.topmost(Path::new("/mnt/far")).unwrap().id, 37);
    }

    #[test]
    fn what_stands_above_a_mount_is_all_that_falls_with_it() {
        let table = MountTable::parse(TABLE.as_bytes());
        let above = |id| {
            table
                .above(table.get(id).unwrap())
                .iter()
                .map(|mount| mount.id)
                .collect::<Vec<_>>()
        };
        assert_eq!(above(36), [37, 38]);
        assert_eq!(above(37), [38]);
        assert!(above(38).is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_table(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            drop(MountTable::parse(&bytes));
        }
    }
}
