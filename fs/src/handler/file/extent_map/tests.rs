//! The map against a naive one, and what it asks for.

use super::*;
use proptest::prelude::*;
use rdmafs_meta::id::Incarnation;
use rdmafs_meta::layout::{Replica, ReplicaState};

const ARENA: Arena = Arena {
    node: NodeId(1),
    incarnation: Incarnation(9),
    len: 1 << 40,
};

fn run(start: u64, offset: u64, len: u64) -> Run {
    let extent = Extent {
        node: NodeId(1),
        incarnation: Incarnation(9),
        offset,
        len,
    };
    Run {
        start,
        replicas: vec![Replica {
            extent,
            state: ReplicaState::Valid,
        }],
    }
}

fn slice(start: u64, end: u64, runs: Vec<Run>) -> LayoutSlice {
    LayoutSlice {
        start,
        end,
        truncate_seq: 0,
        runs,
    }
}

#[test]
fn a_range_is_cut_along_holes_and_runs() {
    let mut extent_map = ExtentMap::default();
    extent_map
        .learn(&slice(0, 40_960, vec![run(8192, 4096, 8192)]), false, &[ARENA])
        .unwrap();
    let found = extent_map.find(8000, 16_484, None).unwrap();
    let at = ExtentLocation::At {
        node: NodeId(1),
        remote: 4096,
        writable: false,
    };
    let places: Vec<_> = found.iter().map(|s| (s.len, s.place)).collect();
    assert_eq!(
        places,
        [
            (192, ExtentLocation::Hole),
            (8192, at),
            (100, ExtentLocation::Hole)
        ]
    );
    let missing = |start, end, allocate| Err(Missing { start, end, allocate });
    assert_eq!(
        extent_map.find(40_960, 40_961, None),
        missing(40_960, 40_960 + ASK_AHEAD, false)
    );
    assert_eq!(
        extent_map.find(0, 1, Some(40_960)),
        missing(0, 4096, true),
        "a hole takes space: no more than is needed"
    );
    assert_eq!(
        extent_map.find(8192, 8193, Some(40_960)),
        missing(8192, 16_384, true),
        "what is there is granted as a whole"
    );
    assert_eq!(
        extent_map.find(40_960, 40_961, Some(40_960)),
        missing(40_960, 45_056, true),
        "a file that grows"
    );
    assert_eq!(
        extent_map.find(40_960, 40_961, Some(1 << 30)),
        missing(40_960, 40_960 + ASK_AHEAD, false),
        "a file that is written again"
    );
    extent_map.cut(12_289);
    assert_eq!(extent_map.find(8192, 12_288, None).unwrap().len(), 1);
    assert!(extent_map.find(12_288, 12_289, None).is_err());
}

/// A reader asks, a writer asks after it, and the reader's answer is taken in last.
#[test]
fn an_older_answer_about_a_hole_hides_no_bytes() {
    let mut extent_map = ExtentMap::default();
    extent_map
        .learn(&slice(8192, 12_288, vec![run(8192, 4096, 4096)]), true, &[ARENA])
        .unwrap();
    extent_map
        .learn(&slice(0, 40_960, vec![]), false, &[ARENA])
        .unwrap();
    let found = extent_map.find(0, 40_960, None).unwrap();
    let at = ExtentLocation::At {
        node: NodeId(1),
        remote: 4096,
        writable: true,
    };
    let places: Vec<_> = found.iter().map(|s| (s.len, s.place)).collect();
    assert_eq!(
        places,
        [
            (8192, ExtentLocation::Hole),
            (4096, at),
            (28_672, ExtentLocation::Hole)
        ]
    );
}

#[test]
fn a_file_written_in_small_steps_is_one_extent() {
    let mut extent_map = ExtentMap::default();
    for step in [1_u64, 0, 3, 2] {
        let at = step * 4096;
        extent_map
            .learn(
                &slice(at, at + 4096, vec![run(at, 8192 + at, 4096)]),
                true,
                &[ARENA],
            )
            .unwrap();
    }
    assert_eq!(extent_map.find(0, 16_384, Some(0)).unwrap().len(), 1);
}

/// The second node's bytes begin where the first one's end, and its arena is not the first one's.
#[test]
fn bytes_of_two_nodes_are_never_one_piece() {
    let two = Arena {
        node: NodeId(2),
        ..ARENA
    };
    let mut second = run(4096, 12_288, 4096);
    second.replicas[0].extent.node = NodeId(2);
    let runs = vec![run(0, 8192, 4096), second];
    let mut extent_map = ExtentMap::default();
    extent_map
        .learn(&slice(0, 8192, runs), true, &[ARENA, two])
        .unwrap();
    let found = extent_map.find(1000, 8192, Some(8192)).unwrap();
    let at = |node, remote| ExtentLocation::At {
        node: NodeId(node),
        remote,
        writable: true,
    };
    let places: Vec<_> = found.iter().map(|s| (s.len, s.place)).collect();
    assert_eq!(places, [(3096, at(1, 9192)), (4096, at(2, 12_288))]);
}

#[test]
fn the_first_valid_copy_of_an_arena_that_is_known_is_taken() {
    let copy = |node, incarnation, state| Replica {
        extent: Extent {
            node: NodeId(node),
            incarnation: Incarnation(incarnation),
            offset: u64::from(node) * 4096,
            len: 4096,
        },
        state,
    };
    let two = Arena {
        node: NodeId(2),
        ..ARENA
    };
    let place = |replicas| {
        let mut extent_map = ExtentMap::default();
        let start = 0;
        let slice = slice(0, 4096, vec![Run { start, replicas }]);
        extent_map.learn(&slice, false, &[ARENA, two]).unwrap();
        extent_map.find(0, 4096, None).unwrap()[0].place
    };
    let at = |node| ExtentLocation::At {
        node: NodeId(node),
        remote: u64::from(node) * 4096,
        writable: false,
    };
    let valid = |node| copy(node, 9, ReplicaState::Valid);
    assert_eq!(place(vec![valid(2), valid(1)]), at(2));
    assert_eq!(place(vec![copy(1, 9, ReplicaState::Stale), valid(2)]), at(2));
    assert_eq!(place(vec![copy(1, 8, ReplicaState::Valid), valid(2)]), at(2));
    assert_eq!(place(vec![valid(3), valid(1)]), at(1), "node 3 is not known");
    assert_eq!(place(vec![copy(1, 9, ReplicaState::Stale)]), ExtentLocation::Lost);
}

#[test]
fn an_extent_outside_of_the_arenas_that_live_is_lost() {
    let mut extent_map = ExtentMap::default();
    let mut old = run(0, 0, 4096);
    old.replicas[0].extent.incarnation = Incarnation(8);
    extent_map
        .learn(
            &slice(0, 8192, vec![old, run(4096, 1 << 40, 4096)]),
            true,
            &[ARENA],
        )
        .unwrap();
    let found = extent_map.find(0, 8192, Some(0)).unwrap();
    assert!(found.iter().all(|segment| segment.place == ExtentLocation::Lost));
}

#[test]
fn what_is_no_layout_is_refused() {
    let bad = [
        slice(8192, 8192, vec![run(8192, 0, 4096)]),
        slice(
            0,
            8192,
            vec![Run {
                start: 0,
                replicas: vec![],
            }],
        ),
        slice(0, 8192, vec![run(1, 0, 4096)]),
        slice(0, 8192, vec![run(0, 0, 4095)]),
        slice(0, 8192, vec![run(4096, 0, 4096), run(0, 0, 4096)]),
        slice(0, 8192, vec![run(16_384, 0, 4096)]),
        slice(0, u64::MAX, vec![run(u64::MAX - 4095, 0, 8192)]),
    ];
    for slice in bad {
        assert_eq!(
            ExtentMap::default().learn(&slice, true, &[ARENA]),
            Err(Error::Protocol),
            "{slice:?}"
        );
    }
}

proptest! {
    #[test]
    fn the_extent_map_agrees_with_a_naive_map(steps in prop::collection::vec((0_u64..24, 1_u64..8, 0_u64..3, any::<bool>()), 1..40)) {
        let mut extent_map = ExtentMap::default();
        let mut model = vec![None; 40];
        for (from, len, what, writable) in steps {
            let (start, end) = (from * 4096, (from + len) * 4096);
            let cells = usize::try_from(from).unwrap()..usize::try_from(from + len).unwrap();
            match what {
                0 => {
                    extent_map.cut(start + 1);
                    model[cells.start..].fill(None);
                }
                1 => {
                    extent_map.learn(&slice(start, end, vec![]), writable, &[ARENA]).unwrap();
                    for cell in &mut model[cells] {
                        cell.get_or_insert(ExtentLocation::Hole);
                    }
                }
                _ => {
                    let remote = start + (1 << 20);
                    extent_map.learn(&slice(start, end, vec![run(start, remote, end - start)]), writable, &[ARENA]).unwrap();
                    for cell in cells {
                        let remote = u64::try_from(cell).unwrap() * 4096 + (1 << 20);
                        model[cell] = Some(ExtentLocation::At { node: NodeId(1), remote, writable });
                    }
                }
            }
        }
        for (cell, place) in model.iter().enumerate() {
            let at = u64::try_from(cell).unwrap() * 4096;
            let found = extent_map.find(at, at + 4096, None).ok();
            prop_assert_eq!(found.map(|found| found[0].place), *place);
        }
    }
}
