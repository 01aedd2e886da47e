//! The reference model: a POSIX file system that is too simple to be wrong.
//!
//! Plain maps, no sharing of code with the system. It answers a refusal with every errno that would be right at this
//! moment, Linux's choice first; the system under test must give one of them.

#![expect(clippy::cast_possible_truncation, reason = "positions within a chunk")]

use crate::ops::{Action, CALLERS, FilePath, How, Kind, Op, Outcome, Rename, SLOTS, Stat, pattern};
use nix::libc;
use std::collections::{BTreeMap, HashMap, VecDeque};

/// Bytes of a chunk of file data; deliberately no divisor or multiple of a page.
const CHUNK: u64 = 1000;
const ROOT: u64 = 1;
const HOPS: usize = 40;
const READ: u16 = 4;
const WRITE: u16 = 2;
const EXEC: u16 = 1;

/// uid and gid.
type Who = (u32, u32);
type Refusals = Vec<i32>;
type Result<T> = std::result::Result<T, Refusals>;

/// Inodes are never taken out of the map, so an unlinked open file needs no care.
#[derive(Clone, Debug)]
struct Inode {
    stat: Stat,
    chunks: HashMap<u64, [u8; CHUNK as usize]>,
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
#[derive(Clone, Debug)]
pub struct Model {
    inodes: HashMap<u64, Inode>,
    slots: [Option<Slot>; SLOTS],
    next: u64,
    /// `fs.protected_hardlinks`: the kernel in front refuses hard links to what the caller could not write.
    protected_hardlinks: bool,
}

impl Model {
    /// An empty file system whose root has this mode and belongs to root.
    #[must_use]
    pub fn new(root_mode: u16, protected_hardlinks: bool) -> Self {
        let mut model = Self {
            inodes: HashMap::new(),
            slots: [None; SLOTS],
            next: ROOT,
            protected_hardlinks,
        };
        model.add(Kind::Directory, root_mode, (0, 0));
        model
    }

    /// Does it and says what must have come of it.
    pub fn apply(&mut self, op: &Op) -> Outcome {
        let who = CALLERS[op.caller];
        match &op.action {
            Action::Open { slot, path, how } => self.open(who, *slot, path, *how),
            Action::Close { slot } => self.slots[*slot]
                .take()
                .map(|_| Outcome::Done)
                .ok_or(vec![libc::EBADF]),
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

    // --- paths and permissions ---

    fn walk(&self, who: Who, path: &FilePath, follow: bool) -> Result<Place> {
        let mut left: VecDeque<Vec<u8>> = path.0.iter().map(|n| n.to_vec()).collect();
        let (mut dir, mut hops) = (ROOT, 0);
        while let Some(name) = left.pop_front() {
            refuse(&[
                (!self.may(who, dir, EXEC), libc::EACCES),
                (name.len() > 255, libc::ENAMETOOLONG),
            ])?;
            let found = self.inodes[&dir].entries.get(&name).copied();
            let last = left.is_empty();
            match found.map(|ino| (ino, self.inodes[&ino].stat.kind)) {
                Some((ino, Kind::Symlink)) if !last || follow => {
                    hops += 1;
                    refuse(&[(hops > HOPS, libc::ELOOP)])?;
                    let target = self.inodes[&ino].target.split(|b| *b == b'/');
                    target.rev().for_each(|part| left.push_front(part.to_vec()));
                }
                _ if last => return Ok(Place { dir, name, found }),
                Some((ino, Kind::Directory)) => dir = ino,
                Some(_) => return Err(vec![libc::ENOTDIR]),
                None => return Err(vec![libc::ENOENT]),
            }
        }
        Err(vec![libc::ENOENT])
    }

    fn find(&self, who: Who, path: &FilePath, follow: bool) -> Result<u64> {
        self.walk(who, path, follow)?.found.ok_or(vec![libc::ENOENT])
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

    // --- inodes ---

    fn add(&mut self, kind: Kind, mode: u16, (uid, gid): Who) -> u64 {
        let ino = self.next;
        self.next += 1;
        let stat = Stat {
            kind,
            mode,
            nlink: 1,
            uid,
            gid,
            size: 0,
            mtime: Some(0),
        };
        let (chunks, entries, target) = (HashMap::new(), BTreeMap::new(), Vec::new());
        self.inodes.insert(
            ino,
            Inode {
                stat,
                chunks,
                entries,
                parent: ROOT,
                target,
            },
        );
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
        self.slots[slot].ok_or(vec![libc::EBADF])
    }

    fn place(&mut self, dir: u64, name: Vec<u8>, ino: u64) {
        if self.is_dir(ino) {
            self.get(ino).parent = dir;
        }
        self.get(dir).entries.insert(name, ino);
        self.get(dir).stat.mtime = Some(0);
    }

    // --- open files ---

    fn open(&mut self, who: Who, slot: usize, path: &FilePath, how: How) -> Result<Outcome> {
        refuse(&[(self.slots[slot].is_some(), libc::EBUSY)])?;
        let place = self.walk(who, path, !(how.create && how.exclusive))?;
        let ino = match place.found {
            Some(ino) => {
                let dir = self.is_dir(ino);
                let want = if how.read { READ } else { 0 } | if how.write { WRITE } else { 0 };
                refuse(&[
                    (how.create && how.exclusive, libc::EEXIST),
                    (dir && (how.create || how.write), libc::EISDIR),
                    (!self.may(who, ino, want), libc::EACCES),
                    (dir, libc::EISDIR),
                ])?;
                if how.truncate {
                    self.resize(who, ino, 0, true);
                }
                ino
            }
            None => {
                refuse(&[
                    (!how.create, libc::ENOENT),
                    (!self.may(who, place.dir, WRITE), libc::EACCES),
                ])?;
                self.create(who, place, Kind::File, how.mode)
            }
        };
        self.slots[slot] = Some(Slot { ino, how });
        Ok(Outcome::Done)
    }

    fn create(&mut self, who: Who, place: Place, kind: Kind, mode: u16) -> u64 {
        let dir = &self.inodes[&place.dir].stat;
        let inherits = dir.mode & 0o2000 != 0;
        let bit = if inherits && kind == Kind::Directory {
            0o2000
        } else {
            0
        };
        let ino = self.add(kind, mode | bit, (who.0, if inherits { dir.gid } else { who.1 }));
        self.place(place.dir, place.name, ino);
        ino
    }

    fn read(&self, slot: usize, at: u64, len: usize) -> Result<Outcome> {
        let slot = self.slot(slot)?;
        refuse(&[(!slot.how.read, libc::EBADF)])?;
        let inode = &self.inodes[&slot.ino];
        let end = inode.stat.size.min(at.saturating_add(len as u64));
        let byte = |at: u64| {
            inode
                .chunks
                .get(&(at / CHUNK))
                .map_or(0, |chunk| chunk[within(at)])
        };
        Ok(Outcome::Bytes((at..end).map(byte).collect()))
    }

    fn write(&mut self, who: Who, slot: usize, at: u64, data: &[u8]) -> Result<Outcome> {
        let slot = self.slot(slot)?;
        refuse(&[(!slot.how.write, libc::EBADF)])?;
        self.drop_set_id(who, slot.ino);
        let inode = self.get(slot.ino);
        let at = if slot.how.append { inode.stat.size } else { at };
        for (at, byte) in (at..).zip(data) {
            inode.chunks.entry(at / CHUNK).or_insert([0; CHUNK as usize])[within(at)] = *byte;
        }
        inode.stat.size = inode.stat.size.max(at + data.len() as u64);
        inode.stat.mtime = Some(0);
        Ok(Outcome::Count(data.len()))
    }

    fn file_truncate(&mut self, who: Who, slot: usize, size: u64) -> Result<Outcome> {
        let slot = self.slot(slot)?;
        refuse(&[(!slot.how.write, libc::EINVAL)])?;
        self.resize(who, slot.ino, size, true);
        Ok(Outcome::Done)
    }

    fn truncate(&mut self, who: Who, path: &FilePath, size: u64) -> Result<Outcome> {
        let ino = self.find(who, path, true)?;
        refuse(&[
            (self.is_dir(ino), libc::EISDIR),
            (!self.may(who, ino, WRITE), libc::EACCES),
        ])?;
        self.resize(who, ino, size, false);
        Ok(Outcome::Done)
    }

    fn resize(&mut self, who: Who, ino: u64, size: u64, touches: bool) {
        self.drop_set_id(who, ino);
        let inode = self.get(ino);
        // File systems differ in whether truncating by path to the same size is a change.
        inode.stat.mtime = if touches || size != inode.stat.size {
            Some(0)
        } else {
            None
        };
        inode.chunks.retain(|chunk, _| chunk * CHUNK < size);
        if let Some(chunk) = inode.chunks.get_mut(&(size / CHUNK)) {
            chunk[within(size)..].fill(0);
        }
        inode.stat.size = size;
    }

    fn drop_set_id(&mut self, who: Who, ino: u64) {
        if who.0 != 0 {
            self.get(ino).stat.mode &= !0o6000;
        }
    }

    // --- names ---

    fn make(&mut self, who: Who, path: &FilePath, kind: Kind, mode: u16, target: &[u8]) -> Result<Outcome> {
        let place = self.walk(who, path, false)?;
        refuse(&[
            (place.found.is_some(), libc::EEXIST),
            (!self.may(who, place.dir, WRITE), libc::EACCES),
        ])?;
        let ino = self.create(who, place, kind, mode);
        self.get(ino).target = target.to_vec();
        self.get(ino).stat.size = target.len() as u64;
        Ok(Outcome::Done)
    }

    fn remove(&mut self, who: Who, path: &FilePath, want_dir: bool) -> Result<Outcome> {
        let place = self.walk(who, path, false)?;
        let ino = place.found.ok_or(vec![libc::ENOENT])?;
        refuse(&[
            (!self.may(who, place.dir, WRITE), libc::EACCES),
            (self.stuck(who, place.dir, ino), libc::EPERM),
            (want_dir && !self.is_dir(ino), libc::ENOTDIR),
            (!want_dir && self.is_dir(ino), libc::EISDIR),
            (!self.inodes[&ino].entries.is_empty(), libc::ENOTEMPTY),
        ])?;
        self.get(place.dir).entries.remove(&place.name);
        self.get(place.dir).stat.mtime = Some(0);
        self.get(ino).stat.nlink -= 1;
        Ok(Outcome::Done)
    }

    fn link(&mut self, who: Who, old: &FilePath, new: &FilePath) -> Result<Outcome> {
        let ino = self.find(who, old, false)?;
        let place = self.walk(who, new, false)?;
        let safe = self.inodes[&ino].stat.kind == Kind::File
            && self.inodes[&ino].stat.mode & 0o4000 == 0
            && self.inodes[&ino].stat.mode & 0o2010 != 0o2010
            && self.may(who, ino, READ | WRITE);
        refuse(&[
            (place.found.is_some(), libc::EEXIST),
            (
                self.protected_hardlinks && !self.owns(who, ino) && !safe,
                libc::EPERM,
            ),
            (!self.may(who, place.dir, WRITE), libc::EACCES),
            (self.is_dir(ino), libc::EPERM),
        ])?;
        self.place(place.dir, place.name, ino);
        self.get(ino).stat.nlink += 1;
        Ok(Outcome::Done)
    }

    fn read_link(&self, who: Who, path: &FilePath) -> Result<Outcome> {
        let ino = self.find(who, path, false)?;
        refuse(&[(self.inodes[&ino].stat.kind != Kind::Symlink, libc::EINVAL)])?;
        Ok(Outcome::Target(self.inodes[&ino].target.clone()))
    }

    fn rename(&mut self, who: Who, old: &FilePath, new: &FilePath, how: Rename) -> Result<Outcome> {
        // The kernel walks both directories before it looks for either last name.
        let (from, to) = match (self.walk(who, old, false), self.walk(who, new, false)) {
            (Ok(from), Ok(to)) => (from, to),
            (from, to) => {
                return Err([from.err(), to.err(), Some(vec![libc::ENOENT])]
                    .into_iter()
                    .flatten()
                    .flatten()
                    .collect());
            }
        };
        let exchange = how == Rename::Exchange;
        refuse(&[
            (from.found.is_none(), libc::ENOENT),
            (how == Rename::NoReplace && to.found.is_some(), libc::EEXIST),
            (exchange && to.found.is_none(), libc::ENOENT),
        ])?;
        let moved = from.found.expect("checked above");
        refuse(&[
            (self.above(moved, to.dir), libc::EINVAL),
            (
                to.found.is_some_and(|there| self.above(there, from.dir)),
                if exchange { libc::EINVAL } else { libc::ENOTEMPTY },
            ),
        ])?;
        if to.found == Some(moved) {
            return Ok(Outcome::Done);
        }
        self.may_move(who, &from, &to, exchange)?;
        self.get(from.dir).entries.remove(&from.name);
        self.get(from.dir).stat.mtime = Some(0);
        match to.found {
            Some(there) if exchange => self.place(from.dir, from.name, there),
            Some(there) => self.get(there).stat.nlink -= 1,
            None => {}
        }
        self.place(to.dir, to.name, moved);
        Ok(Outcome::Done)
    }

    fn may_move(&self, who: Who, from: &Place, to: &Place, exchange: bool) -> Result<()> {
        let moved = from.found.expect("checked by the caller");
        let across = from.dir != to.dir;
        let pinned = |ino: u64| across && self.is_dir(ino) && !self.may(who, ino, WRITE);
        let mut reasons = vec![
            (
                !self.may(who, from.dir, WRITE) || !self.may(who, to.dir, WRITE),
                libc::EACCES,
            ),
            (self.stuck(who, from.dir, moved), libc::EPERM),
            (pinned(moved), libc::EACCES),
        ];
        if let Some(there) = to.found {
            reasons.extend([
                (self.stuck(who, to.dir, there), libc::EPERM),
                (exchange && pinned(there), libc::EACCES),
                (
                    !exchange && self.is_dir(moved) && !self.is_dir(there),
                    libc::ENOTDIR,
                ),
                (
                    !exchange && !self.is_dir(moved) && self.is_dir(there),
                    libc::EISDIR,
                ),
                (
                    !exchange && !self.inodes[&there].entries.is_empty(),
                    libc::ENOTEMPTY,
                ),
            ]);
        }
        refuse(&reasons)
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
        refuse(&[
            (!self.is_dir(ino), libc::ENOTDIR),
            (!self.may(who, ino, READ), libc::EACCES),
        ])?;
        let entries = self.inodes[&ino].entries.iter();
        Ok(Outcome::Names(
            entries
                .map(|(name, child)| (name.clone(), self.inodes[child].stat.kind))
                .collect(),
        ))
    }

    // --- attributes ---

    fn chmod(&mut self, who: Who, path: &FilePath, mode: u16) -> Result<Outcome> {
        let ino = self.find(who, path, true)?;
        refuse(&[(!self.owns(who, ino), libc::EPERM)])?;
        let foreign = who.0 != 0 && who.1 != self.inodes[&ino].stat.gid;
        self.get(ino).stat.mode = if foreign { mode & !0o2000 } else { mode };
        Ok(Outcome::Done)
    }

    fn chown(&mut self, who: Who, path: &FilePath, uid: Option<u32>, gid: Option<u32>) -> Result<Outcome> {
        let ino = self.find(who, path, true)?;
        let inode = &self.inodes[&ino];
        let gives_away = uid.is_some_and(|uid| !self.owns(who, ino) || uid != inode.stat.uid);
        let regroups = gid.is_some_and(|gid| !self.owns(who, ino) || (gid != who.1 && gid != inode.stat.gid));
        refuse(&[(who.0 != 0 && (gives_away || regroups), libc::EPERM)])?;
        let dir = self.is_dir(ino);
        let inode = self.get(ino);
        inode.stat.uid = uid.unwrap_or(inode.stat.uid);
        inode.stat.gid = gid.unwrap_or(inode.stat.gid);
        if !dir {
            inode.stat.mode &= !0o6000;
        }
        Ok(Outcome::Done)
    }

    fn set_time(&mut self, who: Who, path: &FilePath, seconds: i64) -> Result<Outcome> {
        let ino = self.find(who, path, true)?;
        refuse(&[(!self.owns(who, ino), libc::EPERM)])?;
        self.get(ino).stat.mtime = Some(seconds);
        Ok(Outcome::Done)
    }
}

fn within(at: u64) -> usize {
    (at % CHUNK) as usize
}

/// Every reason that holds, in Linux's order.
fn refuse(reasons: &[(bool, i32)]) -> Result<()> {
    let all: Refusals = reasons
        .iter()
        .filter(|(holds, _)| *holds)
        .map(|(_, errno)| *errno)
        .collect();
    if all.is_empty() { Ok(()) } else { Err(all) }
}
