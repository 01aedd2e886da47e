//! Calls about names and attributes.

use super::service::Namespace;
use super::step::Step;
use crate::attr::{FileKind, SetAttr};
use crate::error::MetaError;
use crate::flags::InodeFlags;
use crate::id::{InodeId, Stamp};
use crate::name::Name;
use crate::permission::{self, Access};
use crate::session::Open;
use crate::tree::{Body, Move, NewEntry, changed};
use crate::wire::{Answer, ChangedName, MAX_ROOM, NewInode, OpenAccess, Reply};
use std::time::Duration;

/// How long a file that another one replaced is kept: a program that found it by its name a moment ago may still open it. It
/// must find the old file or the new one, and a kernel that is refused looks only once more.
const GRACE: Duration = Duration::from_secs(1);

impl Namespace {
    pub(super) fn attr(&self, ino: InodeId) -> Answer {
        Ok(Reply::Attr(self.tree.get(ino)?.attr.clone()))
    }

    pub(super) fn lookup(&self, step: &Step<'_>, parent: InodeId, name: &Name) -> Answer {
        self.attr(self.tree.lookup(step.who, parent, name)?)
    }

    /// What changed of a directory's names after `since`, for who may look them up; all others hear its attributes.
    pub(super) fn catch_up(&self, step: &Step<'_>, ino: InodeId, since: Stamp) -> Answer {
        let (inode, directory) = self.tree.directory(ino)?;
        let attr = inode.attr.clone();
        if permission::check(step.who, &attr, Access::EXECUTE).is_err() {
            return Ok(Reply::Attr(attr));
        }
        // A stamp that is still to come is of another life of the service.
        let logged = self.name_log.since(ino, since).filter(|_| since <= self.stamp);
        let complete = logged.is_some();
        let of = |name: &Name| {
            let named = directory.get(name).and_then(|(_, ino)| self.tree.get(ino).ok());
            ChangedName {
                name: name.clone(),
                attr: named.map(|inode| inode.attr.clone()),
            }
        };
        let names = logged.unwrap_or_default().into_iter().map(of).collect();
        Ok(Reply::CaughtUp {
            attr,
            complete,
            names,
        })
    }

    pub(super) fn parent(&self, step: &Step<'_>, ino: InodeId) -> Answer {
        self.attr(self.tree.parent(step.who, ino)?)
    }

    pub(super) fn set_attr(
        &mut self,
        step: &mut Step<'_>,
        ino: InodeId,
        change: &SetAttr,
        by_handle: bool,
    ) -> Answer {
        if by_handle && !self.sessions.held(step.session, ino)?.writable {
            return Err(MetaError::AccessDenied);
        }
        // A kernel that prepares a write says no handle.
        let prepares = *change == SetAttr::default();
        let held = self.sessions.held(step.session, ino);
        let by_handle = by_handle || prepares && held.is_ok_and(|open| open.writable);
        let attr = &self.tree.get(ino)?.attr;
        let next = changed(step.who, attr, change, by_handle, step.now.wall)?;
        if let Some(size) = change.size {
            let before = attr.size;
            if self.is_busy_text(step.session, ino, OpenAccess::WRITING) {
                return Err(MetaError::TextBusy);
            }
            self.resize(ino, size, step.now, step.out)?;
            if size != before {
                self.tell_others(step, ino)?;
            }
        }
        let attr = &mut self.tree.get_mut(ino)?.attr;
        (attr.mode, attr.uid, attr.gid) = (next.mode, next.uid, next.gid);
        (attr.atime, attr.mtime, attr.ctime) = (next.atime, next.mtime, next.ctime);
        let (regular, directory) = (attr.kind == FileKind::Regular, attr.kind == FileKind::Directory);
        if change.mode.is_some() {
            self.tree.acl_follows_mode(ino)?;
        }
        if regular && change.mtime.is_some() && self.sessions.is_held(ino) {
            self.tree.mtime_chosen(ino, Some(step.now.wall));
        }
        let given = change.uid.is_some() || change.gid.is_some();
        if change.size.is_some() || given && !directory {
            // Set-id bits were seen to with the mode.
            self.drop_capabilities(ino, step.now.wall);
        }
        self.attr(ino)
    }

    /// FS_IOC_SETFLAGS. Whoever has the inode open goes on as he opened it.
    pub(super) fn set_flags(&mut self, step: &Step<'_>, ino: InodeId, flags: InodeFlags) -> Answer {
        let attr = &self.tree.get(ino)?.attr;
        if !attr.kind.has_flags() {
            return Err(MetaError::Unsupported);
        }
        permission::set_flags(step.who, attr, flags)?;
        let attr = &mut self.tree.get_mut(ino)?.attr;
        (attr.flags, attr.ctime) = (flags, step.now.wall);
        self.attr(ino)
    }

    pub(super) fn make(&mut self, step: &mut Step<'_>, new: &NewEntry) -> Answer {
        let ino = self.tree.make(step.who, new, step.now.wall)?;
        let room = match new.what {
            NewInode::File { open: true } => 0,
            NewInode::OpenFile { room } => room.min(MAX_ROOM),
            _ => return self.attr(ino),
        };
        let open = Open {
            count: 1,
            writable: true,
            runs: false,
            ran_with_rights: false,
        };
        self.sessions.open(step.session, ino, open);
        self.give_room(step.session, ino, room.into())?;
        self.opened(step, ino, room.into())
    }

    pub(super) fn link(&mut self, step: &Step<'_>, ino: InodeId, parent: InodeId, name: &Name) -> Answer {
        self.tree.link(step.who, ino, (parent, name), step.now.wall)?;
        self.attr(ino)
    }

    pub(super) fn unlink(&mut self, step: &Step<'_>, parent: InodeId, name: &Name) -> Answer {
        let unnamed = self.tree.unlink(step.who, parent, name, step.now.wall)?;
        unnamed.into_iter().for_each(|ino| self.unnamed(ino));
        Ok(Reply::Done)
    }

    pub(super) fn remove_dir(&mut self, step: &Step<'_>, parent: InodeId, name: &Name) -> Answer {
        self.tree.remove_dir(step.who, parent, name, step.now.wall)?;
        Ok(Reply::Done)
    }

    pub(super) fn rename(&mut self, step: &Step<'_>, rename: &Move) -> Answer {
        let replaced = self.tree.rename(step.who, rename, step.now.wall)?;
        if let Some(ino) = replaced {
            self.sessions.keep(ino, step.now.monotonic + GRACE);
        }
        Ok(Reply::Done)
    }

    pub(super) fn read_link(&mut self, step: &mut Step<'_>, ino: InodeId) -> Answer {
        let Body::Symlink(target) = &self.tree.get(ino)?.body else {
            return Err(MetaError::Invalid);
        };
        let target = target.clone();
        self.accessed(ino, step);
        // They say whether the next reading renews the access time.
        step.out.along.push(ino);
        Ok(Reply::Target(target))
    }

    pub(super) fn read_dir(&mut self, step: &mut Step<'_>, ino: InodeId, after: u64, limit: u32) -> Answer {
        let (mut entries, end) = self.tree.read_dir(step.who, ino, after, limit)?;
        self.accessed(ino, step);
        let accessed = self.tree.get(ino)?.attr.atime;
        let own = entries.iter_mut().filter(|entry| entry.attr.ino == ino);
        own.for_each(|entry| entry.attr.atime = accessed);
        let next = self.tree.directory(ino)?.1.next_cookie;
        Ok(Reply::Directory { entries, end, next })
    }

    /// Renews the access time if the call is one that does. It reaches the store with the inode's next change: losing one in a
    /// crash harms nobody, writing one for each open would cost everybody.
    pub(super) fn accessed(&mut self, ino: InodeId, step: &mut Step<'_>) {
        let Ok(inode) = self.tree.get_mut_lazily(ino) else {
            return;
        };
        if inode.attr.renews_access_time(step.access_time, step.now.wall) {
            inode.attr.atime = step.now.wall;
            step.out.along.push(ino);
        }
    }
}
