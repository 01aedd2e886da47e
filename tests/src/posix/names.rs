//! Names: make, remove, link, rename, list.

use crate::ops::{FilePath, Kind, Names, Outcome, Rename};
use crate::posix::system::{Posix, Result, bits, done, errno};
use nix::fcntl::{AT_FDCWD, AtFlags, RenameFlags};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

impl Posix {
    pub(super) fn names(&self, mount: usize, call: &Names) -> Result<Outcome> {
        let at = |path: &FilePath| self.at(mount, path);
        match call {
            Names::MakeDir { path, mode } => done(nix::unistd::mkdir(&at(path), bits(*mode))),
            Names::RemoveDir { path } => done(std::fs::remove_dir(at(path)).map_err(errno)),
            Names::Unlink { path } => done(nix::unistd::unlink(&at(path))),
            Names::Link { old, new } => done(nix::unistd::linkat(
                AT_FDCWD,
                &at(old),
                AT_FDCWD,
                &at(new),
                AtFlags::empty(),
            )),
            Names::Symlink { target, path } => done(nix::unistd::symlinkat(
                OsStr::from_bytes(&target.bytes()),
                AT_FDCWD,
                &at(path),
            )),
            Names::ReadLink { path } => {
                nix::fcntl::readlink(&at(path)).map(|t| Outcome::Target(t.into_vec()))
            }
            Names::Rename { old, new, how } => rename(&at(old), &at(new), *how),
            Names::List { path } => list(&at(path)),
        }
    }
}

fn rename(old: &Path, new: &Path, how: Rename) -> Result<Outcome> {
    let flags = match how {
        Rename::Replace => RenameFlags::empty(),
        Rename::NoReplace => RenameFlags::RENAME_NOREPLACE,
        Rename::Exchange => RenameFlags::RENAME_EXCHANGE,
        Rename::Whiteout => RenameFlags::RENAME_WHITEOUT,
    };
    done(nix::fcntl::renameat2(AT_FDCWD, old, AT_FDCWD, new, flags))
}

fn list(path: &Path) -> Result<Outcome> {
    let mut names = BTreeMap::new();
    for entry in std::fs::read_dir(path).map_err(errno)? {
        let entry = entry.map_err(errno)?;
        let kind = entry.file_type().map_err(errno)?;
        let kind = match () {
            () if kind.is_dir() => Kind::Directory,
            () if kind.is_symlink() => Kind::Symlink,
            () if kind.is_char_device() => Kind::Whiteout,
            () => Kind::File,
        };
        let double = names.insert(entry.file_name().into_vec(), kind);
        assert!(
            double.is_none(),
            "{} stands twice in {}",
            entry.path().display(),
            path.display()
        );
    }
    Ok(Outcome::Names(names))
}
