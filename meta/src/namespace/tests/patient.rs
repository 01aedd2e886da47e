//! A store that tests damage: with one of everything in it, and ways to break it.

use super::world::{ROOT, World, config};
use crate::extent::GRANULE;
use crate::id::{InodeId, Term};
use crate::layout::{Run, SEGMENT};
use crate::name::Name;
use crate::namespace::record::{self, EntryRecord, InodeRecord, SegmentRecord, decode, encode};
use crate::namespace::{Examined, Namespace, examine};
use crate::problem::{Problem, ProblemKind};
use crate::store::{Batch, MemoryStore, Store, StoreError};
use crate::time::{Now, Timestamp};
use crate::tree::Inode;
use crate::wire::NewInode;

/// A store and the inodes in it.
#[derive(Clone)]
pub(super) struct Patient {
    pub(super) store: MemoryStore,
    /// `/d`
    pub(super) dir: InodeId,
    /// `/d/sub`
    pub(super) sub: InodeId,
    /// `/d/f`, also `/hard`: two granules.
    pub(super) file: InodeId,
    /// `/d/sub/g`: a granule at each side of a segment's border.
    pub(super) long: InodeId,
    /// `/d/l`
    pub(super) link: InodeId,
    /// `/fifo`
    pub(super) fifo: InodeId,
}

impl Patient {
    pub(super) fn new() -> Self {
        let mut w = World::new(64);
        let s = w.session();
        let dir = w.dir(s, ROOT, "d");
        let sub = w.dir(s, dir, "sub");
        let new_file = || NewInode::File { open: true };
        let file = w.make(s, dir, "f", new_file()).ino;
        w.link(s, file, "hard").unwrap();
        w.write(s, file, 5000);
        let long = w.make(s, sub, "g", new_file()).ino;
        w.allocate(s, long, SEGMENT - 10..SEGMENT + 10).unwrap();
        w.commit(s, long, SEGMENT + 10).unwrap();
        let link = w.make(s, dir, "l", NewInode::Symlink(b"f".to_vec())).ino;
        let kind = crate::attr::FileKind::Fifo;
        let fifo = w.make(s, ROOT, "fifo", NewInode::Special { kind, rdev: 0 }).ino;
        w.release(s, file);
        w.release(s, long);
        w.set_xattr(s, long, "user.of a file", b"value").unwrap();
        w.set_xattr(s, dir, "trusted.of a directory", &[7; 40_000])
            .unwrap();
        Self {
            store: w.store,
            dir,
            sub,
            file,
            long,
            link,
            fifo,
        }
    }

    pub(super) fn put(&mut self, key: &[u8], value: Option<Vec<u8>>) {
        let changes = vec![(key.to_vec(), value)];
        let term = self.store.term().unwrap();
        self.store.commit(&[Batch { changes }], term).unwrap();
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let mut found = None;
        let mut each = |at: &[u8], value: &[u8]| {
            if at == key {
                found = Some(value.to_vec());
            }
            Ok(())
        };
        self.store.scan(key, &mut each).unwrap();
        found
    }

    pub(super) fn inode(&self, ino: InodeId) -> Option<Inode> {
        let key = record::inode_key(ino);
        let value = self.get(&key)?;
        Some(InodeRecord::decode(&key, &value).unwrap().into_inode())
    }

    /// Changes the record of an inode.
    pub(super) fn edit(&mut self, ino: InodeId, edit: impl FnOnce(&mut Inode)) {
        let mut inode = self.inode(ino).unwrap();
        edit(&mut inode);
        self.put(&record::inode_key(ino), Some(InodeRecord::of(&inode).encode()));
    }

    pub(super) fn remove_inode(&mut self, ino: InodeId) {
        self.put(&record::inode_key(ino), None);
    }

    pub(super) fn entry(&self, parent: InodeId, name: &str) -> Option<EntryRecord> {
        let key = record::entry_key(parent, &Name::new(name).unwrap());
        Some(decode(&key, &self.get(&key)?).unwrap())
    }

    pub(super) fn set_entry(&mut self, parent: InodeId, name: &str, entry: Option<EntryRecord>) {
        let key = record::entry_key(parent, &Name::new(name).unwrap());
        self.put(&key, entry.map(|entry| encode(&entry)));
    }

    pub(super) fn runs(&self, ino: InodeId, segment: u64) -> Vec<Run> {
        let key = record::segment_key(ino, segment);
        self.get(&key)
            .map_or(vec![], |value| decode::<SegmentRecord>(&key, &value).unwrap())
    }

    pub(super) fn set_runs(&mut self, ino: InodeId, segment: u64, runs: Vec<Run>) {
        self.put(&record::segment_key(ino, segment), Some(encode(&runs)));
    }

    pub(super) fn examine(&self) -> Examined {
        examine(&self.store, Timestamp::default()).unwrap()
    }

    pub(super) fn problems(&self) -> Vec<Problem> {
        self.examine().examination.problems
    }

    pub(super) fn kinds(&self) -> Vec<ProblemKind> {
        let mut kinds: Vec<_> = self.problems().iter().map(|problem| problem.kind).collect();
        kinds.sort_unstable();
        kinds
    }

    /// Repairs; nothing is wrong any more, and the namespace loads and holds.
    pub(super) fn repair(&mut self) {
        self.examine().repair(&mut self.store).unwrap();
        assert_eq!(self.problems(), []);
        self.load().check().unwrap();
        assert_eq!(self.problems(), []);
    }

    pub(super) fn load(&mut self) -> Namespace {
        self.try_load().unwrap()
    }

    pub(super) fn try_load(&mut self) -> Result<Namespace, StoreError> {
        Namespace::load(&mut self.store, config(), Now::default())
    }

    /// Names of a directory and where they lead.
    pub(super) fn list(&self, ino: InodeId) -> Vec<(String, InodeId)> {
        let mut found = Vec::new();
        let prefix = [record::ENTRIES, &ino.0.to_be_bytes()].concat();
        let mut each = |key: &[u8], value: &[u8]| {
            let (_, child): EntryRecord = decode(key, value)?;
            found.push((String::from_utf8_lossy(&key[9..]).into_owned(), child));
            Ok(())
        };
        self.store.scan(&prefix, &mut each).unwrap();
        found
    }

    pub(super) fn names(&self, ino: InodeId) -> Vec<String> {
        self.list(ino).into_iter().map(|(name, _)| name).collect()
    }

    /// Names in `/lost+found`.
    pub(super) fn lost_and_found(&self) -> Vec<String> {
        let root = self.list(ROOT);
        let place = root.iter().find(|(name, _)| name == "lost+found");
        place.map_or(vec![], |(_, ino)| self.names(*ino))
    }
}

/// A store that takes so many changes, one at a time, and then fails: a repair that is interrupted anywhere.
pub(super) struct Interrupted {
    pub(super) store: MemoryStore,
    pub(super) left: usize,
}

impl Store for Interrupted {
    fn scan(
        &self,
        prefix: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.store.scan(prefix, each)
    }

    fn commit(&mut self, batches: &[Batch], term: Term) -> Result<(), StoreError> {
        for change in batches.iter().flat_map(|batch| &batch.changes) {
            self.left = self
                .left
                .checked_sub(1)
                .ok_or_else(|| StoreError::Io("power is gone".into()))?;
            let changes = vec![change.clone()];
            self.store.commit(&[Batch { changes }], term)?;
        }
        Ok(())
    }

    fn take_over(&mut self, term: Term) -> Result<(), StoreError> {
        self.store.take_over(term)
    }

    fn term(&self) -> Result<Term, StoreError> {
        self.store.term()
    }
}

/// Bytes of so many granules.
pub(super) const fn granules(count: u64) -> u64 {
    count * GRANULE
}
