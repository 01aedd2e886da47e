//! The directory of a durable namespace (`--state DIR`): a lock, so that one node at a time owns it, and the store, one redb file.
//!
//! The lock is a `flock(2)` on `DIR/lock`: the kernel drops it with the process, so a crash leaves nothing to clean up.

use super::place::{LOCK, STORE as FILE};
use super::reserve::Reserve;
use super::store_file::{Purpose, StateDirError, database, is_full, is_full_open, private_file};
use rdmafs_meta::id::Term;
use rdmafs_meta::store::{Batch, Store, StoreError};
use rdmafs_rdma::shown::shown;
use rdmafs_rdma::trust::check_directory;
use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use std::fs::{DirBuilder, File, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The pairs of the namespace.
const PAIRS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("namespace");
/// One entry: the term. A table of its own, so that no key of the namespace can ever stand for it.
const TERM: TableDefinition<'_, (), u64> = TableDefinition::new("term");

/// A redb file in a locked directory.
///
/// Every commit is one transaction, durable before it returns. After a crash redb goes back to the last one.
#[derive(Debug)]
pub(crate) struct StateDir {
    // Dropped first: the store is closed before the directory is anyone else's. Gone only when it could not be opened anew.
    database: Option<Database>,
    path: PathBuf,
    purpose: Purpose,
    reserve: Reserve,
    _lock: File,
}

impl StateDir {
    /// Locks and opens the directory. To serve, it is made (mode 0700) with its store (0600) where they are missing, and no room is kept in it: the start
    /// itself may need some. Call [`Store::keep_room`] after that. The checksums of
    /// the whole file are compared. Blocking, as long as it takes to read it.
    ///
    /// # Errors
    /// In use by another node, not accessible, damaged, or no such store.
    pub(crate) fn open(dir: &Path, purpose: Purpose) -> Result<Self, StateDirError> {
        let name = || dir.to_owned();
        let path = dir.join(FILE);
        check_directory(dir)?;
        if purpose == Purpose::Serve {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(dir)
                .map_err(|source| StateDirError::Make { dir: name(), source })?;
        } else if let Err(source) = path.metadata() {
            return Err(StateDirError::NoStore {
                dir: name(),
                store: path,
                source,
            });
        }
        let lock = lock(dir)?;
        let reserve = Reserve::of(dir);
        if purpose == Purpose::Serve
            && let Err(error) = reserve.give_up()
        {
            tracing::warn!(%error, "what was kept for removals in {} is still there", shown(dir));
        }
        let database = database(&path, purpose)?;
        let this = Self {
            database: Some(database),
            path,
            purpose,
            reserve,
            _lock: lock,
        };
        this.make_tables()
            .map_err(|error| StateDirError::Prepare(this.failed(error)))?;
        Ok(this)
    }

    fn database(&self) -> Result<&Database, redb::Error> {
        self.database.as_ref().ok_or(redb::Error::DatabaseClosed)
    }

    fn begin_write(&self) -> Result<WriteTransaction, StoreError> {
        let begun = self.database().and_then(|database| Ok(database.begin_write()?));
        begun.map_err(|error| self.failed(error))
    }

    fn begin_read(&self) -> Result<ReadTransaction, StoreError> {
        let begun = self.database().and_then(|database| Ok(database.begin_read()?));
        begun.map_err(|error| self.failed(error))
    }

    fn make_tables(&self) -> Result<(), redb::Error> {
        let transaction = self.database()?.begin_write()?;
        transaction.open_table(PAIRS)?;
        transaction.open_table(TERM)?;
        Ok(transaction.commit()?)
    }

    /// What redb says, with the file and what may help.
    fn failed(&self, error: impl Into<redb::Error>) -> StoreError {
        let name = shown(&self.path);
        match error.into() {
            redb::Error::Corrupted(what) => StoreError::Damaged(what),
            redb::Error::DatabaseClosed => {
                StoreError::Full(format!("{name} could not be opened; make room on its file system").into())
            }
            redb::Error::Io(error) if is_full(&error) => {
                StoreError::Full(format!("{name}: {error}; make room on its file system").into())
            }
            error => StoreError::Io(format!("{name}: {error}").into()),
        }
    }

    /// Runs `change` on the pairs in one durable transaction, if `allowed` says so of the stored term; writes the term it answers.
    fn transact(
        &self,
        allowed: impl FnOnce(u64) -> Option<u64>,
        change: impl FnOnce(&mut redb::Table<'_, &[u8], &[u8]>) -> Result<(), redb::Error>,
    ) -> Result<(), StoreError> {
        let transaction = self.begin_write()?;
        {
            let mut terms = transaction.open_table(TERM).map_err(|error| self.failed(error))?;
            let found = terms
                .get(())
                .map_err(|error| self.failed(error))?
                .map_or(0, |term| term.value());
            let term = allowed(found).ok_or(StoreError::Superseded { found })?;
            if term != found {
                terms.insert((), term).map_err(|error| self.failed(error))?;
            }
            let mut pairs = transaction
                .open_table(PAIRS)
                .map_err(|error| self.failed(error))?;
            change(&mut pairs).map_err(|error| self.failed(error))?;
        }
        transaction.commit().map_err(|error| self.failed(error))
    }
}

impl Store for StateDir {
    fn scan(
        &self,
        prefix: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let transaction = self.begin_read()?;
        let pairs = transaction
            .open_table(PAIRS)
            .map_err(|error| self.failed(error))?;
        for pair in pairs.range(prefix..).map_err(|error| self.failed(error))? {
            let (key, value) = pair.map_err(|error| self.failed(error))?;
            if !key.value().starts_with(prefix) {
                break;
            }
            each(key.value(), value.value())?;
        }
        Ok(())
    }

    fn commit(&mut self, batches: &[Batch], term: Term) -> Result<(), StoreError> {
        let allowed = |found| (found == term.0).then_some(found);
        self.transact(allowed, |pairs| {
            for (key, value) in batches.iter().flat_map(|batch| &batch.changes) {
                match value {
                    Some(value) => pairs.insert(key.as_slice(), value.as_slice())?,
                    None => pairs.remove(key.as_slice())?,
                };
            }
            Ok(())
        })
    }

    fn take_over(&mut self, term: Term) -> Result<(), StoreError> {
        self.transact(|found| (term.0 > found).then_some(term.0), |_| Ok(()))
    }

    /// redb does nothing more after an error of its file, but goes back to the last commit when it is opened anew.
    fn make_room(&mut self) -> Result<(), StoreError> {
        let given_up = self.reserve.give_up();
        given_up
            .map_err(|error| StoreError::Io(format!("the reserve cannot be given up: {error}").into()))?;
        self.database = None;
        match database(&self.path, self.purpose) {
            Ok(database) => self.database = Some(database),
            Err(StateDirError::Open { source, .. }) if is_full_open(&source) => {}
            Err(error) => return Err(StoreError::Io(error.into())),
        }
        Ok(())
    }

    fn keep_room(&mut self) -> bool {
        self.reserve.fill().is_ok()
    }

    fn term(&self) -> Result<Term, StoreError> {
        let transaction = self.begin_read()?;
        let terms = transaction.open_table(TERM).map_err(|error| self.failed(error))?;
        let term = terms.get(()).map_err(|error| self.failed(error))?;
        Ok(Term(term.map_or(0, |term| term.value())))
    }
}

/// Takes the directory's lock and leaves this process's id in it, for the message to the next one.
fn lock(dir: &Path) -> Result<File, StateDirError> {
    let path = dir.join(LOCK);
    let dir = || dir.to_owned();
    let fail = |source| StateDirError::Lock { dir: dir(), source };
    let mut file = private_file(&path).map_err(fail)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::Error(error)) => return Err(fail(error)),
        Err(TryLockError::WouldBlock) => {
            let mut owner = String::new();
            // The owner may be just writing it: then the message goes without.
            let _ = file.read_to_string(&mut owner);
            let owner = owner.trim().to_owned();
            return Err(StateDirError::InUse { dir: dir(), owner });
        }
    }
    let text = format!("{}\n", std::process::id());
    // Where the file system is full the message to the next one goes without.
    let _untold = file.set_len(0).and_then(|()| file.write_all(text.as_bytes()));
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdmafs_meta::store::conformance;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn it_keeps_the_contract_of_stores() {
        let dir = tempfile::tempdir().unwrap();
        let count = std::cell::Cell::new(0);
        conformance::check(|| {
            count.set(count.get() + 1);
            StateDir::open(&dir.path().join(count.get().to_string()), Purpose::Serve).unwrap()
        });
    }

    fn put(key: &[u8], value: &[u8]) -> Batch {
        Batch {
            changes: vec![(key.to_vec(), Some(value.to_vec()))],
        }
    }

    fn all(store: &StateDir) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut found = Vec::new();
        store
            .scan(b"", &mut |key, value| {
                found.push((key.to_vec(), value.to_vec()));
                Ok(())
            })
            .unwrap();
        found
    }

    #[test]
    fn what_was_committed_is_there_when_the_directory_is_opened_anew() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = StateDir::open(dir.path(), Purpose::Serve).unwrap();
        store.take_over(Term(7)).unwrap();
        store
            .commit(&[put(b"a", b"1"), put(b"b", b"2")], Term(7))
            .unwrap();
        drop(store);
        let store = StateDir::open(dir.path(), Purpose::Serve).unwrap();
        assert_eq!(store.term().unwrap(), Term(7));
        assert_eq!(
            all(&store),
            [(b"a".to_vec(), b"1".to_vec()), (b"b".to_vec(), b"2".to_vec())]
        );
    }

    /// A crash is a copy of the file taken while the store is open: nothing was closed or flushed for it.
    #[test]
    fn what_was_committed_survives_a_crash() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut store = StateDir::open(dir.path(), Purpose::Serve).unwrap();
        store.take_over(Term(1)).unwrap();
        for round in 0..50_u8 {
            store.commit(&[put(&[round], &[round; 5000])], Term(1)).unwrap();
        }
        std::fs::copy(
            dir.path().join("namespace.redb"),
            other.path().join("namespace.redb"),
        )
        .unwrap();
        let after = StateDir::open(other.path(), Purpose::Serve).unwrap();
        assert_eq!(all(&after), all(&store));
        assert_eq!(all(&after).len(), 50);
    }

    /// A damaged last commit is never quietly given up for the one before it.
    #[test]
    fn a_file_that_opens_has_all_that_was_committed() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = StateDir::open(dir.path(), Purpose::Serve).unwrap();
        store.take_over(Term(1)).unwrap();
        for round in 0..40_u8 {
            store.commit(&[put(&[round], &[round; 700])], Term(1)).unwrap();
        }
        let wanted = all(&store);
        drop(store);
        let path = dir.path().join(FILE);
        let sound = std::fs::read(&path).unwrap();
        let (mut refused, mut opened) = (0, 0);
        for at in (0..sound.len()).step_by(199).chain(0..320) {
            let mut bytes = sound.clone();
            bytes[at] ^= 0x10;
            std::fs::write(&path, &bytes).unwrap();
            match StateDir::open(dir.path(), Purpose::Look) {
                Ok(store) => {
                    assert_eq!(all(&store), wanted, "byte {at}");
                    opened += 1;
                }
                Err(_) => refused += 1,
            }
        }
        assert!(refused > 20 && opened > 20, "{refused} refused, {opened} opened");
    }

    #[test]
    fn a_later_term_shuts_an_earlier_one_out() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = StateDir::open(dir.path(), Purpose::Serve).unwrap();
        store.take_over(Term(2)).unwrap();
        assert!(matches!(
            store.take_over(Term(2)),
            Err(StoreError::Superseded { found: 2 })
        ));
        for wrong in [Term(1), Term(3)] {
            let refused = store.commit(&[put(b"a", b"1")], wrong);
            assert!(matches!(refused, Err(StoreError::Superseded { found: 2 })));
        }
        assert_eq!(all(&store), []);
    }

    #[test]
    fn a_directory_in_use_is_refused_with_the_owner() {
        let dir = tempfile::tempdir().unwrap();
        let first = StateDir::open(dir.path(), Purpose::Serve).unwrap();
        let line = StateDir::open(dir.path(), Purpose::Serve)
            .unwrap_err()
            .to_string();
        let me = format!("(process {})", std::process::id());
        assert!(
            line.contains("in use by another rdmafs serve") && line.contains(&me),
            "{line}"
        );
        drop(first);
        StateDir::open(dir.path(), Purpose::Serve).unwrap();
    }

    #[test]
    fn only_the_owner_can_read_it() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("state");
        let _store = StateDir::open(&dir, Purpose::Serve).unwrap();
        let modes =
            ["", "lock", "namespace.redb"].map(|name| dir.join(name).metadata().unwrap().mode() & 0o777);
        assert_eq!(modes, [0o700, 0o600, 0o600]);
    }

    #[test]
    fn another_file_in_its_place_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("namespace.redb"), "not a store").unwrap();
        let line = StateDir::open(dir.path(), Purpose::Serve)
            .unwrap_err()
            .to_string();
        assert!(line.contains("namespace.redb"), "{line}");
    }
}
