//! Names: make, remove, link, rename, list.

use crate::ops::{FilePath, Names, Op, Outcome, Rename};
use crate::simulated::attributes::kind;
use crate::simulated::system::{Result, SimCaller, Simulated, refused_if};
use nix::libc::{EEXIST, ENOENT, ENOTDIR};
use rdmafs_meta::attr::FileKind;
use rdmafs_meta::wire::{NewInode, RenameMode};

/// Entries asked for in one page of a directory: few, so that pages are crossed.
const PAGE: u32 = 3;

impl Simulated {
    pub(super) fn names(&self, op: &Op, call: &Names) -> Result<Outcome> {
        let caller = || self.caller(op.mount, op.caller);
        match call {
            Names::MakeDir { path, mode } => self.make(caller(), path, NewInode::Directory, *mode),
            Names::RemoveDir { path } => self.remove(caller(), path, true),
            Names::Unlink { path } => self.remove(caller(), path, false),
            Names::Link { old, new } => self.link(caller(), old, new),
            Names::Symlink { target, path } => {
                self.make(caller(), path, NewInode::Symlink(target.bytes()), 0o777)
            }
            Names::ReadLink { path } => self.read_link(caller(), path),
            Names::Rename { old, new, how } => self.rename(caller(), old, new, *how),
            Names::List { path } => self.list(caller(), path),
        }
    }

    fn make(&self, caller: SimCaller, path: &FilePath, what: NewInode, mode: u16) -> Result<Outcome> {
        let place = self.walk(&caller, path, false)?;
        let made = self.run(caller.mount.make(caller.who, place.dir, place.name, what, mode));
        refused_if(place.found.is_some(), EEXIST, made)
    }

    fn remove(&self, caller: SimCaller, path: &FilePath, dir: bool) -> Result<Outcome> {
        let place = self.walk(&caller, path, false)?;
        let SimCaller { mount, who } = caller;
        let removed = match dir {
            true => self.run(mount.rmdir(who, place.dir, place.name)),
            false => self.run(mount.unlink(who, place.dir, place.name)),
        };
        refused_if(place.found.is_none(), ENOENT, removed)
    }

    fn link(&self, caller: SimCaller, old: &FilePath, new: &FilePath) -> Result<Outcome> {
        let attr = self.find(&caller, old, false)?;
        let place = self.walk(&caller, new, false)?;
        let linked = self.run(caller.mount.link(caller.who, attr.ino, place.dir, place.name));
        refused_if(place.found.is_some(), EEXIST, linked)
    }

    fn read_link(&self, caller: SimCaller, path: &FilePath) -> Result<Outcome> {
        let attr = self.find(&caller, path, false)?;
        self.run(caller.mount.readlink(caller.who, attr.ino))
            .map(Outcome::Target)
    }

    fn rename(&self, caller: SimCaller, old: &FilePath, new: &FilePath, how: Rename) -> Result<Outcome> {
        let from = self.walk(&caller, old, false)?;
        let to = self.walk(&caller, new, false)?;
        let same = from.found.as_ref().map(|attr| attr.ino) == to.found.as_ref().map(|attr| attr.ino);
        let mode = match how {
            Rename::Replace => RenameMode::Replace,
            Rename::NoReplace => RenameMode::NoReplace,
            Rename::Exchange => RenameMode::Exchange,
            Rename::Whiteout => RenameMode::Whiteout,
        };
        let SimCaller { mount, who } = caller;
        let renamed = self.run(mount.rename(who, (from.dir, from.name), (to.dir, to.name), mode));
        let missing = from.found.is_none() || (how == Rename::Exchange && to.found.is_none());
        if same && !missing && how != Rename::NoReplace {
            // The kernel does not ask at all.
            return Ok(Outcome::Done);
        }
        let exists = how == Rename::NoReplace && to.found.is_some();
        refused_if(missing || exists, if missing { ENOENT } else { EEXIST }, renamed)
    }

    fn list(&self, caller: SimCaller, path: &FilePath) -> Result<Outcome> {
        let attr = self.find(&caller, path, true)?;
        if attr.kind != FileKind::Directory {
            return Err(ENOTDIR);
        }
        let SimCaller { mount, who } = caller;
        let handle = self.run(mount.clone().opendir(who, attr.ino))?;
        let mut entries = Vec::new();
        loop {
            let after = entries
                .last()
                .map_or(0, |entry: &rdmafs_meta::wire::DirEntry| entry.cookie);
            let page = self.run(mount.clone().readdir(handle, after, PAGE))?;
            if page.is_empty() {
                break;
            }
            entries.extend(page);
        }
        self.run(mount.releasedir(handle))?;
        let dots: Vec<_> = entries.iter().take(2).map(|entry| entry.name.clone()).collect();
        assert_eq!(
            dots,
            [b".".to_vec(), b"..".to_vec()],
            "the first names of a directory"
        );
        let count = entries.len() - 2;
        let names = entries
            .into_iter()
            .skip(2)
            .map(|entry| (entry.name, kind(entry.attr.kind)));
        let names: std::collections::BTreeMap<_, _> = names.collect();
        assert_eq!(names.len(), count, "a name stands twice");
        Ok(Outcome::Names(names))
    }
}
