//! What the model holds: inodes, names and open files, and how paths lead to them.

use crate::ops::{FilePath, How, Kind, Outcome, SLOTS, Stat};
use nix::libc::{EACCES, EBADF, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR};
use std::collections::{BTreeMap, HashMap, VecDeque};

pub(super) const ROOT: u64 = 1;
const HOPS: usize = 40;
pub(super) const READ: u16 = 4;
pub(super) const WRITE: u16 = 2;
const EXEC: u16 = 1;

/// Returns with the errno of every reason that holds, in Linux's order.
macro_rules! refuse {
    ($($holds:expr => $errno:expr),* $(,)?) => {{
        let all: Vec<i32> = [$(($holds).then_some($errno)),*].into_iter().flatten().collect();
        if !all.is_empty() {
            return Err(all);
        }
    }};
}

pub(super) use refuse;

/// uid and gid.
pub(super) type Who = (u32, u32);
pub(super) type Refused = Vec<i32>;
pub(super) type Result<T> = std::result::Result<T, Refused>;

/// Inodes are never taken out of the map, so an unlinked open file needs no care.
#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    pub(super) stat: Stat,
    /// What is not here is a hole.
    pub(super) bytes: BTreeMap<u64, u8>,
    pub(super) entries: BTreeMap<Vec<u8>, u64>,
    pub(super) parent: u64,
    pub(super) target: Vec<u8>,
    pub(super) xattrs: BTreeMap<&'static str, Vec<u8>>,
    /// By slot, whether it is exclusive.
    pub(super) flocks: BTreeMap<usize, bool>,
    /// By owner and cell, whether it is exclusive.
    pub(super) locked: BTreeMap<(LockOwner, usize), bool>,
}

/// Whose a lock of bytes is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum LockOwner {
    /// By slot.
    OpenFile(usize),
    /// By mount: to the kernel each has files of its own.
    Process(usize),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) ino: u64,
    pub(super) how: How,
    pub(super) mount: usize,
}

/// Where a path leads: the directory of its last name, and what stands there.
#[derive(Clone, Debug)]
pub(super) struct OpenedFile {
    pub(super) dir: u64,
    pub(super) name: Vec<u8>,
    pub(super) found: Option<u64>,
}

/// A POSIX file system in memory.
#[derive(Clone, Debug, Default)]
pub struct Model {
    pub(super) inodes: HashMap<u64, Inode>,
    pub(super) slots: [Option<Slot>; SLOTS],
}

impl Model {
    /// An empty file system whose root has this mode and belongs to root.
    #[must_use]
    pub fn new(root_mode: u16) -> Self {
        let mut model = Self::default();
        model.add(Kind::Directory, root_mode, (0, 0));
        model
    }

    pub(super) fn walk(&self, who: Who, path: &FilePath, follow: bool) -> Result<OpenedFile> {
        let mut left: VecDeque<Vec<u8>> = path.0.iter().map(|n| n.to_vec()).collect();
        let (mut dir, mut hops) = (ROOT, 0);
        while let Some(name) = left.pop_front() {
            refuse!(!self.may(who, dir, EXEC) => EACCES, name.len() > 255 => ENAMETOOLONG);
            let found = self.inodes[&dir].entries.get(&name).copied();
            let last = left.is_empty();
            match found.map(|ino| (ino, self.inodes[&ino].stat.kind)) {
                Some((ino, Kind::Symlink)) if !last || follow => {
                    hops += 1;
                    refuse!(hops > HOPS => ELOOP);
                    let target = self.inodes[&ino].target.split(|b| *b == b'/');
                    target.rev().for_each(|part| left.push_front(part.to_vec()));
                }
                _ if last => return Ok(OpenedFile { dir, name, found }),
                Some((ino, Kind::Directory)) => dir = ino,
                Some(_) => return Err(vec![ENOTDIR]),
                None => return Err(vec![ENOENT]),
            }
        }
        Err(vec![ENOENT])
    }

    pub(super) fn find(&self, who: Who, path: &FilePath, follow: bool) -> Result<u64> {
        self.walk(who, path, follow)?.found.ok_or(vec![ENOENT])
    }

    pub(super) fn may(&self, (uid, gid): Who, ino: u64, want: u16) -> bool {
        let inode = &self.inodes[&ino];
        let shift = match () {
            () if inode.stat.uid == uid => 6,
            () if inode.stat.gid == gid => 3,
            () => 0,
        };
        uid == 0 || inode.stat.mode >> shift & want == want
    }

    pub(super) fn owns(&self, who: Who, ino: u64) -> bool {
        who.0 == 0 || who.0 == self.inodes[&ino].stat.uid
    }

    /// A sticky directory lets only owners remove.
    pub(super) fn stuck(&self, who: Who, dir: u64, ino: u64) -> bool {
        self.inodes[&dir].stat.mode & 0o1000 != 0 && !self.owns(who, ino) && !self.owns(who, dir)
    }

    pub(super) fn add(&mut self, kind: Kind, mode: u16, owner: Who) -> u64 {
        let ino = ROOT + self.inodes.len() as u64;
        let inode = self.inodes.entry(ino).or_default();
        inode.parent = ROOT;
        inode.stat = Stat::new(kind, mode, owner);
        ino
    }

    pub(super) fn get(&mut self, ino: u64) -> &mut Inode {
        self.inodes.get_mut(&ino).expect("inodes are never taken out")
    }

    pub(super) fn is_dir(&self, ino: u64) -> bool {
        self.inodes[&ino].stat.kind == Kind::Directory
    }

    pub(super) fn is_whiteout(&self, ino: u64) -> bool {
        self.inodes[&ino].stat.kind == Kind::Whiteout
    }

    pub(super) fn stat(&self, ino: u64) -> Outcome {
        let mut stat = self.inodes[&ino].stat.clone();
        if stat.kind == Kind::Directory {
            let children = self.inodes[&ino].entries.values();
            stat.nlink = 2 + children.map(|child| u32::from(self.is_dir(*child))).sum::<u32>();
        }
        Outcome::Stat(stat)
    }

    pub(super) fn slot(&self, slot: usize) -> Result<Slot> {
        self.slots[slot].ok_or(vec![EBADF])
    }

    pub(super) fn place(&mut self, dir: u64, name: Vec<u8>, ino: u64) {
        if self.is_dir(ino) {
            self.get(ino).parent = dir;
        }
        self.get(dir).entries.insert(name, ino);
        self.get(dir).stat.mtime = Some(0);
    }

    pub(super) fn create(&mut self, who: Who, place: OpenedFile, kind: Kind, mode: u16) -> u64 {
        let dir = &self.inodes[&place.dir].stat;
        let inherits = dir.mode & 0o2000 != 0;
        let bit = u16::from(inherits && kind == Kind::Directory) << 10;
        let ino = self.add(kind, mode | bit, (who.0, if inherits { dir.gid } else { who.1 }));
        self.place(place.dir, place.name, ino);
        ino
    }
}

/// What of a mode remains: not the set-id bits, unless all of it.
pub(super) fn kept_bits(all: bool) -> u16 {
    if all { 0o7777 } else { 0o1777 }
}
