//! What survives a restart: names and attributes do, bytes do not, ids are never given twice.

use super::world::{READ, ROOT, World, attr_of, config, name};
use crate::error::MetaError;
use crate::extent::GRANULE;
use crate::id::{InodeId, Term};
use crate::layout::ReplicaState;
use crate::namespace::Namespace;
use crate::problem::Lost;
use crate::store::{Batch, MemoryStore, Store, StoreError};
use crate::time::Now;
use crate::wire::{NewInode, Reply, Request};

#[test]
fn names_come_back_and_bytes_are_lost() {
    let mut w = World::new(16);
    let s = w.session();
    let dir = w.dir(s, ROOT, "d");
    let target = b"where".to_vec();
    w.make(s, dir, "l", NewInode::Symlink(target.clone()));
    let ino = w.file(s, "f");
    let before = w.write(s, ino, 5000);
    w.allocate(s, ino, 3 * GRANULE..4 * GRANULE).unwrap();
    w.restart();
    let s = w.session();
    let after = w.lookup(s, ROOT, "f").unwrap();
    assert_eq!((after.ino, after.size, after.mtime), (ino, 5000, before.mtime));
    assert_eq!(after.allocated, 2 * GRANULE, "what was not committed is gone");
    let link = w.lookup(s, dir, "l").unwrap().ino;
    assert_eq!(
        w.ask(s, Request::ReadLink { ino: link }),
        Ok(Reply::Target(target))
    );
    w.open(s, ino, super::world::WRITE).unwrap();
    let slice = w.allocate(s, ino, 0..9000).unwrap();
    let states: Vec<ReplicaState> = slice.runs.iter().map(|run| run.replicas[0].state).collect();
    assert_eq!(states, [ReplicaState::Lost, ReplicaState::Valid]);
    assert_eq!(w.ask(s, Request::Append { ino, len: 10 }), Err(MetaError::Lost));
    w.truncate(s, ino, 0).unwrap();
    w.acknowledge();
    w.clean();
    assert_eq!(w.free(s), 16 * GRANULE, "lost extents go back to no arena");
    assert_eq!(
        w.allocate(s, ino, 0..1).unwrap().runs[0].replicas[0].state,
        ReplicaState::Valid
    );
}

/// Kept for the day on which a carrier can say it (statx(2)).
#[test]
fn the_time_of_birth_stays_through_changes_and_a_restart() {
    let mut w = World::new(8);
    let s = w.session();
    let ino = w.file(s, "f");
    let born = w.stat(s, ino).unwrap().birth;
    w.now.wall.seconds += 100;
    assert_ne!(w.write(s, ino, 5).mtime, born);
    assert_eq!(w.stat(s, ino).unwrap().birth, born);
    w.restart();
    let s = w.session();
    let found = w.stat(s, ino).unwrap();
    assert_eq!(found.birth, born);
    assert_ne!(found.mtime, born);
}

#[test]
fn files_without_names_do_not_come_back() {
    let mut w = World::new(8);
    let s = w.session();
    let ino = w.file(s, "f");
    w.write(s, ino, GRANULE);
    w.unlink(s, "f");
    w.restart();
    let s = w.session();
    assert_eq!(w.open(s, ino, READ), Err(MetaError::Stale));
    let mut keys = 0;
    let mut count = |_: &[u8], _: &[u8]| {
        keys += 1;
        Ok(())
    };
    w.store.scan(b"", &mut count).unwrap();
    assert_eq!(keys, 3, "format, ceiling and root");
}

#[test]
fn inode_ids_never_come_anew() {
    let mut w = World::new(8);
    let s = w.session();
    let first = w.file(s, "a");
    w.release(s, first);
    w.unlink(s, "a");
    w.restart();
    let s = w.session();
    let second = w.file(s, "a");
    assert!(second > first);
    let mut later = MemoryStore::default();
    for run in 1..4 {
        let space = Namespace::load(&mut later, config(), Now::default()).unwrap();
        assert_eq!(space.term(), Term(run));
    }
}

#[test]
fn ids_of_a_new_namespace_begin_small_and_those_of_an_old_one_go_on() {
    let mut w = World::new(8);
    let s = w.session();
    assert_eq!((w.file(s, "a"), w.file(s, "b")), (InodeId(2), InodeId(3)));
    for run in 1..=100 {
        w.restart();
        let s = w.session();
        let next = w.file(s, &run.to_string());
        assert!(
            next.0 <= (run + 1) << 20,
            "a start skips at most 2^20 ids, not {next} in {run}"
        );
    }
    let begun_high = InodeId(1 << 40);
    w.space.tree.next = begun_high;
    let s = w.session();
    w.file(s, "high");
    w.restart();
    assert!(
        w.space.tree.next > begun_high,
        "as one does whose ids began at random"
    );
}

#[test]
fn ids_are_reserved_long_before_they_are_used() {
    let mut w = World::new(8);
    w.space.tree.next = InodeId(w.space.ceiling.0 - (1 << 19) - 2);
    let s = w.session();
    w.file(s, "a");
    let low = w.space.ceiling;
    w.file(s, "b");
    assert!(w.space.ceiling > low);
    let ceiling = w.space.ceiling;
    w.restart();
    let s = w.session();
    assert_eq!(w.file(s, "c"), ceiling);
}

#[test]
fn a_service_that_was_superseded_cannot_write() {
    let mut store = MemoryStore::default();
    let old = Namespace::load(&mut store, config(), Now::default()).unwrap();
    Namespace::load(&mut store, config(), Now::default()).unwrap();
    assert!(matches!(
        store.commit(&[], old.term()),
        Err(StoreError::Superseded { found: 2 })
    ));
}

/// Every single damaged pair must be an error or harmless, and never a panic.
#[test]
fn a_damaged_store_is_distinguished_from_a_namespace() {
    let mut w = World::new(8);
    let s = w.session();
    let dir = w.dir(s, ROOT, "d");
    w.dir(s, dir, "e");
    let ino = w.file(s, "f");
    w.write(s, ino, 5000);
    let mut pairs = Vec::new();
    let mut keep = |key: &[u8], value: &[u8]| {
        pairs.push((key.to_vec(), value.to_vec()));
        Ok(())
    };
    w.store.scan(b"", &mut keep).unwrap();
    let mut refused = 0;
    for (key, value) in &pairs {
        for damage in 0..=value.len() {
            let mut store = w.store.clone();
            let mut broken = value.clone();
            match broken.get_mut(damage) {
                Some(byte) => *byte ^= 0x41,
                None => broken.clear(),
            }
            let changes = vec![(key.clone(), Some(broken))];
            store.commit(&[Batch { changes }], w.space.term()).unwrap();
            refused += usize::from(Namespace::load(&mut store, config(), w.now).is_err());
        }
        if key != b"Mformat" && key != b"Mceiling" && key[0] != b'L' {
            let mut store = w.store.clone();
            let changes = vec![(key.clone(), None)];
            store.commit(&[Batch { changes }], w.space.term()).unwrap();
            let missing = Namespace::load(&mut store, config(), w.now);
            let root = key[0] == b'I' && key.ends_with(&ROOT.0.to_be_bytes());
            assert!(root || missing.is_err(), "{} is missed", key.escape_ascii());
        }
    }
    assert!(refused > pairs.len());
    assert!(
        attr_of(w.ask(
            s,
            Request::Lookup {
                parent: dir,
                name: name("e")
            }
        ))
        .is_ok()
    );
}

#[test]
fn what_is_lost_is_counted_until_it_is_gone() {
    let mut w = World::new(64);
    let s = w.session();
    let files = ["a", "b"].map(|name| {
        let ino = w.file(s, name);
        w.write(s, ino, 5000);
        w.release(s, ino);
        ino
    });
    assert_eq!(w.space.examine().lost, Lost::default());
    w.restart();
    let lost = w.space.examine().lost;
    assert_eq!((lost.files, lost.bytes), (2, 4 * GRANULE));
    let listed: Vec<_> = lost
        .listed
        .iter()
        .map(|file| (file.inode, file.path.as_deref(), file.bytes))
        .collect();
    let wanted = [
        (files[0], Some("/a"), 2 * GRANULE),
        (files[1], Some("/b"), 2 * GRANULE),
    ];
    assert_eq!(listed, wanted);
    let s = w.session();
    let counted = |w: &mut World| match w.ask(s, Request::StatFs) {
        Ok(Reply::Space(space)) => (space.lost_files, space.lost_bytes),
        other => panic!("{other:?}"),
    };
    assert_eq!(counted(&mut w), (2, 4 * GRANULE));
    w.truncate(s, files[0], GRANULE).unwrap();
    assert_eq!(counted(&mut w), (2, 3 * GRANULE));
    w.truncate(s, files[0], 0).unwrap();
    assert_eq!(counted(&mut w), (1, 2 * GRANULE));
    w.unlink(s, "b");
    assert_eq!(counted(&mut w), (0, 0));
    assert_eq!(w.space.examine().lost, Lost::default());
}
