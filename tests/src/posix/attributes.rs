//! Attributes: look at them, change mode, owner and times.

use crate::ops::{Attributes, CHOSEN_TIME, FilePath, Kind, Outcome, Stat};
use crate::posix::system::{Posix, Result, bits, done};
use nix::fcntl::AT_FDCWD;
use nix::libc;
use nix::sys::stat::{FchmodatFlags, FileStat, UtimensatFlags, lstat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid};
use std::path::Path;

impl Posix {
    pub(super) fn attributes(&self, mount: usize, call: &Attributes) -> Result<Outcome> {
        let at = |path: &FilePath| self.at(mount, path);
        match call {
            Attributes::Stat { path } => lstat(&at(path)).map(stat),
            Attributes::Chmod { path, mode } => {
                let follow = FchmodatFlags::FollowSymlink;
                done(nix::sys::stat::fchmodat(AT_FDCWD, &at(path), bits(*mode), follow))
            }
            Attributes::Chown { path, uid, gid } => done(nix::unistd::chown(
                &at(path),
                uid.map(Uid::from_raw),
                gid.map(Gid::from_raw),
            )),
            Attributes::SetTime { path, seconds } => set_time(&at(path), *seconds),
        }
    }
}

fn set_time(path: &Path, seconds: i64) -> Result<Outcome> {
    let time = TimeSpec::new(seconds, 0);
    done(nix::sys::stat::utimensat(
        AT_FDCWD,
        path,
        &time,
        &time,
        UtimensatFlags::FollowSymlink,
    ))
}

pub(super) fn stat(stat: FileStat) -> Outcome {
    let kind = match stat.st_mode & libc::S_IFMT {
        libc::S_IFDIR => Kind::Directory,
        libc::S_IFLNK => Kind::Symlink,
        libc::S_IFCHR => Kind::Whiteout,
        _ => Kind::File,
    };
    Outcome::Stat(Stat {
        kind,
        mode: u16::try_from(stat.st_mode & 0o7777).expect("12 bits"),
        nlink: u32::try_from(stat.st_nlink).expect("few links"),
        uid: stat.st_uid,
        gid: stat.st_gid,
        size: if kind == Kind::Directory {
            0
        } else {
            stat.st_size.cast_unsigned()
        },
        mtime: Some(if stat.st_mtime >= CHOSEN_TIME {
            stat.st_mtime
        } else {
            0
        }),
    })
}
