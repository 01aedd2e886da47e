//! Changes that no program can ask for: what the repair of a damaged namespace is made of.

use super::inode::{Body, Directory, Inode, blank};
use super::table::Tree;
use crate::attr::FileKind;
use crate::error::MetaError;
use crate::id::InodeId;
use crate::layout::LayoutMap;
use crate::name::Name;
use crate::time::Timestamp;

/// Where inodes without a name are put, in the root directory.
const LOST_AND_FOUND: &str = "lost+found";
/// Its mode, and that of a directory of which only the entries are left.
const PRIVATE: u16 = 0o700;

impl Tree {
    /// Puts an inode back as the store has it.
    pub(crate) fn restore(&mut self, inode: Inode) {
        self.ancestry.put(&inode);
        self.inodes.insert(inode.attr.ino, inode);
    }

    /// Makes a directory without entries that nothing leads to.
    pub(crate) fn make_directory(&mut self, ino: InodeId, parent: InodeId, now: Timestamp) {
        let mut attr = blank(ino, FileKind::Directory, now);
        (attr.mode, attr.nlink) = (PRIVATE, 2);
        let body = Body::Directory(Directory::new(parent));
        self.insert(Inode::new(attr, body));
    }

    /// The entries of a directory, to put back what the store has.
    pub(crate) fn entries_mut(&mut self, ino: InodeId) -> Result<&mut Directory, MetaError> {
        match &mut self.get_mut_lazily(ino)?.body {
            Body::Directory(directory) => Ok(directory),
            _ => Err(MetaError::NotDirectory),
        }
    }

    /// The layout of a regular file, to put back what the store has.
    pub(crate) fn layout_mut(&mut self, ino: InodeId) -> Result<&mut LayoutMap, MetaError> {
        match &mut self.get_mut_lazily(ino)?.body {
            Body::File { layout, .. } => Ok(layout),
            _ => Err(MetaError::Invalid),
        }
    }

    /// Adds an entry under a name that is not there. Link counts are the caller's.
    pub(crate) fn put_entry(&mut self, parent: InodeId, name: &Name, ino: InodeId) -> Result<(), MetaError> {
        self.entries_mut(parent)?.add(name, ino);
        self.changes.inodes.insert(parent);
        self.changes.entries.insert((parent, name.clone()));
        Ok(())
    }

    /// Removes an entry. Link counts are the caller's.
    pub(crate) fn drop_entry(&mut self, parent: InodeId, name: &Name) -> Result<(), MetaError> {
        self.entries_mut(parent)?.remove(name);
        self.changes.entries.insert((parent, name.clone()));
        Ok(())
    }

    pub(crate) fn set_links(&mut self, ino: InodeId, links: u64) -> Result<(), MetaError> {
        self.get_mut(ino)?.attr.nlink = u32::try_from(links).map_err(|_| MetaError::TooManyLinks)?;
        Ok(())
    }

    pub(crate) fn set_parent(&mut self, ino: InodeId, parent: InodeId) -> Result<(), MetaError> {
        self.changes.inodes.insert(ino);
        self.entries_mut(ino)?.parent = parent;
        self.ancestry.set(ino, parent);
        Ok(())
    }

    /// Gives an inode without a name one in `/lost+found`, which is made if it is not there.
    pub(crate) fn save(&mut self, ino: InodeId, now: Timestamp) -> Result<(), MetaError> {
        let place = self.lost_and_found(now)?;
        let (name, _) = self.free_name(place, &format!("#{ino}"))?;
        self.put_entry(place, &name, ino)?;
        if self.directory(ino).is_ok() {
            self.set_parent(ino, place)?;
            let links = self.get(place)?.attr.nlink;
            return self.set_links(place, u64::from(links) + 1);
        }
        self.set_links(ino, 1)
    }

    fn lost_and_found(&mut self, now: Timestamp) -> Result<InodeId, MetaError> {
        let (name, before) = self.free_name(InodeId::ROOT, LOST_AND_FOUND)?;
        if let Some(place) = before.filter(|ino| self.directory(*ino).is_ok()) {
            return Ok(place);
        }
        let place = self.new_id();
        self.make_directory(place, InodeId::ROOT, now);
        self.put_entry(InodeId::ROOT, &name, place)?;
        let links = self.get(InodeId::ROOT)?.attr.nlink;
        self.set_links(InodeId::ROOT, u64::from(links) + 1)?;
        Ok(place)
    }

    /// `base`, or `base-1`, `base-2` and so on: the first name that is free; and what the last one that is not leads to.
    fn free_name(&self, parent: InodeId, base: &str) -> Result<(Name, Option<InodeId>), MetaError> {
        let (_, directory) = self.directory(parent)?;
        let mut taken = None;
        let mut name = Name::new(base)?;
        let mut number = 0_u64;
        while let Some((_, ino)) = directory.get(&name) {
            taken = Some(ino);
            number += 1;
            name = Name::new(format!("{base}-{number}"))?;
        }
        Ok((name, taken))
    }
}
