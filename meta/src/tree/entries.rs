//! Finding, making and removing names.

use super::accounts::NAME;
use super::charges::charge_of_new;
use super::inode::{Body, Directory, Inode, blank};
use super::table::{MAX_LINKS, Tree};
use super::xattrs::charge_of_acls;
use crate::attr::{Attr, FileKind};
use crate::cred::Credentials;
use crate::error::MetaError;
use crate::id::InodeId;
use crate::layout::LayoutMap;
use crate::name::Name;
use crate::permission::{self, Access};
use crate::time::Timestamp;
use crate::wire::{DirEntry, MAX_MESSAGE, MAX_SYMLINK, NewInode};

/// Bytes that an entry takes in a message beside its name, at most: cookie, length and attributes, every varint at its
/// longest, and that its ACLs are to be asked for.
const ENTRY_OVERHEAD: usize = 168;
/// Bytes for entries in a page; the rest of a message is for the envelope.
const PAGE_BYTES: usize = MAX_MESSAGE - 1024;

/// A new name and what it leads to.
#[derive(Debug)]
pub(crate) struct NewEntry {
    pub(crate) parent: InodeId,
    pub(crate) name: Name,
    pub(crate) what: NewInode,
    pub(crate) mode: u16,
}

impl Tree {
    pub(crate) fn lookup(
        &self,
        who: &Credentials,
        parent: InodeId,
        name: &Name,
    ) -> Result<InodeId, MetaError> {
        let (_, directory) = self.enter(who, parent)?;
        directory.get(name).map(|(_, ino)| ino).ok_or(MetaError::NotFound)
    }

    pub(crate) fn parent(&self, who: &Credentials, ino: InodeId) -> Result<InodeId, MetaError> {
        self.enter(who, ino).map(|(_, directory)| directory.parent)
    }

    /// A page of entries after `after`, at most `limit`, and whether it is the last one.
    pub(crate) fn read_dir(
        &self,
        who: &Credentials,
        ino: InodeId,
        after: u64,
        limit: u32,
    ) -> Result<(Vec<DirEntry>, bool), MetaError> {
        let (inode, directory) = self.directory(ino)?;
        permission::check(who, &inode.attr, Access::READ)?;
        let dots = [(1, ".", ino), (2, "..", directory.parent)];
        let dots = dots.into_iter().filter(|(cookie, _, _)| *cookie > after);
        let dots = dots.map(|(cookie, name, ino)| (cookie, name.as_bytes(), ino));
        let named = directory
            .after(after.max(2))
            .map(|(cookie, name, ino)| (cookie, name.as_bytes(), ino));
        let (mut entries, mut bytes) = (Vec::new(), 0);
        for (cookie, name, ino) in dots.chain(named) {
            bytes += name.len() + ENTRY_OVERHEAD;
            if entries.len() >= limit as usize || bytes > PAGE_BYTES {
                return Ok((entries, false));
            }
            let attr = self.get(ino)?.attr.clone();
            let name = name.to_vec();
            entries.push(DirEntry { name, cookie, attr });
        }
        Ok((entries, true))
    }

    pub(crate) fn make(
        &mut self,
        who: &Credentials,
        new: &NewEntry,
        now: Timestamp,
    ) -> Result<InodeId, MetaError> {
        let parent = self.vacant(who, new.parent, &new.name)?;
        let (kind, body, rdev) = match &new.what {
            NewInode::File { .. } | NewInode::OpenFile { .. } => (FileKind::Regular, empty_file(), 0),
            NewInode::Directory if parent.nlink >= MAX_LINKS => return Err(MetaError::TooManyLinks),
            NewInode::Directory => (
                FileKind::Directory,
                Body::Directory(Directory::new(new.parent)),
                0,
            ),
            NewInode::Symlink(target) => (FileKind::Symlink, symlink(target)?, 0),
            what if *what == NewInode::WHITEOUT => (FileKind::CharDevice, Body::Special, 0),
            NewInode::Special { kind, rdev } => (special(who, *kind)?, Body::Special, *rdev),
        };
        let (gid, mode) = permission::inherit(who, parent, kind, new.mode);
        let (mode, acls) = permission::inherit_acls(who, parent, kind, mode);
        let handed_down = parent.flags.inherited();
        let charge = charge_of_new(&body) + charge_of_acls(&acls);
        self.accounts.may_grow(who, who.uid, charge)?;
        let ino = self.new_id();
        let mut attr = blank(ino, kind, now);
        (attr.uid, attr.gid, attr.rdev, attr.mode) = (who.uid, gid, rdev, mode);
        attr.nlink = 1;
        if kind.has_flags() {
            attr.flags = handed_down;
        }
        match &body {
            Body::Symlink(target) => (attr.mode, attr.size) = (0o777, target.len() as u64),
            Body::Directory(_) => attr.nlink = 2,
            Body::File { .. } | Body::Special => {}
        }
        if kind == FileKind::Directory {
            self.add_links(new.parent, 1, now)?;
        }
        self.insert(Inode::new(attr, body));
        self.begin_acls(ino, acls)?;
        self.edit_entry(new.parent, &new.name, now, |entries, name| entries.add(name, ino))?;
        Ok(ino)
    }

    pub(crate) fn link(
        &mut self,
        who: &Credentials,
        ino: InodeId,
        (parent, name): (InodeId, &Name),
        now: Timestamp,
    ) -> Result<(), MetaError> {
        self.vacant(who, parent, name)?;
        let attr = &self.get(ino)?.attr;
        permission::add_link(attr)?;
        let (kind, links) = (attr.kind, attr.nlink);
        match links {
            _ if kind == FileKind::Directory => return Err(MetaError::NotOwner),
            0 => return Err(MetaError::NotFound),
            MAX_LINKS.. => return Err(MetaError::TooManyLinks),
            _ => self.accounts.may_grow(who, attr.uid, NAME)?,
        };
        self.add_links(ino, 1, now)?;
        self.edit_entry(parent, name, now, |entries, name| entries.add(name, ino))
    }

    /// Removes a name of anything but a directory. Gives the inode when that was its last name.
    pub(crate) fn unlink(
        &mut self,
        who: &Credentials,
        parent: InodeId,
        name: &Name,
        now: Timestamp,
    ) -> Result<Option<InodeId>, MetaError> {
        let ino = self.removable(who, parent, name)?;
        if self.get(ino)?.attr.kind == FileKind::Directory {
            return Err(MetaError::IsDirectory);
        }
        self.edit_entry(parent, name, now, Directory::remove)?;
        Ok((self.add_links(ino, -1, now)? == 0).then_some(ino))
    }

    pub(crate) fn remove_dir(
        &mut self,
        who: &Credentials,
        parent: InodeId,
        name: &Name,
        now: Timestamp,
    ) -> Result<(), MetaError> {
        let ino = self.removable(who, parent, name)?;
        if !self.directory(ino)?.1.is_empty() {
            return Err(MetaError::NotEmpty);
        }
        self.edit_entry(parent, name, now, Directory::remove)?;
        self.add_links(parent, -1, now)?;
        self.remove(ino);
        Ok(())
    }

    /// The directory's attributes, if the caller may add this name and it is not there.
    fn vacant(&self, who: &Credentials, parent: InodeId, name: &Name) -> Result<&Attr, MetaError> {
        let (inode, directory) = self.enter(who, parent)?;
        if directory.get(name).is_some() {
            return Err(MetaError::Exists);
        }
        permission::add_entry(who, &inode.attr)?;
        Ok(&inode.attr)
    }

    fn removable(&self, who: &Credentials, parent: InodeId, name: &Name) -> Result<InodeId, MetaError> {
        let ino = self.lookup(who, parent, name)?;
        permission::remove_entry(who, &self.get(parent)?.attr, &self.get(ino)?.attr)?;
        Ok(ino)
    }
}

fn empty_file() -> Body {
    Body::File {
        layout: LayoutMap::default(),
        loose_tail: false,
        chosen: None,
    }
}

fn symlink(target: &[u8]) -> Result<Body, MetaError> {
    match target.len() {
        0 => Err(MetaError::NotFound),
        1..=MAX_SYMLINK if !target.contains(&0) => Ok(Body::Symlink(target.to_vec())),
        1..=MAX_SYMLINK => Err(MetaError::Invalid),
        _ => Err(MetaError::NameTooLong),
    }
}

fn special(who: &Credentials, kind: FileKind) -> Result<FileKind, MetaError> {
    match kind {
        FileKind::Fifo | FileKind::Socket => Ok(kind),
        FileKind::CharDevice | FileKind::BlockDevice if who.may_do_all() => Ok(kind),
        FileKind::CharDevice | FileKind::BlockDevice => Err(MetaError::NotOwner),
        FileKind::Regular | FileKind::Directory | FileKind::Symlink => Err(MetaError::Invalid),
    }
}
