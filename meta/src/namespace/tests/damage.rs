//! Stores that are broken on purpose: each kind of damage is found and told as what it is, and repaired without losing more than was
//! lost; random damage never makes anything panic, and is repaired as well.

mod bytes;
mod names;

use super::patient::{Interrupted, Patient, granules};
use super::random::{play, steps};
use super::world::{READ, ROOT, World};
use crate::attr::FileKind;
use crate::error::MetaError;
use crate::id::{ClientOwner, Incarnation, InodeId, PoolId, Term, Version};
use crate::layout::{ReplicaState, SEGMENT};
use crate::namespace::format;
use crate::namespace::identity::{self, Identity};
use crate::namespace::record::{self, encode};
use crate::namespace::{Namespace, examine};
use crate::problem::ProblemKind::{self, *};
use crate::store::{Batch, MemoryStore, Store, StoreError};
use crate::time::{Now, Timestamp};
use crate::tree::Body;
use crate::wire::Request;
use crate::xattr::{MAX_XATTR_VALUE, MAX_XATTRS, XattrName};
use proptest::prelude::*;

/// Breaks a sound store, wants exactly these problems found, has it repaired and gives it back.
fn broken(break_it: impl FnOnce(&mut Patient), wanted: &[ProblemKind]) -> Patient {
    let mut patient = Patient::new();
    break_it(&mut patient);
    let mut wanted = wanted.to_vec();
    wanted.sort_unstable();
    assert_eq!(patient.kinds(), wanted, "{:#?}", patient.problems());
    interrupt(&patient);
    patient.repair();
    patient
}

/// A repair that is interrupted after any number of changes is finished by the next one.
fn interrupt(patient: &Patient) {
    for left in 0.. {
        let mut store = Interrupted {
            store: patient.store.clone(),
            left,
        };
        let whole = patient.examine().repair(&mut store).is_ok();
        let mut anew = Patient {
            store: store.store,
            ..patient.clone()
        };
        anew.repair();
        if whole {
            break;
        }
    }
}

fn line(patient: &Patient) -> String {
    let problems = patient.problems();
    assert_eq!(problems.len(), 1, "{problems:#?}");
    format!("{}; {}", problems[0], problems[0].remedy)
}

fn states(patient: &mut Patient, ino: InodeId) -> Vec<(u64, u64)> {
    let space = patient.load();
    let layout = space.tree.layout(ino).unwrap();
    layout.runs().map(|run| (run.start, run.len())).collect()
}

#[test]
fn a_sound_store_is_clean_and_counted() {
    let patient = Patient::new();
    let found = patient.examine().examination;
    assert_eq!(found.problems, []);
    assert_eq!((found.inodes, found.entries, found.wrong), (7, 7, 0));
    assert_eq!(found.bytes, granules(4));
    let empty = examine(&MemoryStore::default(), Timestamp::default()).unwrap();
    assert_eq!(empty.examination, Default::default());
}

#[test]
fn an_examination_changes_nothing_and_a_repair_of_nothing_neither() {
    let mut patient = Patient::new();
    let term = patient.store.term().unwrap();
    patient.examine().repair(&mut patient.store).unwrap();
    assert_eq!(patient.store.term().unwrap(), term);
}

#[test]
fn keys_that_mean_nothing_go() {
    let keys: [&[u8]; 7] = [
        b"x",
        b"Mfoo",
        b"I",
        b"I1234567",
        b"I12345678x",
        b"D123",
        b"L12345678x",
    ];
    let patient = broken(
        |patient| keys.iter().for_each(|key| patient.put(key, Some(vec![1]))),
        &[MalformedKey; 7],
    );
    assert!(keys.iter().all(|key| patient.get(key).is_none()));
    let beyond = record::inode_key(InodeId(u64::MAX));
    broken(|patient| patient.put(&beyond, Some(vec![1])), &[MalformedKey]);
    broken(
        |patient| patient.put(&record::inode_key(InodeId(0)), Some(vec![1])),
        &[MalformedKey],
    );
}

#[test]
fn the_format_is_put_right_only_where_all_is_of_ours() {
    broken(
        |patient| patient.put(format::KEY, Some(vec![0])),
        &[UnknownFormat],
    );
    broken(|patient| patient.put(format::KEY, None), &[UnknownFormat]);
    let mut patient = Patient::new();
    patient.put(format::KEY, Some(vec![0]));
    patient.put(&record::inode_key(patient.fifo), Some(vec![1, 2, 3]));
    let before = patient.clone();
    let refused = patient.examine().repair(&mut patient.store);
    let Err(StoreError::Damaged(line)) = refused else {
        panic!("{refused:?}")
    };
    assert!(line.contains("another version"), "{line}");
    assert_eq!(patient.problems(), before.problems(), "nothing was changed");
}

#[test]
fn a_newer_format_is_refused_before_anything_is_read_or_written() {
    let formats = [format::NEWEST + 1, u8::MAX].map(|number| vec![number]);
    // Whatever a later format says behind its number.
    for stored in formats.into_iter().chain([vec![9, 1, 2]]) {
        let mut patient = Patient::new();
        let found = stored[0];
        patient.put(format::KEY, Some(stored));
        // What only a later program can read.
        patient.put(&record::inode_key(patient.fifo), Some(vec![0xff; 3]));
        patient.put(b"Znew", Some(vec![1]));
        let before = (pairs(&patient.store), patient.store.term().unwrap());
        let config = super::world::config();
        let refused = [
            examine(&patient.store, Timestamp::default()).map(drop),
            Namespace::load(&mut patient.store, config, Now::default()).map(drop),
            Identity::read(&patient.store).map(drop),
        ];
        let wanted = format!(
            "the store is of format {found}, and this rdmafs knows none after {}: use the rdmafs that wrote it, or a later one",
            format::NEWEST
        );
        for refusal in refused {
            assert_eq!(refusal.unwrap_err().to_string(), wanted);
        }
        assert_eq!((pairs(&patient.store), patient.store.term().unwrap()), before);
    }
}

#[test]
fn ids_are_never_given_twice_after_a_repair() {
    for ceiling in [None, Some(vec![1]), Some(vec![0; 8]), Some(vec![0xff; 8])] {
        let malformed = ceiling.as_ref().is_some_and(|bytes| bytes.len() != 8);
        let mut wanted = vec![BadCeiling];
        wanted.extend(malformed.then_some(MalformedValue));
        let mut patient = broken(|patient| patient.put(record::CEILING_KEY, ceiling), &wanted);
        let next = patient.load().tree.next;
        assert!(next.0 > (1 << 32) && next.0 < (1 << 40), "{next}");
    }
}

#[test]
fn an_inode_is_what_its_key_says() {
    let patient = broken(
        |patient| patient.edit(patient.fifo, |inode| inode.attr.ino = InodeId(99)),
        &[WrongInodeId],
    );
    assert_eq!(patient.inode(patient.fifo).unwrap().attr.ino, patient.fifo);
}

#[test]
fn attributes_that_cannot_be_are_put_right() {
    let patient = broken(
        |patient| {
            patient.edit(patient.file, |inode| {
                inode.attr.kind = FileKind::Symlink;
                inode.attr.mode = 0o107_777;
                inode.attr.version = Version(u64::MAX);
                inode.attr.size = u64::MAX;
            });
        },
        &[BadAttribute],
    );
    let attr = patient.inode(patient.file).unwrap().attr;
    assert_eq!((attr.kind, attr.mode), (FileKind::Regular, 0o7777));
    assert!(attr.version.0 < 10 && attr.size == i64::MAX as u64);
    for target in [vec![], vec![b'a', 0], vec![b'a'; 4096]] {
        let patient = broken(
            |patient| {
                patient.edit(patient.link, |inode| {
                    inode.attr.size = target.len() as u64;
                    inode.body = Body::Symlink(target);
                });
            },
            &[BadAttribute],
        );
        let inode = patient.inode(patient.link).unwrap();
        assert!(matches!(inode.body, Body::Symlink(target) if target.len() as u64 == inode.attr.size));
    }
}

#[test]
fn a_file_whose_record_is_gone_takes_its_names_with_it() {
    for malformed in [None, Some(vec![9; 30])] {
        let unreadable = malformed.is_some();
        let mut wanted = vec![DanglingEntry, DanglingEntry, StraySegment];
        wanted.extend(unreadable.then_some(MalformedValue));
        let patient = broken(
            |patient| patient.put(&record::inode_key(patient.file), malformed),
            &wanted,
        );
        assert_eq!(patient.names(patient.dir), ["l", "sub"]);
        assert_eq!(patient.runs(patient.file, 0), []);
    }
}

#[test]
fn a_directory_whose_record_is_gone_keeps_its_place_and_its_entries() {
    let patient = broken(
        |patient| patient.remove_inode(patient.dir),
        &[LostDirectory, WrongLinks],
    );
    assert_eq!(patient.names(patient.dir), ["f", "l", "sub"]);
    assert_eq!(patient.entry(ROOT, "d").unwrap().1, patient.dir);
    let attr = patient.inode(patient.dir).unwrap().attr;
    assert_eq!((attr.mode, attr.uid, attr.nlink), (0o700, 0, 3));
    let patient = broken(
        |patient| patient.remove_inode(patient.sub),
        &[LostDirectory, WrongParent],
    );
    assert_eq!(patient.names(patient.sub), ["g"]);
}

#[test]
fn a_root_that_is_gone_is_made_anew() {
    for break_it in [
        |patient: &mut Patient| patient.remove_inode(ROOT),
        |patient: &mut Patient| patient.edit(ROOT, |root| root.body = Body::Special),
    ] {
        let patient = broken(break_it, &[NoRoot, WrongLinks]);
        assert_eq!(patient.names(ROOT), ["d", "fifo", "hard"]);
    }
    // Without its entries too: what hung on it is saved.
    let patient = broken(
        |patient| {
            patient.remove_inode(ROOT);
            for name in ["d", "fifo", "hard"] {
                patient.set_entry(ROOT, name, None);
            }
        },
        &[NoRoot, Orphan, Orphan, WrongLinks],
    );
    let saved = [patient.dir, patient.fifo].map(|ino| format!("#{ino}"));
    assert_eq!(patient.lost_and_found(), saved);
}

#[test]
fn a_store_of_the_first_format_is_read_and_becomes_one_of_this() {
    let mut patient = Patient::new();
    patient.put(format::KEY, Some(vec![1]));
    assert_eq!(patient.problems(), []);
    patient.load();
    assert_eq!(patient.get(format::KEY), Some(vec![format::NEWEST]));
}

#[test]
fn allocated_bytes_are_those_of_the_runs() {
    let mut patient = Patient::new();
    patient.edit(patient.file, |inode| inode.attr.allocated = 7);
    assert_eq!(patient.kinds(), [WrongAllocated]);
    patient.load();
    assert_eq!(patient.kinds(), [], "a start puts that right by itself");
    let patient = broken(
        |patient| patient.edit(patient.file, |inode| inode.attr.allocated = 7),
        &[WrongAllocated],
    );
    assert_eq!(patient.inode(patient.file).unwrap().attr.allocated, granules(2));
}

#[test]
fn what_a_crash_leaves_is_no_damage() {
    let mut w = World::new(64);
    let s = w.session();
    let ino = w.file(s, "f");
    w.write(s, ino, 10_000);
    w.allocate(s, ino, 0..100_000).unwrap();
    let gone = w.file(s, "gone");
    w.write(s, gone, 10_000);
    w.unlink(s, "gone");
    let found = examine(&w.store, w.now.wall).unwrap().examination;
    assert_eq!(found.problems, [], "open, not committed, and without a name");
}

#[test]
fn a_damaged_store_is_not_loaded_and_the_line_says_what_is_wrong() {
    let mut patient = Patient::new();
    let (cookie, _) = patient.entry(ROOT, "fifo").unwrap();
    patient.set_entry(ROOT, "fifo", Some((cookie, InodeId(4711))));
    let Err(StoreError::Damaged(line)) = patient.try_load() else {
        panic!()
    };
    assert!(
        line.contains("4711") && line.contains("(/fifo)") && line.ends_with("more"),
        "{line}"
    );
    patient.repair();
}

#[test]
fn a_repair_shuts_out_whoever_else_writes() {
    let mut patient = Patient::new();
    let service = patient.load();
    patient.edit(patient.file, |inode| inode.attr.nlink = 9);
    patient.repair();
    let late = patient.store.commit(&[Batch::default()], service.term());
    assert!(matches!(late, Err(StoreError::Superseded { .. })));
}

/// What happens to a store.
#[derive(Clone, Debug)]
enum Harm {
    Flip(bool, prop::sample::Index, prop::sample::Index, u8),
    Cut(prop::sample::Index, prop::sample::Index),
    Drop(prop::sample::Index),
    Copy(prop::sample::Index, prop::sample::Index),
    Put(Vec<u8>, Vec<u8>),
}

fn harm() -> impl Strategy<Value = Harm> {
    let at = any::<prop::sample::Index>;
    let bytes = || prop::collection::vec(any::<u8>(), 0..20);
    let key = (prop::sample::select(b"MIDLAX".to_vec()), bytes());
    prop_oneof![
        3 => (any::<bool>(), at(), at(), 1u8..).prop_map(|(key, pair, byte, by)| Harm::Flip(key, pair, byte, by)),
        1 => (at(), at()).prop_map(|(pair, len)| Harm::Cut(pair, len)),
        2 => at().prop_map(Harm::Drop),
        2 => (at(), at()).prop_map(|(from, to)| Harm::Copy(from, to)),
        1 => (key, bytes()).prop_map(|((first, rest), value)| Harm::Put([vec![first], rest].concat(), value)),
    ]
}

fn pairs(store: &MemoryStore) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut pairs = Vec::new();
    let mut each = |key: &[u8], value: &[u8]| {
        pairs.push((key.to_vec(), value.to_vec()));
        Ok(())
    };
    store.scan(b"", &mut each).unwrap();
    pairs
}

fn inflict(store: &mut MemoryStore, harm: Harm) {
    let pairs = pairs(store);
    if pairs.is_empty() {
        return;
    }
    let pick = |at: prop::sample::Index| pairs[at.index(pairs.len())].clone();
    let changes = match harm {
        Harm::Flip(in_key, pair, byte, by) => {
            let (old, mut value) = pick(pair);
            let mut key = old.clone();
            let bytes = if in_key { &mut key } else { &mut value };
            if !bytes.is_empty() {
                let at = byte.index(bytes.len());
                bytes[at] ^= by;
            }
            vec![(old, None), (key, Some(value))]
        }
        Harm::Cut(pair, len) => {
            let (key, mut value) = pick(pair);
            value.truncate(len.index(value.len() + 1));
            vec![(key, Some(value))]
        }
        Harm::Drop(pair) => vec![(pick(pair).0, None)],
        Harm::Copy(from, to) => vec![(pick(to).0, Some(pick(from).1))],
        Harm::Put(key, value) => vec![(key, Some(value))],
    };
    let term = store.term().unwrap();
    store.commit(&[Batch { changes }], term).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn random_damage_is_found_and_repaired_and_a_sound_store_is_clean(
        steps in steps(120),
        harms in prop::collection::vec(harm(), 0..12),
        interrupted in any::<prop::sample::Index>(),
    ) {
        let (w, _) = play(steps);
        let mut store = w.store;
        let now = Timestamp::default();
        prop_assert_eq!(examine(&store, now).unwrap().examination.problems, vec![]);
        harms.into_iter().for_each(|harm| inflict(&mut store, harm));
        let examined = match examine(&store, now) {
            Err(StoreError::NewerFormat { .. }) => return Ok(()),
            examined => examined.unwrap(),
        };
        let foreign = examined.examination.problems.iter().any(|problem| {
            problem.kind == UnknownFormat && problem.remedy.starts_with("nothing")
        });
        let wrong = examined.examination.wrong;
        if wrong == 0 {
            Namespace::load(&mut store, super::world::config(), Now::default()).unwrap().check().unwrap();
        } else if foreign {
            prop_assert!(examined.repair(&mut store).is_err());
        } else {
            let left = interrupted.index(20);
            let mut half = Interrupted { store: store.clone(), left };
            let _may_fail = examine(&store, now).unwrap().repair(&mut half);
            for mut store in [store, half.store] {
                examine(&store, now).unwrap().repair(&mut store).unwrap();
                let after = examine(&store, now).unwrap().examination;
                prop_assert_eq!(after.problems, vec![]);
                let loaded = Namespace::load(&mut store, super::world::config(), Now::default()).unwrap();
                loaded.check().unwrap();
                prop_assert!(loaded.term() > Term(1));
                prop_assert_eq!(examine(&store, now).unwrap().examination.problems, vec![]);
            }
        }
    }
}
