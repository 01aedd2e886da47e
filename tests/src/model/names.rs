//! Names: make, remove, link, rename, list.

use crate::model::state::{Model, READ, ROOT, Result, WRITE, Who, refuse};
use crate::ops::{FilePath, Kind, Names, Outcome, Rename};
use nix::libc::{EACCES, EEXIST, EINVAL, EISDIR, ENOENT, ENOTDIR, ENOTEMPTY, EPERM};

impl Model {
    pub(super) fn names(&mut self, who: Who, call: &Names) -> Result<Outcome> {
        match call {
            Names::MakeDir { path, mode } => self.make(who, path, Kind::Directory, *mode, &[]),
            Names::RemoveDir { path } => self.remove(who, path, true),
            Names::Unlink { path } => self.remove(who, path, false),
            Names::Link { old, new } => self.link(who, old, new),
            Names::Symlink { target, path } => self.make(who, path, Kind::Symlink, 0o777, &target.bytes()),
            Names::ReadLink { path } => self.read_link(who, path),
            Names::Rename { old, new, how } => self.rename(who, old, new, *how),
            Names::List { path } => self.list(who, path),
        }
    }

    fn make(&mut self, who: Who, path: &FilePath, kind: Kind, mode: u16, target: &[u8]) -> Result<Outcome> {
        let place = self.walk(who, path, false)?;
        refuse!(place.found.is_some() => EEXIST, !self.may(who, place.dir, WRITE) => EACCES);
        let ino = self.create(who, place, kind, mode);
        self.get(ino).target = target.to_vec();
        self.get(ino).stat.size = target.len() as u64;
        Ok(Outcome::Done)
    }

    fn remove(&mut self, who: Who, path: &FilePath, want_dir: bool) -> Result<Outcome> {
        let place = self.walk(who, path, false)?;
        let ino = place.found.ok_or(vec![ENOENT])?;
        refuse!(
            !self.may(who, place.dir, WRITE) => EACCES,
            self.stuck(who, place.dir, ino) => EPERM,
            want_dir && !self.is_dir(ino) => ENOTDIR,
            !want_dir && self.is_dir(ino) => EISDIR,
            !self.inodes[&ino].entries.is_empty() => ENOTEMPTY,
        );
        self.get(place.dir).entries.remove(&place.name);
        self.get(place.dir).stat.mtime = Some(0);
        self.get(ino).stat.nlink -= 1;
        Ok(Outcome::Done)
    }

    fn link(&mut self, who: Who, old: &FilePath, new: &FilePath) -> Result<Outcome> {
        let ino = self.find(who, old, false)?;
        let place = self.walk(who, new, false)?;
        refuse!(
            place.found.is_some() => EEXIST,
            !self.may(who, place.dir, WRITE) => EACCES,
            self.is_dir(ino) => EPERM,
        );
        self.place(place.dir, place.name, ino);
        self.get(ino).stat.nlink += 1;
        Ok(Outcome::Done)
    }

    fn read_link(&self, who: Who, path: &FilePath) -> Result<Outcome> {
        let ino = self.find(who, path, false)?;
        refuse!(self.inodes[&ino].stat.kind != Kind::Symlink => EINVAL);
        Ok(Outcome::Target(self.inodes[&ino].target.clone()))
    }

    fn rename(&mut self, who: Who, old: &FilePath, new: &FilePath, how: Rename) -> Result<Outcome> {
        // The kernel walks both directories before it looks for either last name.
        let (from, to) = (self.walk(who, old, false), self.walk(who, new, false));
        let (Ok(from), Ok(to)) = (&from, &to) else {
            let errors = [from.err(), to.err(), Some(vec![ENOENT])];
            return Err(errors.into_iter().flatten().flatten().collect());
        };
        let moved = from.found.ok_or(vec![ENOENT])?;
        if to.found == from.found && how != Rename::NoReplace {
            return Ok(Outcome::Done);
        }
        let exchange = how == Rename::Exchange;
        let (there, replaced) = (to.found, to.found.filter(|_| !exchange));
        let dir = self.is_dir(moved);
        let pinned = |ino| from.dir != to.dir && self.is_dir(ino) && !self.may(who, ino, WRITE);
        refuse!(
            how == Rename::NoReplace && there.is_some() => EEXIST,
            exchange && there.is_none() => ENOENT,
            self.above(moved, to.dir) => EINVAL,
            there.is_some_and(|there| self.above(there, from.dir)) => if exchange { EINVAL } else { ENOTEMPTY },
            !self.may(who, from.dir, WRITE) || !self.may(who, to.dir, WRITE) => EACCES,
            self.stuck(who, from.dir, moved) => EPERM,
            there.is_some_and(|there| self.stuck(who, to.dir, there)) => EPERM,
            pinned(moved) || (exchange && there.is_some_and(pinned)) => EACCES,
            replaced.is_some_and(|there| dir && !self.is_dir(there)) => ENOTDIR,
            replaced.is_some_and(|there| !dir && self.is_dir(there)) => EISDIR,
            replaced.is_some_and(|there| !self.inodes[&there].entries.is_empty()) => ENOTEMPTY,
        );
        self.get(from.dir).entries.remove(&from.name);
        self.get(from.dir).stat.mtime = Some(0);
        match there {
            Some(there) if exchange => self.place(from.dir, from.name.clone(), there),
            Some(there) => self.get(there).stat.nlink -= 1,
            None => {}
        }
        self.place(to.dir, to.name.clone(), moved);
        if how == Rename::Whiteout {
            self.create(who, from.clone(), Kind::Whiteout, 0);
        }
        Ok(Outcome::Done)
    }

    /// Whether `ino` is `dir` or a directory above it.
    fn above(&self, ino: u64, mut dir: u64) -> bool {
        while dir != ino && dir != ROOT {
            dir = self.inodes[&dir].parent;
        }
        dir == ino
    }

    fn list(&self, who: Who, path: &FilePath) -> Result<Outcome> {
        let ino = self.find(who, path, true)?;
        refuse!(!self.is_dir(ino) => ENOTDIR, !self.may(who, ino, READ) => EACCES);
        let entries = self.inodes[&ino].entries.iter();
        let names = entries.map(|(name, child)| (name.clone(), self.inodes[child].stat.kind));
        Ok(Outcome::Names(names.collect()))
    }
}
