//! The state of a copy: it is what was stored, and it decides which copy is used.

use super::patient::{Patient, granules};
use super::world::{World, config};
use crate::error::MetaError;
use crate::extent::{Extent, GRANULE};
use crate::id::{Incarnation, InodeId, NodeId, SessionId};
use crate::layout::{Replica, ReplicaState, Run};
use crate::namespace::record::{self, SegmentRecord, decode, encode};
use crate::namespace::{Namespace, Order, format};
use crate::time::Now;
use crate::wire::{AtomicOp, Reply, Request};

const NODE: NodeId = NodeId(1);

fn copy(incarnation: u64, at: u64, len: u64, state: ReplicaState) -> Replica {
    let extent = Extent {
        node: NODE,
        incarnation: Incarnation(incarnation),
        offset: granules(at),
        len: granules(len),
    };
    Replica { extent, state }
}

/// The only segment of a file of two granules, as format 3 has it.
const OF_FORMAT_3: &[u8] = &[
    1, // one run
    0x80, 0x40, // from byte 8192 on
    1,    // one copy
    1, 9, // node 1, incarnation 9
    0x80, 0x80, 0x01, // from byte 16384 of its arena on
    0x80, 0x40, // 8192 bytes
    0,    // valid
];

#[test]
fn segments_of_format_3_are_read_and_written_as_they_were() {
    let key = record::segment_key(InodeId(7), 0);
    let mut runs: SegmentRecord = decode(&key, OF_FORMAT_3).unwrap();
    let replicas = vec![copy(9, 4, 2, ReplicaState::Valid)];
    let start = granules(2);
    assert_eq!(runs, [Run { start, replicas }]);
    assert_eq!(encode(&runs), OF_FORMAT_3);
    for (state, number) in [(ReplicaState::Lost, 1), (ReplicaState::Stale, 2)] {
        runs[0].replicas[0].state = state;
        let bytes = [&OF_FORMAT_3[..OF_FORMAT_3.len() - 1], &[number]].concat();
        assert_eq!(encode(&runs), bytes);
        assert_eq!(decode::<SegmentRecord>(&key, &bytes).unwrap(), runs);
    }
}

#[test]
fn a_store_of_format_3_is_read_and_becomes_one_of_this() {
    let mut patient = Patient::new();
    patient.put(format::KEY, Some(vec![3]));
    let before = patient.get(&record::segment_key(patient.file, 0));
    assert_eq!(patient.problems(), []);
    let mut space = patient.load();
    assert_eq!(patient.get(format::KEY), Some(vec![format::NEWEST]));
    assert_eq!(
        patient.get(&record::segment_key(patient.file, 0)),
        before,
        "no record changes"
    );
    space.add_arena(NODE, Incarnation(2), granules(64));
    assert_eq!(states(&space, patient.file), [ReplicaState::Lost]);
    space.check().unwrap();
}

fn states(space: &Namespace, ino: InodeId) -> Vec<ReplicaState> {
    let replicas = space.places().filter(|(of, ..)| *of == ino);
    replicas.map(|(.., copy)| copy.state).collect()
}

/// `/d/f` with a copy that missed a write, before one that is valid; each of two granules.
fn stale_and_valid() -> Patient {
    let mut patient = Patient::new();
    let mut runs = patient.runs(patient.file, 0);
    runs[0].replicas.insert(0, copy(1, 40, 2, ReplicaState::Stale));
    patient.set_runs(patient.file, 0, runs);
    patient
}

/// The service starts again over an arena that went on living.
#[test]
fn no_copy_gets_better_because_its_arena_is_there() {
    let mut patient = stale_and_valid();
    assert_eq!(patient.problems(), []);
    let mut space = patient.load();
    space.check().unwrap();
    space.add_arena(NODE, Incarnation(1), granules(64));
    space.check().unwrap();
    assert_eq!(
        states(&space, patient.file),
        [ReplicaState::Stale, ReplicaState::Valid]
    );
    assert_eq!(
        space.room().0,
        granules(64 - 2 - 2 - 2),
        "the stale one keeps its space"
    );
    let mut space = patient.load();
    space.add_arena(NODE, Incarnation(2), granules(64));
    space.check().unwrap();
    assert_eq!(states(&space, patient.file), [ReplicaState::Lost; 2]);
}

/// An arena that is not added is not gone: its node may only be away.
#[test]
fn only_an_incarnation_that_is_over_makes_copies_lost() {
    let mut patient = stale_and_valid();
    let mut space = patient.load();
    space.add_arena(NodeId(2), Incarnation(5), granules(8));
    space.check().unwrap();
    assert_eq!(
        states(&space, patient.file),
        [ReplicaState::Stale, ReplicaState::Valid]
    );
    assert_eq!(space.room().0, granules(8));
}

#[test]
fn what_is_stored_as_lost_stays_lost_and_lies_nowhere() {
    let mut patient = Patient::new();
    let mut runs = patient.runs(patient.file, 0);
    runs[0].replicas[0].state = ReplicaState::Lost;
    patient.set_runs(patient.file, 0, runs);
    let mut space = patient.load();
    space.add_arena(NODE, Incarnation(1), granules(64));
    space.check().unwrap();
    assert_eq!(states(&space, patient.file), [ReplicaState::Lost]);
    assert_eq!(
        space.room().0,
        granules(64 - 2),
        "only the other file's bytes are used"
    );
}

/// A world in which a file has this copy before its own, which gets the state `own`.
fn with_copy(first: ReplicaState, own: ReplicaState) -> (World, SessionId, InodeId, Extent) {
    let mut w = World::new(16);
    let s = w.session();
    let ino = w.file(s, "f");
    w.write(s, ino, 100);
    let layout = w.space.tree.layout_mut(ino).unwrap();
    let mut run = layout.runs().next().unwrap().clone();
    let valid = run.replicas[0].extent;
    run.replicas[0].state = own;
    run.replicas.insert(0, copy(1, 10, 1, first));
    assert!(w.space.alloc.claim(run.replicas[0].extent));
    let layout = w.space.tree.layout_mut(ino).unwrap();
    layout.cut(0, u64::MAX);
    layout.insert(run);
    (w, s, ino, valid)
}

#[test]
fn an_atomic_changes_the_first_valid_copy() {
    let (mut w, s, ino, valid) = with_copy(ReplicaState::Stale, ReplicaState::Valid);
    let op = AtomicOp::FetchAdd(5);
    let request = Request::Atomic { ino, offset: 8, op };
    let place = |w: &mut World| {
        let mut call = w.next_call(s, request.clone());
        call.id.0 += 1000;
        let out = w.space.call(call, w.now);
        out.atomic.map(|atomic| atomic.place.offset)
    };
    assert_eq!(place(&mut w), Some(valid.offset + 8));
    let (mut w, _, _, valid) = with_copy(ReplicaState::Valid, ReplicaState::Valid);
    assert_ne!(place(&mut w), Some(valid.offset + 8), "the first of two");
}

#[test]
fn without_a_valid_copy_bytes_are_lost() {
    let (mut w, s, ino, _) = with_copy(ReplicaState::Stale, ReplicaState::Stale);
    let before = w.stat(s, ino).unwrap();
    let op = AtomicOp::FetchAdd(5);
    let atomic = Request::Atomic { ino, offset: 8, op };
    assert_eq!(w.ask(s, atomic), Err(MetaError::Lost));
    assert_eq!(w.stat(s, ino).unwrap(), before, "an error changes nothing");
    assert_eq!(w.ask(s, Request::Append { ino, len: 5 }), Err(MetaError::Lost));
    let copied = Request::Copy {
        from: ino,
        from_offset: 0,
        to: ino,
        to_offset: 2 * GRANULE,
        len: 10,
    };
    assert_eq!(w.ask(s, copied), Err(MetaError::Lost));
}

#[test]
fn only_valid_copies_are_granted_and_all_are_freed() {
    let (mut w, s, ino, valid) = with_copy(ReplicaState::Stale, ReplicaState::Valid);
    let mut call = w.next_call(
        s,
        Request::Layout {
            ino,
            start: 0,
            end: 10,
            allocate: true,
        },
    );
    call.id.0 += 1000;
    let out = w.serve(call);
    let granted: Vec<_> = out.orders.iter().map(|(node, order)| (*node, *order)).collect();
    let grant = Order::Grant {
        session: s,
        extent: valid,
        write: true,
    };
    assert_eq!(granted, [(NODE, grant)]);
    w.truncate(s, ino, 0).unwrap();
    w.acknowledge_all();
    w.clean();
    assert_eq!(w.space.room(), (granules(16), 0));
}

/// The service's own arena is told first: a handler reaches no other one over the link on which it hears so.
#[test]
fn the_arena_of_the_node_that_answers_comes_first() {
    let mut patient = Patient::new();
    let mut space = patient.load();
    for node in [2, 1, 3] {
        space.add_arena(NodeId(node), Incarnation(9), granules(8));
    }
    let mut w = World::new(8);
    w.space = space;
    let begin = Request::Begin {
        host: "host".into(),
        client_owner: super::world::client_owner(1),
        pool: Some(config().pool),
    };
    let mut call = w.next_call(SessionId(0), begin);
    call.term = Default::default();
    let Some(Ok(Reply::Begun(begun))) = w.space.call(call, Now::default()).answer else {
        panic!("no session");
    };
    let nodes: Vec<_> = begun.arenas.iter().map(|arena| arena.node.0).collect();
    assert_eq!(nodes, [2, 1, 3]);
}
