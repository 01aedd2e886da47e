//! Damage of layouts and extended attributes: what cannot be right is lost, and never zero or another file's.

use super::*;

#[test]
fn segments_of_no_file_go() {
    let patient = broken(
        |patient| {
            let runs = patient.runs(patient.file, 0);
            patient.set_runs(InodeId(50), 0, runs.clone());
            patient.set_runs(patient.fifo, 0, runs);
        },
        &[StraySegment, StraySegment],
    );
    assert_eq!(patient.runs(InodeId(50), 0), []);
}

#[test]
fn bytes_whose_place_cannot_be_read_are_lost_and_not_zero() {
    let mut patient = broken(
        |patient| patient.put(&record::segment_key(patient.file, 0), Some(vec![0xff; 9])),
        &[MalformedValue],
    );
    let file = patient.file;
    assert_eq!(states(&mut patient, file), [(0, granules(2))]);
    let mut w = World::new(64);
    w.store = patient.store.clone();
    w.restart();
    let s = w.session();
    w.open(s, file, READ).unwrap();
    let (start, end, allocate) = (0, 5000, false);
    let ino = file;
    let answer = w.ask(
        s,
        Request::Layout {
            ino,
            start,
            end,
            allocate,
        },
    );
    let Ok(crate::wire::Reply::Layout(slice)) = answer else {
        panic!("{answer:?}")
    };
    assert!(
        slice
            .runs
            .iter()
            .all(|run| run.replicas[0].state == ReplicaState::Lost)
    );
    assert_eq!(w.open(s, InodeId(77), READ), Err(MetaError::Stale));
}

#[test]
fn runs_that_no_layout_can_have_are_lost() {
    let patient = broken(
        |patient| {
            let mut runs = patient.runs(patient.file, 0);
            runs[0].replicas[0].extent.offset += 1;
            patient.set_runs(patient.file, 0, runs);
        },
        &[BadRun],
    );
    let runs = patient.runs(patient.file, 0);
    assert_eq!(runs[0].replicas[0].extent.incarnation, Incarnation::NEVER);
    // A run that is longer than any: nobody goes through all its segments.
    broken(
        |patient| {
            let mut runs = patient.runs(patient.file, 0);
            runs[0].replicas[0].extent.offset = 0;
            runs[0].replicas[0].extent.len = 1 << 62;
            patient.set_runs(patient.file, 0, runs);
        },
        &[BadRun],
    );
}

#[test]
fn a_run_in_the_wrong_segment_is_moved() {
    let mut patient = broken(
        |patient| {
            let runs = patient.runs(patient.long, 1);
            patient.put(&record::segment_key(patient.long, 1), None);
            patient.set_runs(patient.long, 7, runs);
        },
        &[RunInWrongSegment],
    );
    let long = patient.long;
    assert_eq!(patient.runs(long, 7), []);
    let wanted = [(SEGMENT - granules(1), granules(1)), (SEGMENT, granules(1))];
    assert_eq!(states(&mut patient, long), wanted);
}

#[test]
fn two_places_for_the_same_bytes_are_one() {
    let mut patient = broken(
        |patient| {
            let mut runs = patient.runs(patient.file, 0);
            let mut second = runs[0].clone();
            second.start += granules(1);
            second.replicas[0].extent.offset += granules(20);
            runs.push(second);
            patient.set_runs(patient.file, 0, runs);
        },
        &[OverlappingRuns],
    );
    let file = patient.file;
    assert_eq!(
        states(&mut patient, file),
        [(0, granules(2))],
        "past its size nothing is"
    );
}

#[test]
fn no_two_files_share_memory() {
    let patient = broken(
        |patient| {
            let mut shared = patient.runs(patient.file, 0);
            let place = shared[0].replicas[0].extent;
            shared = patient.runs(patient.long, 0);
            shared[0].replicas[0].extent.offset = place.offset + granules(1);
            patient.set_runs(patient.long, 0, shared);
        },
        &[SharedExtent],
    );
    let kept = &patient.runs(patient.file, 0)[0].replicas[0].extent;
    assert_ne!(kept.incarnation, Incarnation::NEVER, "the smaller id keeps it");
    let lost = &patient.runs(patient.long, 0)[0].replicas[0].extent;
    assert_eq!(
        lost.incarnation,
        Incarnation::NEVER,
        "the other one reads as an error"
    );
}

#[test]
fn one_file_does_not_use_memory_twice() {
    broken(
        |patient| {
            let extent = patient.runs(patient.long, 0)[0].replicas[0].extent;
            let mut runs = patient.runs(patient.long, 1);
            runs[0].replicas[0].extent = extent;
            patient.set_runs(patient.long, 1, runs);
        },
        &[SharedExtent],
    );
}

#[test]
fn nothing_lies_past_the_largest_arena_that_there_was() {
    let patient = broken(
        |patient| {
            let identity = Identity::new(PoolId([3; 16]), "p", granules(64));
            patient.put(identity::KEY, Some(identity.encode()));
            let mut runs = patient.runs(patient.file, 0);
            runs[0].replicas[0].extent.offset = granules(63);
            patient.set_runs(patient.file, 0, runs);
        },
        &[ExtentBeyondArena],
    );
    let runs = patient.runs(patient.file, 0);
    assert_eq!(runs[0].replicas[0].extent.incarnation, Incarnation::NEVER);
    let patient = broken(
        |patient| patient.put(identity::KEY, Some(vec![1])),
        &[MalformedValue],
    );
    assert_eq!(Identity::read(&patient.store).unwrap(), None);
}

#[test]
fn extended_attributes_of_no_inode_go() {
    let key = |patient: &Patient| record::xattr_key(patient.long, &XattrName::new("user.of a file").unwrap());
    let patient = broken(
        |patient| {
            patient.remove_inode(patient.long);
            patient.set_entry(patient.sub, "g", None);
            patient.put(&record::segment_key(patient.long, 0), None);
            patient.put(&record::segment_key(patient.long, 1), None);
        },
        &[StrayXattr],
    );
    assert_eq!(patient.get(&key(&patient)), None);
    // A crash may leave them, so a start puts that right by itself.
    let mut patient = Patient::new();
    let stray = record::xattr_key(InodeId(1 << 30), &XattrName::capability());
    patient.put(&stray, Some(vec![1]));
    assert_eq!(patient.kinds(), [StrayXattr]);
    patient.load();
    assert_eq!(patient.kinds(), []);
}

#[test]
fn extended_attributes_that_cannot_be_go_and_the_others_stay() {
    let key = |ino: InodeId, name: &str| {
        let name = XattrName::new(name).unwrap();
        record::xattr_key(ino, &name)
    };
    let patient = broken(
        |patient| patient.put(&key(patient.long, "user.b"), Some(vec![0; MAX_XATTR_VALUE + 1])),
        &[BadXattr],
    );
    assert_eq!(patient.get(&key(patient.long, "user.b")), None);
    let before = patient.get(&key(patient.long, "user.of a file"));
    assert_eq!(before, Some(b"value".to_vec()));
    // One more than there can be, and more bytes than there can be.
    broken(
        |patient| {
            for number in 0..MAX_XATTRS {
                patient.put(&key(patient.long, &format!("user.{number}")), Some(vec![]));
            }
        },
        &[BadXattr],
    );
    broken(
        |patient| {
            for name in ["user.0", "user.1"] {
                patient.put(&key(patient.long, name), Some(vec![0; MAX_XATTR_VALUE]));
            }
        },
        &[BadXattr],
    );
    for name in ["user.", "system.nfs4_acl", "user.a\0", &"x".repeat(300)] {
        let at = [record::XATTRS, &ROOT.0.to_be_bytes(), name.as_bytes()].concat();
        broken(|patient| patient.put(&at, Some(vec![])), &[MalformedKey]);
    }
    let directory = broken(
        |patient| patient.remove_inode(patient.dir),
        &[LostDirectory, WrongLinks],
    );
    let kept = directory.get(&key(directory.dir, "trusted.of a directory"));
    assert_eq!(kept.map(|value| value.len()), Some(40_000), "with its entries");
}

#[test]
fn a_session_of_which_the_lease_cannot_be_read_is_forgotten() {
    let key = record::holder_key(ClientOwner([7; 16]));
    let hour = record::LONGEST_LEASE;
    let patient = broken(
        |patient| {
            patient.put(&key, Some(record::encode(&(hour + 1))));
            patient.put(&record::holder_key(ClientOwner([8; 16])), Some(vec![]));
            patient.put(&key[..16], Some(record::encode(&hour)));
        },
        &[MalformedKey, MalformedValue, MalformedValue],
    );
    assert_eq!(patient.get(&key), None);
    let mut patient = Patient::new();
    patient.put(&key, Some(record::encode(&hour)));
    assert_eq!(patient.kinds(), []);
}
