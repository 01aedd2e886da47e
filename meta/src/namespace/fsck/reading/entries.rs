//! Entries of directories.

use super::reader::{Reader, inode_of, is_inode, shown};
use crate::id::InodeId;
use crate::name::Name;
use crate::namespace::fsck::found::Found;
use crate::namespace::record::{EntryRecord, decode};
use crate::problem::ProblemKind;
use crate::tree::Body;

impl Reader {
    pub(super) fn entry(&mut self, key: &[u8], value: &[u8]) {
        self.reading.is_new = false;
        let Some((parent, name)) = inode_of(key) else {
            return self.unknown(key, value);
        };
        let Ok(name) = Name::new(name) else {
            self.leave_out(key);
            let what = format!("it has an entry with the impossible name '{}'", shown(name));
            return self.report(ProblemKind::BadName, parent, what, "remove the entry");
        };
        let Ok((cookie, ino)) = decode::<EntryRecord>(key, value) else {
            self.leave_out(key);
            let what = "where this entry leads cannot be read";
            let found = Found::about(ProblemKind::MalformedValue, parent, what, "remove the entry");
            return self.reading.found.push(found.entry(&name));
        };
        if is_inode(ino) {
            self.greatest = self.greatest.max(ino.0);
        }
        match self.reading.tree.get(parent).map(|inode| &inode.body) {
            Ok(Body::Directory(_)) => {}
            Ok(_) => {
                self.leave_out(key);
                let what = "it is no directory and has this entry";
                let found = Found::about(ProblemKind::EntryOfNonDirectory, parent, what, "remove the entry");
                return self.reading.found.push(found.entry(&name));
            }
            Err(_) => self.lost_directory(parent),
        }
        self.place(parent, name, cookie, ino);
    }

    fn place(&mut self, parent: InodeId, name: Name, cookie: u64, ino: InodeId) {
        let tree = &mut self.reading.tree;
        if self.anew.contains(&parent) {
            // It is a directory: asked before.
            let _there = tree.put_entry(parent, &name, ino);
            return;
        }
        let restored = tree
            .entries_mut(parent)
            .is_ok_and(|entries| entries.restore(&name, cookie, ino));
        if !restored {
            let what = format!("its place {cookie} in the directory is taken or was never given out");
            let found = Found::about(ProblemKind::BadCookie, parent, what, "give it a new place");
            self.reading.found.push(found.entry(&name));
            self.displaced.push((parent, name, ino));
        }
    }

    /// Only entries are left of it.
    fn lost_directory(&mut self, ino: InodeId) {
        self.greatest = self.greatest.max(ino.0);
        self.anew.insert(ino);
        self.reading.tree.make_directory(ino, InodeId::ROOT, self.now);
        let kind = match ino {
            InodeId::ROOT if self.said_no_root() => return,
            InodeId::ROOT => ProblemKind::NoRoot,
            _ => ProblemKind::LostDirectory,
        };
        let what = "there are entries of this directory, and no directory";
        self.report(kind, ino, what, "make it anew, with mode 0700 and owned by root");
    }
}
