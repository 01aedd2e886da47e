//! The reference model: a POSIX file system that is too simple to be wrong.
//!
//! Plain maps, no sharing of code with the system. It answers a refusal with every errno that would be right at this
//! moment, Linux's choice first; the system under test must give one of them.

use crate::ops::{Action, CALLERS, FilePath, How, Kind, Op, Outcome, Rename, SLOTS, Stat, pattern};
use nix::libc::{EACCES, EBADF, EBUSY, EEXIST, EINVAL, EISDIR};
use nix::libc::{ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, ENOTEMPTY, EPERM};
use std::collections::{BTreeMap, HashMap, VecDeque};

const ROOT: u64 = 1;
const HOPS: usize = 40;
const READ: u16 = 4;
const WRITE: u16 = 2;
const EXEC: u16 = 1;

/// Returns with the errno of every reason that holds, in Linux's order.
macro_rules! refuse {
    ($($holds:expr => $errno:expr),* $(,)?) => {{
        let all: Refusals = [$(($holds).then_some($errno)),*].into_iter().flatten().collect();
        if !all.is_empty() {
            return Err(all);
        }
    }};
}

/// uid and gid.
type Who = (u32, u32);
type Refusals = Vec<i32>;
type Result<T> = std::result::Result<T, Refusals>;

/// Inodes are never taken out of the map, so an unlinked open file needs no care.
#[derive(Clone, Debug, Default)]
struct Inode {
    stat: Stat,
    /// What is not here is a hole.
    bytes: BTreeMap<u64, u8>,
    entries: BTreeMap<Vec<u8>, u64>,
    parent: u64,
    target: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    ino: u64,
    how: How,
}

/// Where a path leads: the directory of its last name, and what stands there.
#[derive(Debug)]
struct Place {
    dir: u64,
    name: Vec<u8>,
    found: Option<u64>,
}

/// A POSIX file system in memory.
#[derive(Clone, Debug, Default)]
pub struct Model {
    inodes: HashMap<u64, Inode>,
    slots: [Option<Slot>; SLOTS],
}

impl Model {
    /// An empty file system whose root has this mode and belongs to root.
    #[must_use]
    pub fn new(root_mode: u16) -> Self {
        let mut model = Self::default();
        model.add(Kind::Directory, root_mode, (0, 0));
        model
    }

    /// Does it and says what must have come of it.
    pub fn apply(&mut self, op: &Op) -> Outcome {
        let who = CALLERS[op.caller];
        match &op.action {
            Action::Open { slot, path, how } => self.open(who, *slot, path, *how),
            Action::Close { slot } => self.slots[*slot].take().map(|_| Outcome::Done).ok_or(vec![EBADF]),
            Action::Read { slot, at, len } => self.read(*slot, *at, *len),
            Action::Write { slot, at, len, fill } => self.write(who, *slot, *at, &pattern(*fill, *len)),
            Action::Sync { slot } => self.slot(*slot).map(|_| Outcome::Done),
            Action::FileTruncate { slot, size } => self.file_truncate(who, *slot, *size),
            Action::FileStat { slot } => self.slot(*slot).map(|s| self.stat(s.ino)),
            Action::Truncate { path, size } => self.truncate(who, path, *size),
            Action::Stat { path } => self.find(who, path, false).map(|ino| self.stat(ino)),
            Action::MakeDir { path, mode } => self.make(who, path, Kind::Directory, *mode, &[]),
            Action::Symlink { target, path } => self.make(who, path, Kind::Symlink, 0o777, &target.bytes()),
            Action::RemoveDir { path } => self.remove(who, path, true),
            Action::Unlink { path } => self.remove(who, path, false),
            Action::Link { old, new } => self.link(who, old, new),
            Action::ReadLink { path } => self.read_link(who, path),
            Action::Rename { old, new, how } => self.rename(who, old, new, *how),
            Action::Chmod { path, mode } => self.chmod(who, path, *mode),
            Action::Chown { path, uid, gid } => self.chown(who, path, *uid, *gid),
            Action::SetTime { path, seconds } => self.set_time(who, path, *seconds),
            Action::List { path } => self.list(who, path),
        }
        .unwrap_or_else(Outcome::Refused)
    }

    fn walk(&self, who: Who, path: &FilePath, follow: bool) -> Result<Place> {
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
                _ if last => return Ok(Place { dir, name, found }),
                Some((ino, Kind::Directory)) => dir = ino,
                Some(_) => return Err(vec![ENOTDIR]),
                None => return Err(vec![ENOENT]),
            }
        }
        Err(vec![ENOENT])
    }

    fn find(&self, who: Who, path: &FilePath, follow: bool) -> Result<u64> {
        self.walk(who, path, follow)?.found.ok_or(vec![ENOENT])
    }

    fn may(&self, (uid, gid): Who, ino: u64, want: u16) -> bool {
        let inode = &self.inodes[&ino];
        let shift = match () {
            () if inode.stat.uid == uid => 6,
            () if inode.stat.gid == gid => 3,
            () => 0,
        };
        uid == 0 || inode.stat.mode >> shift & want == want
    }

    fn owns(&self, who: Who, ino: u64) -> bool {
        who.0 == 0 || who.0 == self.inodes[&ino].stat.uid
    }

    /// A sticky directory lets only owners remove.
    fn stuck(&self, who: Who, dir: u64, ino: u64) -> bool {
        self.inodes[&dir].stat.mode & 0o1000 != 0 && !self.owns(who, ino) && !self.owns(who, dir)
    }

    fn add(&mut self, kind: Kind, mode: u16, owner: Who) -> u64 {
        let ino = ROOT + self.inodes.len() as u64;
        let inode = self.inodes.entry(ino).or_default();
        inode.parent = ROOT;
        inode.stat = Stat::new(kind, mode, owner);
        ino
    }

    fn get(&mut self, ino: u64) -> &mut Inode {
        self.inodes.get_mut(&ino).expect("inodes are never taken out")
    }

    fn is_dir(&self, ino: u64) -> bool {
        self.inodes[&ino].stat.kind == Kind::Directory
    }

    fn stat(&self, ino: u64) -> Outcome {
        let mut stat = self.inodes[&ino].stat.clone();
        if stat.kind == Kind::Directory {
            let children = self.inodes[&ino].entries.values();
            stat.nlink = 2 + children.map(|child| u32::from(self.is_dir(*child))).sum::<u32>();
        }
        Outcome::Stat(stat)
    }

    fn slot(&self, slot: usize) -> Result<Slot> {
        self.slots[slot].ok_or(vec![EBADF])
    }

    fn place(&mut self, dir: u64, name: Vec<u8>, ino: u64) {
        if self.is_dir(ino) {
            self.get(ino).parent = dir;
        }
        self.get(dir).entries.insert(name, ino);
        self.get(dir).stat.mtime = Some(0);
    }

    fn open(&mut self, who: Who, slot: usize, path: &FilePath, how: How) -> Result<Outcome> {
        refuse!(self.slots[slot].is_some() => EBUSY);
        let place = self.walk(who, path, !(how.create && how.exclusive))?;
        let ino = match place.found {
            Some(ino) => {
                let dir = self.is_dir(ino);
                let want = if how.read { READ } else { 0 } | if how.write { WRITE } else { 0 };
                refuse!(
                    how.create && how.exclusive => EEXIST,
                    dir && (how.create || how.write) => EISDIR,
                    !self.may(who, ino, want) => EACCES,
                    dir => EISDIR,
                );
                if how.truncate {
                    self.resize(who, ino, 0, true);
                }
                ino
            }
            None => {
                refuse!(!how.create => ENOENT, !self.may(who, place.dir, WRITE) => EACCES);
                self.create(who, place, Kind::File, how.mode)
            }
        };
        self.slots[slot] = Some(Slot { ino, how });
        Ok(Outcome::Done)
    }

    fn create(&mut self, who: Who, place: Place, kind: Kind, mode: u16) -> u64 {
        let dir = &self.inodes[&place.dir].stat;
        let inherits = dir.mode & 0o2000 != 0;
        let bit = u16::from(inherits && kind == Kind::Directory) << 10;
        let ino = self.add(kind, mode | bit, (who.0, if inherits { dir.gid } else { who.1 }));
        self.place(place.dir, place.name, ino);
        ino
    }

    fn read(&self, slot: usize, at: u64, len: usize) -> Result<Outcome> {
        let slot = self.slot(slot)?;
        refuse!(!slot.how.read => EBADF);
        let inode = &self.inodes[&slot.ino];
        let end = inode.stat.size.min(at.saturating_add(len as u64));
        let byte = |at: u64| inode.bytes.get(&at).copied().unwrap_or(0);
        Ok(Outcome::Bytes((at..end).map(byte).collect()))
    }

    fn write(&mut self, who: Who, slot: usize, at: u64, data: &[u8]) -> Result<Outcome> {
        let slot = self.slot(slot)?;
        refuse!(!slot.how.write => EBADF);
        let inode = self.get(slot.ino);
        inode.stat.mode &= kept_bits(who.0 == 0);
        let at = if slot.how.append { inode.stat.size } else { at };
        inode.bytes.extend((at..).zip(data.iter().copied()));
        inode.stat.size = inode.stat.size.max(at + data.len() as u64);
        inode.stat.mtime = Some(0);
        Ok(Outcome::Count(data.len()))
    }

    fn file_truncate(&mut self, who: Who, slot: usize, size: u64) -> Result<Outcome> {
        let slot = self.slot(slot)?;
        refuse!(!slot.how.write => EINVAL);
        Ok(self.resize(who, slot.ino, size, true))
    }

    fn truncate(&mut self, who: Who, path: &FilePath, size: u64) -> Result<Outcome> {
        let ino = self.find(who, path, true)?;
        refuse!(self.is_dir(ino) => EISDIR, !self.may(who, ino, WRITE) => EACCES);
        Ok(self.resize(who, ino, size, false))
    }

    fn resize(&mut self, who: Who, ino: u64, size: u64, touches: bool) -> Outcome {
        let inode = self.get(ino);
        inode.stat.mode &= kept_bits(who.0 == 0);
        // File systems differ in whether truncating by path to the same size is a change.
        inode.stat.mtime = (touches || size != inode.stat.size).then_some(0);
        inode.bytes.split_off(&size);
        inode.stat.size = size;
        Outcome::Done
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

    fn owned(&mut self, who: Who, path: &FilePath) -> Result<&mut Stat> {
        let ino = self.find(who, path, true)?;
        refuse!(!self.owns(who, ino) => EPERM);
        Ok(&mut self.get(ino).stat)
    }

    fn chmod(&mut self, who: Who, path: &FilePath, mode: u16) -> Result<Outcome> {
        let stat = self.owned(who, path)?;
        let foreign = who.0 != 0 && who.1 != stat.gid;
        stat.mode = if foreign { mode & !0o2000 } else { mode };
        Ok(Outcome::Done)
    }

    fn chown(&mut self, who: Who, path: &FilePath, uid: Option<u32>, gid: Option<u32>) -> Result<Outcome> {
        let stat = self.owned(who, path)?;
        let (uid, gid) = (uid.unwrap_or(stat.uid), gid.unwrap_or(stat.gid));
        refuse!(who.0 != 0 && (uid != stat.uid || (gid != who.1 && gid != stat.gid)) => EPERM);
        (stat.uid, stat.gid) = (uid, gid);
        stat.mode &= kept_bits(stat.kind == Kind::Directory);
        Ok(Outcome::Done)
    }

    fn set_time(&mut self, who: Who, path: &FilePath, seconds: i64) -> Result<Outcome> {
        self.owned(who, path)?.mtime = Some(seconds);
        Ok(Outcome::Done)
    }
}

/// What of a mode remains: not the set-id bits, unless all of it.
fn kept_bits(all: bool) -> u16 {
    if all { 0o7777 } else { 0o1777 }
}
