//! Extended attributes, of the very inode that a path names.

use crate::ops::{FilePath, Kind, Outcome, Xattrs};
use crate::posix::system::{Posix, Result};
use nix::errno::Errno;
use rustix::fs::{XattrFlags, lgetxattr, llistxattr, lremovexattr, lsetxattr};

const ROOM: usize = 1 << 16;

impl Posix {
    pub(super) fn xattrs(&self, mount: usize, call: &Xattrs) -> Result<Outcome> {
        let at = |path: &FilePath| self.at(mount, path);
        let mut room = vec![0; ROOM];
        let done = match call {
            Xattrs::Set {
                path,
                name,
                value,
                create,
                replace,
            } => {
                let mut flags = XattrFlags::empty();
                flags.set(XattrFlags::CREATE, *create);
                flags.set(XattrFlags::REPLACE, *replace);
                lsetxattr(at(path), *name, &value.bytes(), flags).map(|()| Outcome::Done)
            }
            Xattrs::Get { path, name } => {
                lgetxattr(at(path), *name, &mut room).map(|len| Outcome::Bytes(room[..len].to_vec()))
            }
            Xattrs::List { path } => llistxattr(at(path), &mut room).map(|len| listed(&room[..len])),
            Xattrs::Remove { path, name } => lremovexattr(at(path), *name).map(|()| Outcome::Done),
        };
        done.map_err(|error| Errno::from_raw(error.raw_os_error()))
    }
}

/// Names with a NUL after each.
pub(crate) fn listed(names: &[u8]) -> Outcome {
    let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    Outcome::Names(names.map(|name| (name.to_vec(), Kind::default())).collect())
}
