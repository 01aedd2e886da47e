//! Extended attributes: a map for each inode, and who may do what with which names.

use crate::model::state::{Model, READ, Result, WRITE, Who, refuse};
use crate::ops::{FilePath, Kind, Outcome, Xattrs};
use nix::libc::{EACCES, EEXIST, EINVAL, ENODATA, EOPNOTSUPP, EPERM};

impl Model {
    pub(super) fn xattrs(&mut self, who: Who, call: &Xattrs) -> Result<Outcome> {
        match call {
            Xattrs::Set {
                path,
                name,
                value,
                create,
                replace,
            } => {
                let ino = self.changeable(who, path, name)?;
                let attributes = &mut self.get(ino).xattrs;
                let there = attributes.contains_key(*name);
                refuse!(*create && there => EEXIST, *replace && !there => ENODATA);
                attributes.insert(name, value.bytes());
                Ok(Outcome::Done)
            }
            Xattrs::Get { path, name } => self.get_xattr(who, path, name),
            Xattrs::List { path } => {
                let ino = self.find(who, path, false)?;
                let names = self.inodes[&ino].xattrs.keys();
                let shown = names.filter(|name| who.0 == 0 || !name.starts_with("trusted."));
                let listed = shown.map(|name| (name.as_bytes().to_vec(), Kind::default()));
                Ok(Outcome::Names(listed.collect()))
            }
            Xattrs::Remove { path, name } => {
                let ino = self.changeable(who, path, name)?;
                let removed = self.get(ino).xattrs.remove(name);
                removed.map(|_| Outcome::Done).ok_or(vec![ENODATA])
            }
        }
    }

    fn get_xattr(&self, who: Who, path: &FilePath, name: &str) -> Result<Outcome> {
        let ino = self.find(who, path, false)?;
        let (user, trusted) = (name.starts_with("user."), name.starts_with("trusted."));
        refuse!(
            trusted && who.0 != 0 => ENODATA,
            user && self.has_no_user_xattrs(ino) => ENODATA,
            user && !self.may(who, ino, READ) => EACCES,
            name == "strange.name" && !self.may(who, ino, READ) => EACCES,
            name == "user." => EINVAL,
            name.starts_with('s') && name != "security.s" => EOPNOTSUPP,
        );
        let value = self.inodes[&ino].xattrs.get(name);
        value.cloned().map(Outcome::Bytes).ok_or(vec![ENODATA])
    }

    fn has_no_user_xattrs(&self, ino: u64) -> bool {
        matches!(self.inodes[&ino].stat.kind, Kind::Symlink | Kind::Whiteout)
    }

    /// The inode, if this caller may set and remove this attribute of it.
    fn changeable(&self, who: Who, path: &FilePath, name: &str) -> Result<u64> {
        let ino = self.find(who, path, false)?;
        let stat = &self.inodes[&ino].stat;
        let (user, of_root) = (
            name.starts_with("user."),
            name == "trusted.t" || name == "security.s",
        );
        let sticky = stat.kind == Kind::Directory && stat.mode & 0o1000 != 0;
        refuse!(
            of_root && who.0 != 0 => EPERM,
            user && self.has_no_user_xattrs(ino) => EPERM,
            user && sticky && !self.owns(who, ino) => EPERM,
            user && !self.may(who, ino, WRITE) => EACCES,
            name == "strange.name" && !self.may(who, ino, WRITE) => EACCES,
            name == "user." => EINVAL,
            name.starts_with('s') && name != "security.s" => EOPNOTSUPP,
        );
        Ok(ino)
    }
}
