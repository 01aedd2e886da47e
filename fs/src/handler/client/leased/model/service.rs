//! The service of the model: what is true, and of which inodes the session has leases.

use super::super::tests::{attr, name};
use super::{NAMES, PAGE, ROOT, XATTRS};
use rdmafs_meta::attr::Attr;
use rdmafs_meta::error::MetaError;
use rdmafs_meta::id::InodeId;
use rdmafs_meta::wire::{Answer, ChangedName, DirEntry, Reply, StampedAnswer};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Which extended attribute goes with a change of bytes.
const CAPABILITY: usize = 1;

/// Names in the log.
const LOGGED: usize = 2;

#[derive(Clone, Copy, Debug)]
pub(super) enum Op {
    Lookup(usize),
    Get(u64),
    Set(u64),
    Make(usize),
    Link(usize, u64),
    Unlink(usize),
    Rename(usize, usize),
    Exchange(usize, usize),
    /// Since a stamp that the request has.
    CatchUp,
    List(bool),
    GetXattr(u64, usize),
    ListXattr(u64),
    SetXattr(u64, usize),
    RemoveXattr(u64, usize),
    ReadLink(u64),
    /// Gives space to write, and takes file capabilities.
    Layout(u64),
}

/// The truth.
pub(super) struct Service {
    pub(super) step: u64,
    pub(super) inodes: BTreeMap<InodeId, Attr>,
    /// By inode and name.
    xattrs: BTreeMap<(InodeId, usize), Vec<u8>>,
    /// Of which the session has a lease.
    leased: BTreeSet<InodeId>,
    /// Of which it is to forget what it believes, so that nobody gets a lease.
    recalled: BTreeSet<InodeId>,
    /// The names that changed last, each with its step.
    log: VecDeque<(u64, usize)>,
    /// Since when the log is complete.
    logged_since: u64,
    names: BTreeMap<usize, (u64, InodeId)>,
    next_inode: u64,
    next_cookie: u64,
}

impl Service {
    pub(super) fn new() -> Self {
        Self {
            step: 1,
            inodes: (1..=3).map(|ino| (InodeId(ino), attr(ino, 0))).collect(),
            xattrs: BTreeMap::new(),
            leased: BTreeSet::new(),
            names: [(0, (3, InodeId(2))), (1, (4, InodeId(3)))].into(),
            next_inode: 4,
            next_cookie: 5,
            recalled: BTreeSet::new(),
            log: VecDeque::new(),
            logged_since: 0,
        }
    }

    pub(super) fn led(&self, name: usize) -> Option<InodeId> {
        self.names.get(&name).map(|(_, ino)| *ino)
    }

    fn changes(&mut self, ino: InodeId, links: i32) {
        let attr = self.inodes.get_mut(&ino).expect("it is there");
        attr.size += 1;
        attr.nlink = attr.nlink.checked_add_signed(links).expect("links are counted");
        if attr.nlink == 0 {
            self.inodes.remove(&ino);
        }
    }

    fn put(&mut self, name: usize, ino: InodeId) {
        self.names.insert(name, (self.next_cookie, ino));
        self.next_cookie += 1;
        self.logs(name);
    }

    fn take(&mut self, name: usize) -> Option<InodeId> {
        self.logs(name);
        self.names.remove(&name).map(|(_, ino)| ino)
    }

    fn logs(&mut self, name: usize) {
        self.log.retain(|(_, logged)| *logged != name);
        self.log.push_back((self.step, name));
        if self.log.len() > LOGGED
            && let Some((step, _)) = self.log.pop_front()
        {
            self.logged_since = step;
        }
    }

    fn changed_since(&self, since: u64) -> Answer {
        let complete = since >= self.logged_since;
        let changed = self.log.iter().filter(|(step, _)| complete && *step > since);
        let names = changed.map(|(_, at)| ChangedName {
            name: name(NAMES[*at]),
            attr: self.led(*at).map(|ino| self.inodes[&ino].clone()),
        });
        Ok(Reply::CaughtUp {
            attr: self.inodes[&ROOT].clone(),
            complete,
            names: names.collect(),
        })
    }

    /// What the request would change.
    pub(super) fn affected(&self, op: Op) -> Vec<InodeId> {
        let named = |names: &[usize]| {
            names
                .iter()
                .filter_map(|name| self.led(*name))
                .chain([ROOT])
                .collect()
        };
        match op {
            Op::Set(ino) | Op::SetXattr(ino, _) | Op::RemoveXattr(ino, _) | Op::Layout(ino) => {
                vec![InodeId(ino)]
            }
            Op::Make(at) | Op::Unlink(at) => named(&[at]),
            Op::Link(at, ino) => [InodeId(ino)].into_iter().chain(named(&[at])).collect(),
            Op::Rename(from, to) | Op::Exchange(from, to) => named(&[from, to]),
            Op::Lookup(_) | Op::Get(_) | Op::List(_) | Op::CatchUp => Vec::new(),
            Op::GetXattr(..) | Op::ListXattr(_) | Op::ReadLink(_) => Vec::new(),
        }
    }

    fn attr(&self, ino: InodeId) -> Answer {
        self.inodes
            .get(&ino)
            .cloned()
            .map(Reply::Attr)
            .ok_or(MetaError::Stale)
    }

    pub(super) fn serve(&mut self, op: Op, after: u64) -> Answer {
        self.step += 1;
        match op {
            Op::Lookup(at) => self
                .led(at)
                .ok_or(MetaError::NotFound)
                .and_then(|ino| self.attr(ino)),
            Op::Get(ino) => self.attr(InodeId(ino)),
            Op::Set(ino) => {
                self.attr(InodeId(ino))?;
                self.changes(InodeId(ino), 0);
                self.attr(InodeId(ino))
            }
            Op::Make(at) => {
                let ino = InodeId(self.next_inode);
                self.free(at)?;
                self.next_inode += 1;
                self.inodes.insert(ino, attr(ino.0, 0));
                self.put(at, ino);
                self.changes(ROOT, 0);
                self.attr(ino)
            }
            Op::Link(at, ino) => {
                self.attr(InodeId(ino))?;
                self.free(at)?;
                self.put(at, InodeId(ino));
                self.changes(InodeId(ino), 1);
                self.changes(ROOT, 0);
                self.attr(InodeId(ino))
            }
            Op::Unlink(at) => {
                self.led(at).ok_or(MetaError::NotFound)?;
                let ino = self.take(at).expect("it is there");
                self.changes(ino, -1);
                self.changes(ROOT, 0);
                Ok(Reply::Done)
            }
            Op::Rename(from, to) => self.rename(from, to),
            Op::Exchange(one, other) => self.exchange(one, other),
            Op::CatchUp => self.changed_since(after),
            Op::List(first) => Ok(self.page(if first { 0 } else { after })),
            op => self.serve_extra(op),
        }
    }

    fn serve_extra(&mut self, op: Op) -> Answer {
        match op {
            Op::GetXattr(ino, of) => {
                self.attr(InodeId(ino))?;
                let page = self.xattr(InodeId(ino), of).ok_or(MetaError::NoXattr)?;
                let total = u32::try_from(page.len()).expect("it is short");
                let edition = 0;
                Ok(Reply::Xattr { total, edition, page })
            }
            Op::ListXattr(ino) => {
                self.attr(InodeId(ino))?;
                Ok(Reply::XattrNames(self.xattrs(InodeId(ino))))
            }
            Op::ReadLink(ino) => {
                self.attr(InodeId(ino))?;
                Ok(Reply::Target(target(InodeId(ino))))
            }
            Op::SetXattr(ino, of) => {
                self.attr(InodeId(ino))?;
                let value = self.step.to_ne_bytes().to_vec();
                self.xattrs.insert((InodeId(ino), of), value);
                self.changes(InodeId(ino), 0);
                self.attr(InodeId(ino))
            }
            Op::RemoveXattr(ino, of) => {
                self.attr(InodeId(ino))?;
                let before = self.xattrs.remove(&(InodeId(ino), of));
                before.ok_or(MetaError::NoXattr)?;
                self.changes(InodeId(ino), 0);
                self.attr(InodeId(ino))
            }
            Op::Layout(ino) => {
                self.attr(InodeId(ino))?;
                self.xattrs.remove(&(InodeId(ino), CAPABILITY));
                self.changes(InodeId(ino), 0);
                Ok(Reply::Done)
            }
            _ => unreachable!("{op:?} is of names or attributes"),
        }
    }

    pub(super) fn xattr(&self, ino: InodeId, of: usize) -> Option<Vec<u8>> {
        self.xattrs.get(&(ino, of)).cloned()
    }

    /// Names of those that there are.
    pub(super) fn xattrs(&self, ino: InodeId) -> Vec<u8> {
        let there = (0..XATTRS.len()).filter(|of| self.xattrs.contains_key(&(ino, *of)));
        there
            .flat_map(|of| [XATTRS[of].as_bytes(), &[0]].concat())
            .collect()
    }

    /// The session may believe what this says, as nodes of earlier builds see it: of inodes whose attributes it has, and of the directory whose
    /// names it tells of. Gives those of which it may not, since they are being recalled.
    pub(super) fn lease(&mut self, op: Op, said: &StampedAnswer) -> Vec<InodeId> {
        let mut shown: BTreeSet<InodeId> = match &said.answer {
            Ok(Reply::Attr(attr)) => [attr.ino].into(),
            Ok(Reply::CaughtUp { names, .. }) => {
                let named = names.iter().filter_map(|name| name.attr.as_ref());
                named.map(|attr| attr.ino).collect()
            }
            Ok(Reply::Directory { entries, .. }) => entries.iter().map(|entry| entry.attr.ino).collect(),
            _ => BTreeSet::new(),
        };
        shown.extend(said.changed.iter().map(|attr| attr.ino));
        let named = match op {
            Op::Lookup(_) | Op::Make(_) | Op::Link(..) | Op::Unlink(_) | Op::Rename(..) | Op::List(_) => true,
            Op::Exchange(..) | Op::CatchUp => true,
            Op::Get(_) | Op::Set(_) | Op::Layout(_) | Op::ReadLink(_) => false,
            Op::GetXattr(..) | Op::ListXattr(_) | Op::SetXattr(..) | Op::RemoveXattr(..) => false,
        };
        if named && matches!(said.answer, Ok(_) | Err(MetaError::NotFound)) {
            shown.insert(ROOT);
        }
        let (refused, given) = shown.into_iter().partition(|ino| self.recalled.contains(ino));
        let given: Vec<InodeId> = given;
        self.leased.extend(given);
        refused
    }

    /// Another session is to change these: which of them the session has to forget first.
    pub(super) fn recall(&mut self, inodes: Vec<InodeId>) -> Vec<InodeId> {
        let recalled: Vec<InodeId> = inodes.into_iter().filter(|ino| self.leased.remove(ino)).collect();
        self.recalled.extend(&recalled);
        recalled
    }

    /// It has forgotten all that.
    pub(super) fn recalled(&mut self) {
        self.recalled.clear();
    }

    fn free(&self, at: usize) -> Result<(), MetaError> {
        self.led(at).map_or(Ok(()), |_| Err(MetaError::Exists))
    }

    fn rename(&mut self, from: usize, to: usize) -> Answer {
        let moved = self.led(from).ok_or(MetaError::NotFound)?;
        if self.led(to) == Some(moved) {
            return Ok(Reply::Done);
        }
        self.take(from);
        if let Some(replaced) = self.take(to) {
            self.changes(replaced, -1);
        }
        self.put(to, moved);
        self.changes(moved, 0);
        self.changes(ROOT, 0);
        Ok(Reply::Done)
    }

    fn exchange(&mut self, one: usize, other: usize) -> Answer {
        let first = self.led(one).ok_or(MetaError::NotFound)?;
        let second = self.led(other).ok_or(MetaError::NotFound)?;
        if first != second {
            self.put(one, second);
            self.put(other, first);
            self.changes(first, 0);
            self.changes(second, 0);
            self.changes(ROOT, 0);
        }
        Ok(Reply::Done)
    }

    /// The place that the next name gets.
    pub(super) fn next_cookie(&self) -> u64 {
        self.next_cookie
    }

    /// All entries after `after`.
    pub(super) fn listed(&self, after: u64) -> Vec<DirEntry> {
        let names = self.names.iter();
        let names = names.map(|(at, (cookie, ino))| self.entry(NAMES[*at], *cookie, *ino));
        let dot = self.entry(".", 1, ROOT);
        let mut entries: Vec<DirEntry> = [dot].into_iter().chain(names).collect();
        entries.retain(|entry| entry.cookie > after);
        entries.sort_by_key(|entry| entry.cookie);
        entries
    }

    fn page(&self, after: u64) -> Reply {
        let mut entries = self.listed(after);
        let end = entries.len() <= PAGE;
        entries.truncate(PAGE);
        let next = self.next_cookie;
        Reply::Directory { entries, end, next }
    }

    fn entry(&self, name: &str, cookie: u64, ino: InodeId) -> DirEntry {
        DirEntry {
            name: name.into(),
            cookie,
            attr: self.inodes[&ino].clone(),
        }
    }
}

/// Where the inode leads as a symbolic link.
pub(super) fn target(ino: InodeId) -> Vec<u8> {
    ino.0.to_ne_bytes().to_vec()
}
