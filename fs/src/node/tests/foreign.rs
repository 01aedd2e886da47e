//! A pool with an arena that this node has no way to: whatever would have to be done there fails, and says so.

use super::rig::{Rig, TestHandler};
use crate::node::cleaner;
use rdmafs_meta::attr::SetAttr;
use rdmafs_meta::error::MetaError;
use rdmafs_meta::extent::Extent;
use rdmafs_meta::id::{Incarnation, InodeId, NodeId};
use rdmafs_meta::namespace::Namespace;
use rdmafs_meta::time::Timestamp;
use rdmafs_meta::wire::{Answer, AtomicOp, Reply, Request};
use rdmafs_rdma::fabric::Verb;
use std::sync::mpsc;

/// Small runs are taken first: files of a few granules come to lie there.
const AWAY: (NodeId, u64) = (NodeId(2), 64 << 10);
/// More than the arena that is away has.
const LARGE: u64 = 128 << 10;
const UNREACHABLE: Answer = Err(MetaError::Unreachable);

impl TestHandler<'_> {
    /// An open file with space for so many bytes.
    fn file(&mut self, name: &str, size: u64) -> (InodeId, Answer) {
        let Ok(Reply::Opened { attr, .. }) = self.make(name) else {
            panic!("no file");
        };
        let ino = attr.ino;
        let layout = self.layout(ino, size);
        let committed = self.call(Request::Commit {
            ino,
            size,
            truncate_seq: 0,
            mtime: Timestamp::default(),
            clear_set_id: false,
            sync: false,
        });
        assert!(committed.is_ok(), "{committed:?}");
        (ino, layout)
    }

    fn layout(&mut self, ino: InodeId, end: u64) -> Answer {
        self.call(Request::Layout {
            ino,
            start: 0,
            end,
            allocate: true,
        })
    }

    fn cut(&mut self, ino: InodeId, size: u64) -> Answer {
        let change = SetAttr {
            size: Some(size),
            ..SetAttr::default()
        };
        let by_handle = true;
        self.call(Request::SetAttr {
            ino,
            change,
            by_handle,
        })
    }
}

fn nodes(rig: &Rig, ino: InodeId) -> Vec<NodeId> {
    let of_file = |namespace: &Namespace| {
        let replicas = namespace.places().filter(|(of, ..)| *of == ino);
        replicas.map(|(.., copy)| copy.extent.node).collect()
    };
    rig.service.look(of_file)
}

/// Lets the cleaner clean what was freed so far.
fn clean(rig: &Rig, more: Vec<Extent>) {
    let (send, dirty) = mpsc::channel();
    for extents in rig.dirty.lock().try_iter().chain([more]) {
        send.send(extents).unwrap();
    }
    drop(send);
    cleaner::clean(&rig.service, &dirty);
}

#[test]
fn who_cannot_be_let_in_is_notified() {
    let rig = Rig::beside(&[AWAY]);
    let mut peer = rig.peer(1);
    let (ino, layout) = peer.file("away", 100);
    assert_eq!(nodes(&rig, ino), [AWAY.0]);
    assert_eq!(layout, UNREACHABLE);
    let (ino, layout) = peer.file("here", LARGE);
    assert!(matches!(layout, Ok(Reply::Layout(_))), "{layout:?}");
    let here = rig.service.look(|namespace| {
        let mut replicas = namespace.places().filter(|(of, ..)| *of == ino);
        replicas.next().map(|(.., copy)| copy.extent).unwrap()
    });
    let may = |at: u64| {
        rig.service
            .grants()
            .may(rdmafs_rdma::server::PeerId(1), Verb::Write, &(at..at + 100))
    };
    assert!(may(here.offset));
    assert!(!may(here.end()), "nor to bytes of this arena in their place");
}

#[test]
fn a_tail_that_cannot_be_zeroed_is_an_error_and_a_retry_hears_it_too() {
    let rig = Rig::beside(&[AWAY]);
    let mut peer = rig.peer(1);
    let (ino, _) = peer.file("away", 100);
    assert_eq!(peer.cut(ino, 50), UNREACHABLE);
    peer.calls -= 1;
    assert_eq!(peer.cut(ino, 50), UNREACHABLE);
    let (ino, _) = peer.file("here", LARGE);
    assert!(peer.cut(ino, 50).is_ok());
}

#[test]
fn bytes_that_cannot_be_zeroed_in_place_are_an_error() {
    let rig = Rig::beside(&[AWAY]);
    let mut peer = rig.peer(1);
    let zero = |ino| Request::Allocate {
        ino,
        start: 0,
        end: 100,
        keep_size: false,
        zero: true,
    };
    let (ino, _) = peer.file("away", 100);
    assert_eq!(peer.call(zero(ino)), UNREACHABLE);
    let (ino, _) = peer.file("here", LARGE);
    assert!(peer.call(zero(ino)).is_ok());
}

#[test]
fn bytes_that_cannot_be_copied_are_an_error() {
    let rig = Rig::beside(&[AWAY]);
    let mut peer = rig.peer(1);
    let (away, _) = peer.file("away", 100);
    let (here, _) = peer.file("here", LARGE);
    let copy = |from, to, to_offset| Request::Copy {
        from,
        from_offset: 0,
        to,
        to_offset,
        len: 100,
    };
    assert_eq!(peer.call(copy(away, here, 0)), UNREACHABLE, "from there");
    assert_eq!(peer.call(copy(here, away, 0)), UNREACHABLE, "to there");
    let copied = peer.call(copy(here, here, 4096));
    assert!(matches!(copied, Ok(Reply::Copied { len: 100, .. })), "{copied:?}");
}

#[test]
fn a_word_that_cannot_be_changed_is_an_error() {
    let rig = Rig::beside(&[AWAY]);
    let mut peer = rig.peer(1);
    let op = AtomicOp::FetchAdd(1);
    let change = |ino| Request::Atomic { ino, offset: 8, op };
    let (ino, _) = peer.file("away", 100);
    assert_eq!(peer.call(change(ino)), UNREACHABLE);
    peer.calls -= 1;
    assert_eq!(peer.call(change(ino)), UNREACHABLE, "a retry");
    let (ino, _) = peer.file("here", LARGE);
    assert!(matches!(
        peer.call(change(ino)),
        Ok(Reply::Atomic { before: 0, .. })
    ));
    assert!(matches!(
        peer.call(change(ino)),
        Ok(Reply::Atomic { before: 1, .. })
    ));
}

/// Else its bytes would be the next file's.
#[test]
fn freed_memory_that_cannot_be_zeroed_is_never_used_anew() {
    let rig = Rig::beside(&[AWAY]);
    let mut peer = rig.peer(1);
    let (away, _) = peer.file("away", 8192);
    let (here, _) = peer.file("here", LARGE);
    let room = |rig: &Rig| rig.service.look(Namespace::room);
    let (free, _) = room(&rig);
    for ino in [away, here] {
        assert!(peer.cut(ino, 0).is_ok());
        assert!(peer.call(Request::Release { ino, opens: 1 }).is_ok());
    }
    assert_eq!(room(&rig), (free, LARGE + 8192));
    clean(&rig, Vec::new());
    assert_eq!(room(&rig), (free + LARGE, 8192));
    rig.service.look(|namespace| namespace.check().unwrap());
}

#[test]
fn what_is_gone_with_its_incarnation_needs_no_cleaning() {
    let rig = Rig::new();
    let gone = Extent {
        node: NodeId(1),
        incarnation: Incarnation(5),
        offset: 0,
        len: 4096,
    };
    let before = rig.service.look(Namespace::room);
    clean(&rig, vec![gone]);
    assert_eq!(rig.service.look(Namespace::room), before);
}
