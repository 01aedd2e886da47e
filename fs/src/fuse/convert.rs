//! The handler's words in fuser's, and back.

use crate::errno::Error;
use crate::handler::{HandleId, OpenMode, Opened, SpaceChange, WriteMode};
use fuser::{
    Errno, FileAttr, FileHandle, FileType, FopenFlags, INodeNo, OpenAccMode, OpenFlags, RenameFlags,
    TimeOrNow, WriteFlags,
};
use rdmafs_meta::attr::{Attr, FileKind, SetTime};
use rdmafs_meta::id::InodeId;
use rdmafs_meta::time::Timestamp;
use rdmafs_meta::wire::{NewInode, RenameMode, XattrMode};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What `stat(2)` and `statfs(2)` give as the good size of a transfer.
pub(super) const BLOCK: u32 = 4096;

/// `FMODE_EXEC` of `include/linux/fs.h`: the kernel lets it through to OPEN.
const FMODE_EXEC: i32 = 0x20;

pub(super) fn errno(error: &Error) -> Errno {
    Errno::from_i32(error.errno())
}

pub(super) fn file_attr(attr: &Attr) -> FileAttr {
    FileAttr {
        ino: INodeNo(attr.ino.0),
        size: attr.size,
        blocks: attr.allocated.div_ceil(512),
        atime: system_time(attr.atime),
        mtime: system_time(attr.mtime),
        ctime: system_time(attr.ctime),
        crtime: system_time(attr.birth),
        kind: file_type(attr.kind),
        perm: attr.mode,
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: attr.rdev,
        blksize: BLOCK,
        flags: 0,
    }
}

pub(super) fn file_type(kind: FileKind) -> FileType {
    match kind {
        FileKind::Regular => FileType::RegularFile,
        FileKind::Directory => FileType::Directory,
        FileKind::Symlink => FileType::Symlink,
        FileKind::Fifo => FileType::NamedPipe,
        FileKind::Socket => FileType::Socket,
        FileKind::CharDevice => FileType::CharDevice,
        FileKind::BlockDevice => FileType::BlockDevice,
    }
}

/// What mknod(2) asks for: the type bits of `mode` choose.
pub(super) fn new_node(mode: u32, rdev: u32) -> Option<NewInode> {
    let kind = match mode & libc::S_IFMT {
        0 | libc::S_IFREG => return Some(NewInode::File { open: false }),
        libc::S_IFIFO => FileKind::Fifo,
        libc::S_IFSOCK => FileKind::Socket,
        libc::S_IFCHR => FileKind::CharDevice,
        libc::S_IFBLK => FileKind::BlockDevice,
        _ => return None,
    };
    Some(NewInode::Special { kind, rdev })
}

/// Permission and set-id bits.
pub(super) fn permissions(mode: u32) -> u16 {
    (mode & 0o7777) as u16
}

pub(super) fn open_mode(flags: OpenFlags) -> OpenMode {
    let access = flags.acc_mode();
    let has = |bit| flags.0 & bit != 0;
    OpenMode {
        read: access != OpenAccMode::O_WRONLY,
        write: access != OpenAccMode::O_RDONLY,
        append: has(libc::O_APPEND),
        truncate: has(libc::O_TRUNC),
        execute: has(FMODE_EXEC),
        direct: has(libc::O_DIRECT),
        no_access_time: has(libc::O_NOATIME),
    }
}

pub(super) fn write_mode(kind: WriteFlags, flags: OpenFlags) -> WriteMode {
    let by_program = !kind.contains(WriteFlags::FUSE_WRITE_CACHE);
    WriteMode {
        append: by_program && flags.0 & libc::O_APPEND != 0,
        // O_SYNC has the bit of O_DSYNC.
        sync: by_program && flags.0 & libc::O_DSYNC != 0,
        write_back: !by_program,
    }
}

pub(super) fn fopen_flags(opened: &Opened) -> FopenFlags {
    let mut flags = FopenFlags::empty();
    flags.set(FopenFlags::FOPEN_DIRECT_IO, opened.direct_io);
    flags.set(FopenFlags::FOPEN_KEEP_CACHE, opened.keep_cache);
    flags
}

/// `None` for what makes no sense together (the kernel refuses that itself), and for flags of the future.
pub(super) fn rename_mode(flags: RenameFlags) -> Option<RenameMode> {
    let spares = flags.contains(RenameFlags::RENAME_NOREPLACE);
    let rest = flags.difference(RenameFlags::RENAME_NOREPLACE);
    Some(match spares {
        false if rest.is_empty() => RenameMode::Replace,
        true if rest.is_empty() => RenameMode::NoReplace,
        false if rest == RenameFlags::RENAME_EXCHANGE => RenameMode::Exchange,
        false if rest == RenameFlags::RENAME_WHITEOUT => RenameMode::Whiteout,
        true if rest == RenameFlags::RENAME_WHITEOUT => RenameMode::WhiteoutNoReplace,
        _ => return None,
    })
}

/// `None` for what is not offered: collapsing, inserting, unsharing, and modes of the future.
pub(super) fn space_change(mode: i32) -> Option<SpaceChange> {
    const PUNCH: i32 = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    const ZERO_KEEPING_SIZE: i32 = libc::FALLOC_FL_ZERO_RANGE | libc::FALLOC_FL_KEEP_SIZE;
    Some(match mode {
        0 => SpaceChange::Allocate { keep_size: false },
        libc::FALLOC_FL_KEEP_SIZE => SpaceChange::Allocate { keep_size: true },
        libc::FALLOC_FL_ZERO_RANGE => SpaceChange::Zero { keep_size: false },
        ZERO_KEEPING_SIZE => SpaceChange::Zero { keep_size: true },
        PUNCH => SpaceChange::Punch,
        _ => return None,
    })
}

/// Where a seek begins, and whether for a hole; `None` when it is no seek that comes here.
pub(super) fn seek(offset: i64, whence: i32) -> Option<(u64, bool)> {
    let hole = match whence {
        libc::SEEK_HOLE => true,
        libc::SEEK_DATA => false,
        _ => return None,
    };
    // Before the start of a file there is as little as past its end.
    Some((u64::try_from(offset).unwrap_or(u64::MAX), hole))
}

/// Flags of the future are the kernel's to refuse.
pub(super) fn xattr_mode(flags: i32) -> XattrMode {
    XattrMode {
        create: flags & libc::XATTR_CREATE != 0,
        replace: flags & libc::XATTR_REPLACE != 0,
    }
}

pub(super) fn set_time(time: TimeOrNow) -> SetTime {
    match time {
        TimeOrNow::Now => SetTime::Now,
        TimeOrNow::SpecificTime(time) => SetTime::At(requested_time(time)),
    }
}

/// A time that fuser took from a request. fuser 0.18 makes a time before 1970, which the kernel gives as (-s, n) and means as
/// n nanoseconds *after* -s, into one n nanoseconds *before* -s; so its two parts are just read back.
fn requested_time(time: SystemTime) -> Timestamp {
    let (negative, distance) = match time.duration_since(UNIX_EPOCH) {
        Ok(after) => (false, after),
        Err(before) => (true, before.duration()),
    };
    let seconds = i64::try_from(distance.as_secs()).unwrap_or(i64::MAX);
    Timestamp {
        seconds: if negative { -seconds } else { seconds },
        nanos: distance.subsec_nanos(),
    }
}

fn system_time(time: Timestamp) -> SystemTime {
    let whole = Duration::from_secs(time.seconds.unsigned_abs());
    let start = if time.seconds < 0 {
        UNIX_EPOCH.checked_sub(whole)
    } else {
        UNIX_EPOCH.checked_add(whole)
    };
    start
        .and_then(|start| start.checked_add(Duration::from_nanos(time.nanos.into())))
        .unwrap_or(UNIX_EPOCH)
}

pub(super) fn ino(number: INodeNo) -> InodeId {
    InodeId(number.0)
}

pub(super) fn handle(number: FileHandle) -> HandleId {
    HandleId(number.0)
}

pub(super) fn bytes(name: &OsStr) -> Vec<u8> {
    name.as_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdmafs_meta::flags::InodeFlags;
    use rdmafs_meta::id::Version;

    #[test]
    fn times_before_1970_keep_their_nanoseconds() {
        let time = Timestamp {
            seconds: -2,
            nanos: 800_000_000,
        };
        assert_eq!(system_time(time), UNIX_EPOCH - Duration::new(1, 200_000_000));
        // As fuser's request parser does it.
        let parsed = UNIX_EPOCH - Duration::new(2, 800_000_000);
        assert_eq!(requested_time(parsed), time);
    }

    #[test]
    fn the_ends_of_time_do_not_panic() {
        for seconds in [i64::MIN, i64::MAX] {
            let time = Timestamp {
                seconds,
                nanos: 999_999_999,
            };
            requested_time(system_time(time));
        }
    }

    #[test]
    fn blocks_count_what_is_allocated_and_not_the_size() {
        let attr = Attr {
            ino: InodeId(5),
            kind: FileKind::Regular,
            mode: 0o4711,
            nlink: 1,
            uid: 2,
            gid: 3,
            rdev: 0,
            size: 1 << 40,
            allocated: 8192,
            atime: Timestamp::default(),
            mtime: Timestamp::default(),
            ctime: Timestamp::default(),
            birth: Timestamp::default(),
            version: Version(0),
            truncate_seq: 0,
            flags: InodeFlags::NONE,
            acls: rdmafs_meta::acl::Acls::None,
        };
        let shown = file_attr(&attr);
        assert_eq!((shown.size, shown.blocks, shown.perm), (1 << 40, 16, 0o4711));
    }

    #[test]
    fn open_flags_say_what_open_said() {
        let mode = open_mode(OpenFlags(libc::O_WRONLY | libc::O_APPEND | libc::O_TRUNC));
        assert_eq!(
            mode,
            OpenMode {
                write: true,
                append: true,
                truncate: true,
                ..OpenMode::default()
            }
        );
        let run = open_mode(OpenFlags(libc::O_RDONLY | FMODE_EXEC));
        assert!(run.read && run.execute && !run.write);
        let both = open_mode(OpenFlags(libc::O_RDWR | libc::O_DIRECT));
        assert!(both.read && both.write && both.direct);
    }

    #[test]
    fn each_kind_of_rename_is_distinguished() {
        assert_eq!(rename_mode(RenameFlags::empty()), Some(RenameMode::Replace));
        assert_eq!(
            rename_mode(RenameFlags::RENAME_NOREPLACE),
            Some(RenameMode::NoReplace)
        );
        assert_eq!(
            rename_mode(RenameFlags::RENAME_EXCHANGE),
            Some(RenameMode::Exchange)
        );
        let whiteout = RenameFlags::RENAME_WHITEOUT;
        assert_eq!(rename_mode(whiteout), Some(RenameMode::Whiteout));
        assert_eq!(
            rename_mode(whiteout | RenameFlags::RENAME_NOREPLACE),
            Some(RenameMode::WhiteoutNoReplace)
        );
        let exchange = RenameFlags::RENAME_EXCHANGE;
        for both in [
            exchange | whiteout,
            exchange | RenameFlags::RENAME_NOREPLACE,
            RenameFlags::all(),
        ] {
            assert_eq!(rename_mode(both), None, "{both:?}");
        }
    }

    #[test]
    fn modes_of_fallocate_that_are_not_offered_are_distinguished() {
        let (keep, punch, zero) = (1, 2, 0x10);
        assert_eq!(space_change(keep | punch), Some(SpaceChange::Punch));
        assert_eq!(
            space_change(keep),
            Some(SpaceChange::Allocate { keep_size: true })
        );
        assert_eq!(space_change(zero), Some(SpaceChange::Zero { keep_size: false }));
        assert_eq!(
            space_change(zero | keep),
            Some(SpaceChange::Zero { keep_size: true })
        );
        for mode in [punch, 4, 8, 0x20, 0x40, 0x80, zero | punch | keep, -1] {
            assert_eq!(space_change(mode), None, "{mode:#x}");
        }
    }

    #[test]
    fn mknod_makes_all_kinds_but_directories_and_links() {
        assert_eq!(
            new_node(libc::S_IFREG | 0o644, 0),
            Some(NewInode::File { open: false })
        );
        let null = new_node(libc::S_IFCHR | 0o666, 0x103);
        let kind = FileKind::CharDevice;
        assert_eq!(null, Some(NewInode::Special { kind, rdev: 0x103 }));
        assert_eq!(new_node(libc::S_IFDIR, 0), None);
        assert_eq!(new_node(libc::S_IFLNK, 0), None);
        assert_eq!(permissions(libc::S_IFREG | 0o6755), 0o6755);
    }

    #[test]
    fn only_what_a_program_writes_is_appended() {
        let append = OpenFlags(libc::O_RDWR | libc::O_APPEND);
        assert!(write_mode(WriteFlags::empty(), append).append);
        assert!(!write_mode(WriteFlags::empty(), OpenFlags(libc::O_RDWR)).append);
        let stores = WriteFlags::FUSE_WRITE_CACHE | WriteFlags::FUSE_WRITE_KILL_SUIDGID;
        let stored = WriteMode {
            write_back: true,
            ..WriteMode::default()
        };
        assert_eq!(write_mode(stores, append), stored);
        for sync in [libc::O_SYNC, libc::O_DSYNC] {
            assert!(write_mode(WriteFlags::empty(), OpenFlags(libc::O_WRONLY | sync)).sync);
            assert!(!write_mode(stores, OpenFlags(libc::O_WRONLY | sync)).sync);
        }
    }
}
