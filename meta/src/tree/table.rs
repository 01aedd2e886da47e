//! The inode table, and what of it the store does not know yet.

use super::accounts::{Accounts, Charge};
use super::ancestry::Ancestry;
use super::inode::{Body, Directory, Inode, blank};
use super::xattrs::{Xattrs, acl_of};
use crate::attr::FileKind;
use crate::cred::Credentials;
use crate::error::MetaError;
use crate::id::InodeId;
use crate::layout::LayoutMap;
use crate::name::Name;
use crate::permission::{self, Access};
use crate::time::Timestamp;
use crate::wire::XattrMode;
use crate::xattr::XattrName;
use std::collections::{BTreeMap, BTreeSet};

/// Most names of one inode, and most subdirectories of a directory.
pub(crate) const MAX_LINKS: u32 = 1 << 31;

/// What changed since it was last taken: keys only, the table has the values. What is not in the table any more is to
/// be deleted from the store.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) inodes: BTreeSet<InodeId>,
    pub(crate) entries: BTreeSet<(InodeId, Name)>,
    pub(crate) segments: BTreeSet<(InodeId, u64)>,
    pub(crate) xattrs: BTreeSet<(InodeId, XattrName)>,
}

/// All inodes of a pool.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(super) inodes: BTreeMap<InodeId, Inode>,
    pub(super) ancestry: Ancestry,
    /// Of the inodes that have any.
    xattrs: BTreeMap<InodeId, Xattrs>,
    /// Who is charged what.
    pub(crate) accounts: Accounts,
    /// Of the value that was set last.
    edition: u64,
    pub(super) changes: Changes,
    /// The id of the next inode; ids are never given twice.
    pub(crate) next: InodeId,
}

impl Tree {
    pub(crate) fn new(inodes: BTreeMap<InodeId, Inode>, next: InodeId) -> Self {
        Self {
            ancestry: Ancestry::of(inodes.values()),
            inodes,
            xattrs: BTreeMap::new(),
            accounts: Accounts::new(u64::MAX),
            edition: 0,
            changes: Changes::default(),
            next,
        }
    }

    /// Makes the root directory of a new pool.
    pub(crate) fn make_root(&mut self, owner: (u32, u32), mode: u16, now: Timestamp) {
        let mut attr = blank(InodeId::ROOT, FileKind::Directory, now);
        attr.mode = mode & permission::MODE_MASK;
        attr.nlink = 2;
        (attr.uid, attr.gid) = owner;
        let body = Body::Directory(Directory::new(InodeId::ROOT));
        self.insert(Inode::new(attr, body));
    }

    /// Every directory's parent is known to those who walk up.
    pub(crate) fn knows_parents(&self) -> bool {
        self.ancestry.is_true_of(self.inodes.values())
    }

    pub(crate) fn len(&self) -> u64 {
        self.inodes.len() as u64
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Inode> {
        self.inodes.values()
    }

    /// # Errors
    /// [`MetaError::Stale`] when there is none.
    pub(crate) fn get(&self, ino: InodeId) -> Result<&Inode, MetaError> {
        self.inodes.get(&ino).ok_or(MetaError::Stale)
    }

    /// To change it: the store will be told.
    pub(crate) fn get_mut(&mut self, ino: InodeId) -> Result<&mut Inode, MetaError> {
        let inode = self.inodes.get_mut(&ino).ok_or(MetaError::Stale)?;
        self.changes.inodes.insert(ino);
        Ok(inode)
    }

    /// To change what need not survive a restart by itself.
    pub(crate) fn get_mut_lazily(&mut self, ino: InodeId) -> Result<&mut Inode, MetaError> {
        self.inodes.get_mut(&ino).ok_or(MetaError::Stale)
    }

    /// A program chose the mtime of a file at this time; `None`: nobody has the file open any more, so it does not matter.
    pub(crate) fn mtime_chosen(&mut self, ino: InodeId, at: Option<Timestamp>) {
        if let Ok(inode) = self.get_mut_lazily(ino)
            && let Body::File { chosen, .. } = &mut inode.body
        {
            *chosen = at;
        }
    }

    /// Sets the times of a file that was written at `at` and of which that is heard only now: what was done to it meanwhile stays.
    pub(crate) fn written_at(&mut self, ino: InodeId, at: Timestamp) -> Result<(), MetaError> {
        let inode = self.get_mut(ino)?;
        let chosen = match &inode.body {
            Body::File { chosen, .. } => *chosen,
            _ => None,
        };
        let attr = &mut inode.attr;
        attr.mtime = match () {
            () if chosen.is_some_and(|chosen| chosen > at) => attr.mtime,
            // A program chose a time of the future, and wrote then.
            () if attr.mtime > attr.ctime => at,
            () => attr.mtime.max(at),
        };
        attr.ctime = attr.ctime.max(at);
        Ok(())
    }

    /// The layout of a regular file.
    pub(crate) fn layout(&self, ino: InodeId) -> Result<&LayoutMap, MetaError> {
        match &self.get(ino)?.body {
            Body::File { layout, .. } => Ok(layout),
            _ => Err(MetaError::Invalid),
        }
    }

    /// Every layout, to settle which copies are lost.
    pub(crate) fn layouts_mut(&mut self) -> impl Iterator<Item = &mut LayoutMap> {
        self.inodes
            .values_mut()
            .filter_map(|inode| match &mut inode.body {
                Body::File { layout, .. } => Some(layout),
                _ => None,
            })
    }

    /// Changes the layout of a regular file by `edit`, which also names the segments it changed.
    pub(crate) fn edit_layout<T>(
        &mut self,
        ino: InodeId,
        edit: impl FnOnce(&mut LayoutMap) -> (T, BTreeSet<u64>),
    ) -> Result<T, MetaError> {
        let inode = self.get_mut(ino)?;
        let Body::File { layout, .. } = &mut inode.body else {
            return Err(MetaError::Invalid);
        };
        let (result, segments) = edit(layout);
        inode.attr.allocated = layout.allocated();
        self.changes
            .segments
            .extend(segments.into_iter().map(|segment| (ino, segment)));
        Ok(result)
    }

    pub(crate) fn insert(&mut self, inode: Inode) {
        self.changes.inodes.insert(inode.attr.ino);
        self.ancestry.put(&inode);
        self.inodes.insert(inode.attr.ino, inode);
    }

    /// Removes an inode that has no names and no runs left.
    pub(crate) fn remove(&mut self, ino: InodeId) {
        if let Some(inode) = self.inodes.remove(&ino) {
            self.accounts.replace(inode.charge, Charge::default());
        }
        self.ancestry.remove(ino);
        self.changes.inodes.insert(ino);
        let xattrs = self.xattrs.remove(&ino).unwrap_or_default();
        let gone = xattrs.names().map(|name| (ino, name.clone()));
        self.changes.xattrs.extend(gone);
    }

    /// The inode goes and what is its stays: damage.
    #[cfg(test)]
    pub(crate) fn lose_inode(&mut self, ino: InodeId) {
        if let Some(inode) = self.inodes.remove(&ino) {
            self.accounts.replace(inode.charge, Charge::default());
        }
    }

    /// The extended attributes of an inode, if it has any.
    pub(crate) fn xattrs(&self, ino: InodeId) -> Option<&Xattrs> {
        self.xattrs.get(&ino)
    }

    /// All extended attributes.
    pub(crate) fn all_xattrs(&self) -> impl Iterator<Item = (InodeId, &Xattrs)> {
        self.xattrs.iter().map(|(ino, xattrs)| (*ino, xattrs))
    }

    /// Sets an extended attribute of an inode that is there, and stamps the change.
    pub(crate) fn set_xattr(
        &mut self,
        who: &Credentials,
        ino: InodeId,
        name: XattrName,
        (value, mode): (Vec<u8>, XattrMode),
        now: Timestamp,
    ) -> Result<(), MetaError> {
        let inode = self.inodes.get_mut(&ino).ok_or(MetaError::Stale)?;
        let none = Xattrs::default();
        let xattrs = self.xattrs.get(&ino).unwrap_or(&none);
        xattrs.may_set(&name, &value, mode)?;
        let growth = xattrs.growth(&name, &value);
        if growth > 0 {
            self.accounts.may_grow(who, inode.attr.uid, growth)?;
        }
        self.edition += 1;
        let xattrs = self.xattrs.entry(ino).or_default();
        xattrs.put(name.clone(), value, self.edition);
        inode.attr.ctime = now;
        self.changes.inodes.insert(ino);
        self.changes.xattrs.insert((ino, name));
        Ok(())
    }

    /// Sets an extended attribute of an inode that is there, which is as long as it was, or accounted for.
    pub(super) fn replace_xattr(&mut self, ino: InodeId, name: XattrName, value: Vec<u8>) {
        self.edition += 1;
        let xattrs = self.xattrs.entry(ino).or_default();
        xattrs.put(name.clone(), value, self.edition);
        self.changes.inodes.insert(ino);
        self.changes.xattrs.insert((ino, name));
    }

    /// Removes an extended attribute and stamps the change.
    pub(crate) fn remove_xattr(
        &mut self,
        ino: InodeId,
        name: &XattrName,
        now: Timestamp,
    ) -> Result<(), MetaError> {
        let xattrs = self.xattrs.get_mut(&ino).ok_or(MetaError::NoXattr)?;
        xattrs.remove(name)?;
        if xattrs.len() == 0 {
            self.xattrs.remove(&ino);
        }
        self.changes.xattrs.insert((ino, name.clone()));
        self.get_mut(ino)?.attr.ctime = now;
        Ok(())
    }

    /// Puts an extended attribute back as the store has it; refuses what the inode cannot have.
    pub(crate) fn restore_xattr(
        &mut self,
        ino: InodeId,
        name: XattrName,
        value: &[u8],
    ) -> Result<(), MetaError> {
        let none = Xattrs::default();
        let xattrs = self.xattrs.get(&ino).unwrap_or(&none);
        xattrs.may_set(&name, value, XattrMode::default())?;
        if let Some(kind) = name.acl() {
            let attr = &mut self.inodes.get_mut(&ino).ok_or(MetaError::Stale)?.attr;
            attr.acls = attr.acls.with(kind, Some(acl_of(attr, kind, value)?));
        }
        let xattrs = self.xattrs.entry(ino).or_default();
        xattrs.put(name, value.to_vec(), self.edition);
        Ok(())
    }

    /// Inodes that changed since the changes were taken last, or are gone.
    pub(crate) fn changed_inodes(&self) -> impl Iterator<Item = InodeId> {
        self.changes.inodes.iter().copied()
    }

    /// Names that changed since the changes were taken last, each in its directory.
    pub(crate) fn changed_names(&self) -> impl Iterator<Item = &(InodeId, Name)> {
        self.changes.entries.iter()
    }

    pub(crate) fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.changes)
    }

    pub(crate) fn new_id(&mut self) -> InodeId {
        let ino = self.next;
        self.next.0 += 1;
        ino
    }

    /// The directory, if the caller may pass through it.
    pub(super) fn enter(&self, who: &Credentials, ino: InodeId) -> Result<(&Inode, &Directory), MetaError> {
        let (inode, directory) = self.directory(ino)?;
        permission::check(who, &inode.attr, Access::EXECUTE)?;
        Ok((inode, directory))
    }

    pub(crate) fn directory(&self, ino: InodeId) -> Result<(&Inode, &Directory), MetaError> {
        let inode = self.get(ino)?;
        match &inode.body {
            Body::Directory(directory) => Ok((inode, directory)),
            _ => Err(MetaError::NotDirectory),
        }
    }

    /// Changes the entry `name` of a directory by `edit`: times, store and all.
    pub(super) fn edit_entry(
        &mut self,
        parent: InodeId,
        name: &Name,
        now: Timestamp,
        edit: impl FnOnce(&mut Directory, &Name),
    ) -> Result<(), MetaError> {
        let inode = self.get_mut(parent)?;
        let Body::Directory(directory) = &mut inode.body else {
            return Err(MetaError::NotDirectory);
        };
        edit(directory, name);
        inode.attr.mtime = now;
        inode.attr.ctime = now;
        inode.attr.version.0 += 1;
        self.changes.entries.insert((parent, name.clone()));
        Ok(())
    }

    /// Adds to a link count (its inode exists) and stamps the change.
    pub(super) fn add_links(&mut self, ino: InodeId, links: i8, now: Timestamp) -> Result<u32, MetaError> {
        let attr = &mut self.get_mut(ino)?.attr;
        attr.nlink = attr.nlink.saturating_add_signed(links.into());
        attr.ctime = now;
        Ok(attr.nlink)
    }
}
