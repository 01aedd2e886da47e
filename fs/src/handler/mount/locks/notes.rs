//! What the programs of a mount have locked.
//!
//! The kernel names an owner by a number that is made of an address: of the process's table of descriptors for POSIX locks, of the open
//! file for the others. A number may come again for another one as soon as the first is gone, and the kernel tells of the end of an open
//! file late (RELEASE waits for nobody). So the service never hears those numbers: each note has an owner of its own, and ends with the
//! FLUSH of its process or the RELEASE of its file.

use super::spans::Spans;
use crate::errno::Error;
use crate::handler::mount::HandleId;
use crate::handler::values::Connection;
use rdmafs_meta::id::{InodeId, LockOwner};
use rdmafs_meta::lock::{LockKind, Span};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Owners that no note had before. 0 is nobody.
static OWNERS: AtomicU64 = AtomicU64::new(1);

/// Notes of an open file's locks that are lost.
#[derive(Clone, Debug, Default)]
pub(in crate::handler) struct Losses(Arc<AtomicU32>);

impl Losses {
    pub(in crate::handler) fn any(&self) -> bool {
        self.0.load(Ordering::Acquire) > 0
    }
}

/// A file, and the kernel's number of an owner.
pub(super) type FileOwner = (InodeId, u64);

/// What one owner has of one file.
#[derive(Debug)]
struct Note {
    owner: LockOwner,
    /// The session in which it has it.
    origin: Connection,
    /// What programs know that they have.
    held: Spans,
    /// The service may know of more.
    unsure: bool,
    /// What was held ended with its session.
    lost: bool,
    /// By which calls it was taken.
    kinds: Vec<LockKind>,
    /// The open files through which it was taken.
    files: Vec<(HandleId, Losses)>,
    /// Operations that are under way with it.
    busy: u32,
}

impl Note {
    fn new() -> Self {
        Self {
            owner: LockOwner(OWNERS.fetch_add(1, Ordering::Relaxed)),
            origin: Connection::default(),
            held: Spans::default(),
            unsure: false,
            lost: false,
            kinds: Vec::new(),
            files: Vec::new(),
            busy: 0,
        }
    }

    fn is_idle(&self) -> bool {
        self.held.is_empty() && !self.unsure && !self.lost && self.busy == 0
    }

    /// Whether one who asks through this file in this way can be its owner: an open file has one handle only.
    fn can_be(&self, handle: HandleId, kind: LockKind) -> bool {
        let of_file = |kind: &LockKind| matches!(kind, LockKind::Flock | LockKind::Ofd);
        let same_file = self.files.iter().any(|(known, _)| *known == handle);
        match kind {
            LockKind::Posix => !self.kinds.iter().any(of_file),
            LockKind::Flock | LockKind::Ofd => same_file && !self.kinds.contains(&LockKind::Posix),
            LockKind::Unknown => same_file || !self.kinds.iter().any(of_file),
        }
    }

    fn lose(&mut self) {
        if !std::mem::replace(&mut self.lost, true) {
            for (_, losses) in &self.files {
                losses.0.fetch_add(1, Ordering::AcqRel);
            }
        }
    }

    fn find_anew(&mut self) {
        self.held.clear();
        if std::mem::replace(&mut self.lost, false) {
            for (_, losses) in &self.files {
                losses.0.fetch_sub(1, Ordering::AcqRel);
            }
        }
    }

    /// What the service is to give back when this owner is gone.
    fn owed(&self) -> Option<Owed> {
        let owes = !self.lost && (self.unsure || self.busy > 0 || !self.held.is_empty());
        owes.then_some(Owed {
            owner: self.owner,
            origin: self.origin,
        })
    }
}

/// All locks of an owner, to be given back in the session in which it has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owed {
    pub(super) owner: LockOwner,
    pub(super) origin: Connection,
}

/// How an unlock is to be done.
pub(super) enum Unlocking {
    /// There is nothing to give back.
    Nothing,
    /// At the service; of this kind.
    Ask { owed: Owed, kind: LockKind },
}

/// All notes of a mount.
#[derive(Debug, Default)]
pub(in crate::handler) struct Notes {
    all: BTreeMap<FileOwner, Note>,
}

impl Notes {
    /// Whether there may be locks that end with this open file.
    pub(super) fn has_locks(&self, ino: InodeId, handle: HandleId) -> bool {
        self.all.range((ino, 0)..=(ino, u64::MAX)).any(|(_, note)| {
            let of_file = note.kinds.iter().any(|kind| *kind != LockKind::Posix);
            of_file && note.owed().is_some() && note.files.iter().any(|(known, _)| *known == handle)
        })
    }

    /// The kinds that an owner's locks have so far.
    pub(super) fn kinds(&self, by: FileOwner) -> Vec<LockKind> {
        self.all
            .get(&by)
            .map(|note| note.kinds.clone())
            .unwrap_or_default()
    }

    /// The owner as the service knows it.
    pub(super) fn owner(&self, by: FileOwner) -> LockOwner {
        self.all.get(&by).map_or(LockOwner(0), |note| note.owner)
    }

    /// Whether an owner has some of these bytes.
    pub(super) fn holds(&self, by: FileOwner, span: Span) -> bool {
        self.all.get(&by).is_some_and(|note| note.held.overlaps(span))
    }

    /// An operation asks for a lock; [`Notes::ends`] follows. Gives the owner, and what one with the same number left behind.
    pub(super) fn begins(
        &mut self,
        by: FileOwner,
        file: (HandleId, Losses),
        kind: LockKind,
    ) -> (LockOwner, Option<Owed>) {
        let left = match self.all.get(&by) {
            Some(note) if note.busy == 0 && !note.can_be(file.0, kind) => self.forget(by),
            _ => None,
        };
        let note = self.all.entry(by).or_insert_with(Note::new);
        note.busy += 1;
        if !note.kinds.contains(&kind) {
            note.kinds.push(kind);
        }
        if !note.files.iter().any(|(known, _)| *known == file.0) {
            if note.lost {
                file.1.0.fetch_add(1, Ordering::AcqRel);
            }
            note.files.push(file);
        }
        (note.owner, left)
    }

    /// The operation is over; `unsure`: nobody knows what the service did.
    pub(super) fn ends(&mut self, by: FileOwner, unsure: bool) {
        if let Some(note) = self.all.get_mut(&by) {
            note.busy -= 1;
            note.unsure |= unsure;
        }
        self.drop_if_idle(by);
    }

    /// What is asked for next is asked in the session that began over `origin`. True when some of the span is held there already.
    ///
    /// # Errors
    /// [`Error::LocksLost`].
    pub(super) fn enters(&mut self, by: FileOwner, origin: Connection, span: Span) -> Result<bool, Error> {
        let Some(note) = self.all.get_mut(&by) else {
            return Ok(false);
        };
        if note.origin != origin {
            if !note.held.is_empty() {
                note.lose();
            }
            note.origin = origin;
            note.unsure = false;
        }
        if note.lost {
            return Err(Error::LocksLost);
        }
        Ok(note.held.overlaps(span))
    }

    /// The service has granted it in that session. False when that is over.
    pub(super) fn has(&mut self, by: FileOwner, origin: Connection, span: Span) -> bool {
        let note = self.all.get_mut(&by).filter(|note| note.origin == origin);
        note.map(|note| note.held.add(span)).is_some()
    }

    /// What was noted by [`Notes::has`] is given back, and no program has heard that it had it.
    pub(super) fn has_not(&mut self, by: FileOwner, span: Span) {
        if let Some(note) = self.all.get_mut(&by) {
            note.held.remove(span);
            if note.held.is_empty() {
                note.find_anew();
            }
        }
    }

    /// flock(2) gave up what it had, and has nothing in its place.
    pub(super) fn has_no_more(&mut self, by: FileOwner) {
        if let Some(note) = self.all.get_mut(&by) {
            note.held.clear();
            // An OFD lock of the same file may be among what was noted as held.
            note.unsure |= note.kinds.len() > 1;
        }
    }

    /// A program unlocks. What it has is noted as given back at once: a lock that another thread gets meanwhile is noted after that.
    pub(super) fn unlocks(&mut self, by: FileOwner, span: Span, kind: LockKind) -> Unlocking {
        let Some(note) = self.all.get_mut(&by) else {
            return Unlocking::Nothing;
        };
        if note.lost {
            note.held.remove(span);
            if note.held.is_empty() {
                note.find_anew();
            }
            self.drop_if_idle(by);
            return Unlocking::Nothing;
        }
        let Some(owed) = note.owed() else {
            return Unlocking::Nothing;
        };
        if note.kinds.len() < 2 || kind == LockKind::Unknown {
            note.held.remove(span);
        }
        note.busy += 1;
        Unlocking::Ask { owed, kind }
    }

    /// The service has given everything of the owner back, for the operation that ends now.
    pub(super) fn gave_all_back(&mut self, by: FileOwner) {
        if let Some(note) = self.all.get_mut(&by).filter(|note| note.busy == 1) {
            note.unsure = false;
        }
    }

    /// A process closes a file: what it owes. An operation of another of its threads goes on with the note.
    pub(super) fn process_closes(&mut self, by: FileOwner) -> Option<Owed> {
        let note = self.all.get_mut(&by)?;
        if note.busy == 0 {
            return self.forget(by);
        }
        let owed = note.owed();
        note.find_anew();
        owed
    }

    /// An open file is gone: what those owe who locked through it alone.
    pub(super) fn file_closes(&mut self, ino: InodeId, handle: HandleId) -> Vec<Owed> {
        let mut gone = Vec::new();
        for (by, note) in self.all.range_mut((ino, 0)..=(ino, u64::MAX)) {
            let before = note.files.len();
            note.files.retain(|(known, _)| *known != handle);
            if note.files.is_empty() && before > 0 {
                gone.push(*by);
            }
        }
        gone.into_iter().filter_map(|by| self.forget(by)).collect()
    }

    /// Forgets all locks, and says what has to be given back.
    pub(super) fn forget_all(&mut self) -> Vec<(InodeId, Owed)> {
        let all = std::mem::take(&mut self.all);
        let owed = |((ino, _), note): (FileOwner, Note)| Some((ino, note.owed()?));
        all.into_iter().filter_map(owed).collect()
    }

    /// The session is over: what was held is lost. Gives the files.
    pub(super) fn are_lost(&mut self) -> Vec<InodeId> {
        let mut inodes = Vec::new();
        for ((ino, _), note) in &mut self.all {
            note.unsure = false;
            if !note.held.is_empty() {
                note.lose();
                inodes.push(*ino);
            }
        }
        self.all.retain(|_, note| !note.is_idle());
        inodes
    }

    fn forget(&mut self, by: FileOwner) -> Option<Owed> {
        let mut note = self.all.remove(&by)?;
        let owed = note.owed();
        note.find_anew();
        owed
    }

    fn drop_if_idle(&mut self, by: FileOwner) {
        if self.all.get(&by).is_some_and(Note::is_idle) {
            self.all.remove(&by);
        }
    }
}
