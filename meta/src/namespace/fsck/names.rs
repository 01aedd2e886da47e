//! Entries lead to inodes, link counts are the entries, and every directory hangs on the root by one name.
//!
//! The tree is walked from the root. Of several names of a directory the one that its ".." agrees with counts, else the first one.
//! Directories that the walk does not reach hang on nothing or on each other: the topmost of them, and one of each circle, are to be
//! saved, and the walk goes on from there. So at its end every inode has its right place, and all else is wrong.

use super::found::{Fix, Found};
use crate::id::InodeId;
use crate::name::Name;
use crate::problem::ProblemKind;
use crate::tree::{Body, Directory, Tree};
use std::collections::{BTreeSet, HashMap};

/// Notes down everything that is wrong with names, and gives the number of entries.
pub(in crate::namespace) fn examine(tree: &Tree, found: &mut Vec<Found>) -> u64 {
    let mut walk = Walk {
        tree,
        found,
        parents: HashMap::from([(InodeId::ROOT, Some(InodeId::ROOT))]),
        links: HashMap::from([(InodeId::ROOT, 2)]),
        entries: 0,
    };
    walk.from(InodeId::ROOT);
    walk.unreached();
    walk.inodes();
    walk.entries
}

struct Walk<'a> {
    tree: &'a Tree,
    found: &'a mut Vec<Found>,
    /// The directories that were reached, and from where; `None` for those to be saved.
    parents: HashMap<InodeId, Option<InodeId>>,
    /// Entries that count, and 2 for each directory's own.
    links: HashMap<InodeId, u64>,
    entries: u64,
}

impl Walk<'_> {
    /// Everything below a directory that was reached.
    fn from(&mut self, top: InodeId) {
        let mut to_visit = vec![top];
        let mut doubtful = Vec::new();
        loop {
            while let Some(ino) = to_visit.pop() {
                if let Ok((_, directory)) = self.tree.directory(ino) {
                    self.visit(ino, directory, (&mut to_visit, &mut doubtful));
                }
            }
            let Some((ino, name, child)) = doubtful.pop() else {
                return;
            };
            if self.accept(ino, &name, child) {
                to_visit.push(child);
            }
        }
    }

    fn visit(
        &mut self,
        ino: InodeId,
        directory: &Directory,
        (to_visit, doubtful): (&mut Vec<InodeId>, &mut Vec<(InodeId, Name, InodeId)>),
    ) {
        for (name, _, child) in directory.entries() {
            self.entries += 1;
            let Ok(inode) = self.tree.get(child) else {
                self.remove_entry(
                    ProblemKind::DanglingEntry,
                    (ino, name),
                    format!("it leads to inode {child}, which is not there"),
                );
                continue;
            };
            match &inode.body {
                Body::Directory(below) if below.parent != ino => doubtful.push((ino, name.clone(), child)),
                Body::Directory(_) => {
                    if self.accept(ino, name, child) {
                        to_visit.push(child);
                    }
                }
                _ => *self.links.entry(child).or_default() += 1,
            }
        }
    }

    /// Lets a name of a directory count. False when it has another one.
    fn accept(&mut self, parent: InodeId, name: &Name, child: InodeId) -> bool {
        if self.parents.contains_key(&child) {
            self.remove_entry(
                ProblemKind::DirectoryWithTwoNames,
                (parent, name),
                format!("it leads to directory {child}, which has its place elsewhere"),
            );
            return false;
        }
        self.parents.insert(child, Some(parent));
        *self.links.entry(parent).or_default() += 1;
        *self.links.entry(child).or_default() += 2;
        true
    }

    /// Saves what the root does not lead to.
    fn unreached(&mut self) {
        let directories = self.tree.iter().filter_map(|inode| match &inode.body {
            Body::Directory(directory) => Some((inode.attr.ino, directory)),
            _ => None,
        });
        let unreached: Vec<_> = directories
            .filter(|(ino, _)| !self.parents.contains_key(ino))
            .collect();
        let entries = unreached.iter().flat_map(|(_, directory)| directory.entries());
        let below: BTreeSet<InodeId> = entries.map(|(_, _, child)| child).collect();
        let (circles, tops): (Vec<_>, Vec<_>) =
            unreached.into_iter().partition(|(ino, _)| below.contains(ino));
        for (ino, _) in tops.into_iter().chain(circles) {
            if self.parents.contains_key(&ino) {
                continue;
            }
            self.save(ino, "it cannot be reached from the root");
            self.parents.insert(ino, None);
            *self.links.entry(ino).or_default() += 2;
            self.from(ino);
        }
    }

    /// ".." and the places of entries.
    fn directory(&mut self, ino: InodeId, directory: &Directory) {
        let reached_from = self.parents.get(&ino).copied().flatten();
        if let Some(parent) = reached_from.filter(|parent| *parent != directory.parent) {
            let what = format!("its '..' is {} and it is in {parent}", directory.parent);
            let found = Found::about(ProblemKind::WrongParent, ino, what, "let it be that one");
            self.found.push(found.fixed_by(Fix::Parent(ino, parent)));
        }
        if !directory.is_sound() {
            let what = "an entry has a place that was never given out, or shares it";
            self.found.push(Found::about(
                ProblemKind::BadCookie,
                ino,
                what,
                "restart the node",
            ));
        }
    }

    /// What each inode says of itself.
    fn inodes(&mut self) {
        for inode in self.tree.iter() {
            let (ino, says) = (inode.attr.ino, u64::from(inode.attr.nlink));
            let has = self.links.get(&ino).copied().unwrap_or(0);
            if let Body::Directory(directory) = &inode.body {
                self.directory(ino, directory);
            }
            if ino >= self.tree.next {
                let what = format!("ids from {} on were never given out", self.tree.next);
                self.found.push(Found::about(
                    ProblemKind::BadCeiling,
                    ino,
                    what,
                    "restart the node",
                ));
            }
            if has == 0 && says > 0 {
                self.save(ino, &format!("its link count is {says} and no entry leads to it"));
            } else if has != says {
                let what = format!("its link count is {says} and should be {has}");
                let found = Found::about(ProblemKind::WrongLinks, ino, what, format!("say {has}"));
                self.found.push(found.fixed_by(Fix::Links(ino, has)));
            }
        }
    }

    fn remove_entry(&mut self, kind: ProblemKind, (ino, name): (InodeId, &Name), what: String) {
        let found = Found::about(kind, ino, what, "remove the entry").entry(name);
        self.found
            .push(found.fixed_by(Fix::RemoveEntry(ino, name.clone())));
    }

    fn save(&mut self, ino: InodeId, what: &str) {
        let remedy = format!("name it /lost+found/#{ino}");
        let found = Found::about(ProblemKind::Orphan, ino, what, remedy);
        self.found.push(found.fixed_by(Fix::Save(ino)));
    }
}
