//! `renameat2(2)`: every check first, then one of three ways to do it.

use super::accounts::NAME;
use super::inode::{Body, Directory, Inode, blank};
use super::table::{MAX_LINKS, Tree};
use crate::attr::FileKind;
use crate::cred::Credentials;
use crate::error::MetaError;
use crate::id::InodeId;
use crate::name::Name;
use crate::permission::{self, Access};
use crate::time::Timestamp;
use crate::wire::RenameMode;

/// From which name to which.
#[derive(Debug)]
pub(crate) struct Move {
    pub(crate) from: (InodeId, Name),
    pub(crate) to: (InodeId, Name),
    pub(crate) mode: RenameMode,
}

impl Tree {
    /// Renames. Gives the inode that was replaced when that was its last name; a replaced directory is gone.
    pub(crate) fn rename(
        &mut self,
        who: &Credentials,
        rename: &Move,
        now: Timestamp,
    ) -> Result<Option<InodeId>, MetaError> {
        let source = self.lookup(who, rename.from.0, &rename.from.1)?;
        let target = match self.lookup(who, rename.to.0, &rename.to.1) {
            Err(MetaError::NotFound) => None,
            found => Some(found?),
        };
        match (rename.mode, target) {
            (mode, Some(_)) if mode.spares() => return Err(MetaError::Exists),
            (RenameMode::Exchange, None) => return Err(MetaError::NotFound),
            _ => self.check_ancestors(rename, source, target)?,
        }
        match (rename.mode, target) {
            (_, Some(target)) if target == source => Ok(None),
            (RenameMode::Exchange, Some(target)) => {
                self.check_exchange(who, rename, source, target)?;
                self.exchange(rename, source, target, now).map(|()| None)
            }
            (_, Some(target)) => {
                self.check_replace(who, rename, source, target)?;
                self.vacate(who, rename, now)?;
                self.replace(rename, source, target, now)
            }
            (_, None) => {
                self.check_move(who, rename, source)?;
                self.vacate(who, rename, now)?;
                self.place(rename, source, now, Directory::add).map(|()| None)
            }
        }
    }

    /// Takes the source's entry out of its directory, or leaves a whiteout in its place: the caller's, and nobody may open it
    /// (`shmem_whiteout` of Linux). Whoever may take the entry out may.
    fn vacate(&mut self, who: &Credentials, rename: &Move, now: Timestamp) -> Result<(), MetaError> {
        let (parent, name) = &rename.from;
        if !rename.mode.leaves_whiteout() {
            return self.edit_entry(*parent, name, now, Directory::remove);
        }
        let (gid, mode) = permission::inherit(who, &self.get(*parent)?.attr, FileKind::CharDevice, 0);
        self.accounts.may_grow(who, who.uid, NAME)?;
        let whiteout = self.new_id();
        let mut attr = blank(whiteout, FileKind::CharDevice, now);
        (attr.uid, attr.gid, attr.mode, attr.nlink) = (who.uid, gid, mode, 1);
        let body = Body::Special;
        self.insert(Inode::new(attr, body));
        self.edit_entry(*parent, name, now, |entries, name| {
            entries.redirect(name, whiteout)
        })
    }

    /// No directory goes below itself, and none is replaced by what lies below it.
    fn check_ancestors(
        &self,
        rename: &Move,
        source: InodeId,
        target: Option<InodeId>,
    ) -> Result<(), MetaError> {
        // Neither is above the directory in which both are.
        if rename.from.0 == rename.to.0 {
            return Ok(());
        }
        if self.is_within(rename.to.0, source) {
            return Err(MetaError::Invalid);
        }
        let above = target.is_some_and(|target| self.is_within(rename.from.0, target));
        match rename.mode {
            RenameMode::Exchange if above => Err(MetaError::Invalid),
            _ if above => Err(MetaError::NotEmpty),
            _ => Ok(()),
        }
    }

    fn check_move(&self, who: &Credentials, rename: &Move, source: InodeId) -> Result<(), MetaError> {
        self.check_leaves(who, rename.from.0, rename.to.0, source)?;
        permission::add_entry(who, &self.get(rename.to.0)?.attr)?;
        self.check_room(rename, source)
    }

    fn check_replace(
        &self,
        who: &Credentials,
        rename: &Move,
        source: InodeId,
        target: InodeId,
    ) -> Result<(), MetaError> {
        self.check_leaves(who, rename.from.0, rename.to.0, source)?;
        let target = self.get(target)?;
        permission::remove_entry(who, &self.get(rename.to.0)?.attr, &target.attr)?;
        let moves_directory = self.get(source)?.attr.kind == FileKind::Directory;
        match (&target.body, moves_directory) {
            (Body::Directory(entries), true) if entries.is_empty() => Ok(()),
            (Body::Directory(_), true) => Err(MetaError::NotEmpty),
            (Body::Directory(_), false) => Err(MetaError::IsDirectory),
            (_, true) => Err(MetaError::NotDirectory),
            (_, false) => Ok(()),
        }
    }

    fn check_exchange(
        &self,
        who: &Credentials,
        rename: &Move,
        source: InodeId,
        target: InodeId,
    ) -> Result<(), MetaError> {
        self.check_leaves(who, rename.from.0, rename.to.0, source)?;
        self.check_leaves(who, rename.to.0, rename.from.0, target)?;
        self.check_room(rename, source)
    }

    /// May the entry leave its directory? A directory that gets another parent changes its "..".
    fn check_leaves(
        &self,
        who: &Credentials,
        from: InodeId,
        to: InodeId,
        moved: InodeId,
    ) -> Result<(), MetaError> {
        let moved = &self.get(moved)?.attr;
        permission::remove_entry(who, &self.get(from)?.attr, moved)?;
        if moved.kind == FileKind::Directory && from != to {
            permission::check(who, moved, Access::WRITE)?;
        }
        Ok(())
    }

    fn check_room(&self, rename: &Move, source: InodeId) -> Result<(), MetaError> {
        let full = self.get(rename.to.0)?.attr.nlink >= MAX_LINKS;
        let moves_directory = self.get(source)?.attr.kind == FileKind::Directory;
        if full && moves_directory && rename.from.0 != rename.to.0 {
            return Err(MetaError::TooManyLinks);
        }
        Ok(())
    }

    /// Puts the source, whose place was vacated, where `put` says.
    fn place(
        &mut self,
        rename: &Move,
        source: InodeId,
        now: Timestamp,
        put: fn(&mut Directory, &Name, InodeId),
    ) -> Result<(), MetaError> {
        self.edit_entry(rename.to.0, &rename.to.1, now, |entries, name| {
            put(entries, name, source)
        })?;
        self.adopt(source, rename.from.0, rename.to.0, now)
    }

    fn replace(
        &mut self,
        rename: &Move,
        source: InodeId,
        target: InodeId,
        now: Timestamp,
    ) -> Result<Option<InodeId>, MetaError> {
        self.place(rename, source, now, Directory::redirect)?;
        if self.get(target)?.attr.kind == FileKind::Directory {
            self.add_links(rename.to.0, -1, now)?;
            self.remove(target);
            return Ok(None);
        }
        Ok((self.add_links(target, -1, now)? == 0).then_some(target))
    }

    fn exchange(
        &mut self,
        rename: &Move,
        source: InodeId,
        target: InodeId,
        now: Timestamp,
    ) -> Result<(), MetaError> {
        self.edit_entry(rename.from.0, &rename.from.1, now, |entries, name| {
            entries.redirect(name, target)
        })?;
        self.edit_entry(rename.to.0, &rename.to.1, now, |entries, name| {
            entries.redirect(name, source)
        })?;
        self.adopt(source, rename.from.0, rename.to.0, now)?;
        self.adopt(target, rename.to.0, rename.from.0, now)
    }

    /// Stamps a moved inode; a directory gets its new parent, and the parents their link counts.
    fn adopt(&mut self, moved: InodeId, from: InodeId, to: InodeId, now: Timestamp) -> Result<(), MetaError> {
        let inode = self.get_mut(moved)?;
        inode.attr.ctime = now;
        if let Body::Directory(directory) = &mut inode.body
            && from != to
        {
            directory.parent = to;
            self.ancestry.set(moved, to);
            self.add_links(from, -1, now)?;
            self.add_links(to, 1, now)?;
        }
        Ok(())
    }

    /// True when `ino` is `above` or lies below it. What has no entries has nothing below it.
    fn is_within(&self, ino: InodeId, above: InodeId) -> bool {
        let has_entries = |ino| {
            self.directory(ino)
                .is_ok_and(|(_, directory)| !directory.is_empty())
        };
        ino == above || has_entries(above) && self.ancestry.is_within(ino, above)
    }
}
