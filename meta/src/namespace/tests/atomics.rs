//! Atomic changes of words, with the arena played by the world.

use super::world::{READ, WRITE, World, user};
use crate::error::MetaError;
use crate::extent::GRANULE;
use crate::id::{InodeId, SessionId};
use crate::wire::{AtomicOp, Reply, Request};

const ADD: AtomicOp = AtomicOp::FetchAdd(5);

impl World {
    fn atomic(
        &mut self,
        session: SessionId,
        ino: InodeId,
        offset: u64,
        op: AtomicOp,
    ) -> Result<u64, MetaError> {
        match self.ask(session, Request::Atomic { ino, offset, op })? {
            Reply::Atomic { before, layout } => {
                assert!(
                    layout
                        .runs
                        .iter()
                        .any(|run| (run.start..run.end()).contains(&offset))
                );
                Ok(before)
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_atomic_is_changed_and_what_it_was_is_answered() {
    let mut world = World::new(8);
    let session = world.session();
    let ino = world.file(session, "f");
    world.truncate(session, ino, 3 * GRANULE).unwrap();
    let before = world.stat(session, ino).unwrap();
    let at = 2 * GRANULE + 8;
    assert_eq!(world.atomic(session, ino, at, ADD), Ok(0), "in a hole");
    assert_eq!(
        world.atomic(session, ino, at, AtomicOp::FetchAdd(u64::MAX)),
        Ok(5)
    );
    let swap = |expected, new| AtomicOp::CompareSwap { expected, new };
    assert_eq!(world.atomic(session, ino, at, swap(9, 1)), Ok(4));
    assert_eq!(world.atomic(session, ino, at, swap(4, 77)), Ok(4));
    assert_eq!(world.atomic(session, ino, at, AtomicOp::FetchAdd(0)), Ok(77));
    assert_eq!(world.atomic(session, ino, at - 8, AtomicOp::FetchAdd(0)), Ok(0));
    let attr = world.stat(session, ino).unwrap();
    assert_eq!((attr.size, attr.allocated), (3 * GRANULE, GRANULE));
    assert!(attr.version > before.version && attr.mtime > before.mtime);
}

#[test]
fn a_retry_is_answered_anew_and_not_done_anew() {
    let mut world = World::new(8);
    let session = world.session();
    let ino = world.file(session, "f");
    world.truncate(session, ino, 64).unwrap();
    assert_eq!(world.atomic(session, ino, 0, ADD), Ok(0));
    let (offset, op) = (0, ADD);
    let anew = world.next_call(session, Request::Atomic { ino, offset, op });
    let out = world.serve(anew);
    assert!(matches!(out.answer, Some(Ok(Reply::Atomic { before: 0, .. }))));
    assert_eq!(world.atomic(session, ino, 0, ADD), Ok(5));
}

#[test]
fn what_is_no_atomic_of_an_open_file_is_refused() {
    let mut world = World::new(8);
    let (a, b) = (world.session(), world.session());
    let ino = world.file(a, "f");
    world.truncate(a, ino, 100).unwrap();
    for offset in [1, 4, 7, 97, u64::MAX] {
        assert_eq!(
            world.atomic(a, ino, offset, ADD),
            Err(MetaError::Invalid),
            "{offset}"
        );
    }
    for offset in [96, 104, u64::MAX - 7] {
        assert_eq!(
            world.atomic(a, ino, offset, ADD),
            Err(MetaError::BeyondEnd),
            "{offset}"
        );
    }
    assert_eq!(world.atomic(a, ino, 88, ADD), Ok(0));
    assert_eq!(world.atomic(b, ino, 0, ADD), Err(MetaError::Stale), "not open");
    world.open(b, ino, READ).unwrap();
    assert_eq!(world.atomic(b, ino, 0, ADD), Err(MetaError::AccessDenied));
    world.who = user(7);
    assert!(world.open(b, ino, WRITE).is_err());
}

#[test]
fn an_atomic_needs_space_and_bytes_that_are_there() {
    let mut world = World::new(1);
    let session = world.session();
    let ino = world.file(session, "f");
    world.truncate(session, ino, 3 * GRANULE).unwrap();
    assert_eq!(world.atomic(session, ino, 0, ADD), Ok(0));
    assert_eq!(world.atomic(session, ino, GRANULE, ADD), Err(MetaError::NoSpace));
    world.restart();
    let session = world.session();
    world.open(session, ino, WRITE).unwrap();
    assert_eq!(world.atomic(session, ino, 0, ADD), Err(MetaError::Lost));
    assert_eq!(world.atomic(session, ino, GRANULE, ADD), Ok(0));
}
