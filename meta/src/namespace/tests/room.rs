//! The first bytes of new files, and opens that calls give back on their way.

use super::world::{ROOT, World, attr_of, name};
use crate::error::MetaError;
use crate::extent::GRANULE;
use crate::id::{InodeId, RequestId, SessionId};
use crate::wire::{Call, MAX_CLOSES, NewInode, OpenAccess, Reply, Request};

const WRITE: OpenAccess = OpenAccess {
    read: false,
    write: true,
    execute: false,
    truncate: false,
    append: false,
};

fn make(w: &mut World, session: SessionId, text: &str, room: u32) -> InodeId {
    let request = Request::Make {
        parent: ROOT,
        name: name(text),
        what: NewInode::OpenFile { room },
        mode: 0o644,
    };
    match w.ask(session, request) {
        Ok(Reply::Opened { attr, layout, .. }) => {
            let given: u64 = layout.runs.iter().map(crate::layout::Run::len).sum();
            assert_eq!(given, attr.allocated, "the layout comes along");
            attr.ino
        }
        other => panic!("{other:?}"),
    }
}

fn allocated(w: &mut World, session: SessionId, ino: InodeId) -> u64 {
    attr_of(w.ask(session, Request::GetAttr { ino }))
        .unwrap()
        .allocated
}

fn take_back(w: &mut World, session: SessionId, ino: InodeId) -> u64 {
    let attr = attr_of(w.ask(session, Request::TakeRoomBack { ino })).unwrap();
    w.acknowledge_all();
    w.clean();
    attr.allocated
}

#[test]
fn a_new_file_is_given_room_where_there_is_ample() {
    let mut w = World::new(64);
    let s = w.session();
    let ino = make(&mut w, s, "f", 4096);
    assert_eq!(allocated(&mut w, s, ino), GRANULE);
    let ino = make(&mut w, s, "none", 0);
    assert_eq!(allocated(&mut w, s, ino), 0);
    let mut small = World::new(16);
    let s = small.session();
    let ino = make(&mut small, s, "f", 4096);
    assert_eq!(
        allocated(&mut small, s, ino),
        0,
        "of 16 granules none is to spare"
    );
    let ino = make(&mut small, s, "g", u32::MAX);
    assert_eq!(allocated(&mut small, s, ino), 0);
}

#[test]
fn what_is_not_written_goes_back() {
    let mut w = World::new(64);
    let s = w.session();
    let all = w.free(s);
    let ino = make(&mut w, s, "f", 4096);
    assert_eq!(take_back(&mut w, s, ino), 0);
    assert_eq!(w.free(s), all);
    assert_eq!(take_back(&mut w, s, ino), 0, "once more changes nothing");
    let ino = make(&mut w, s, "closed", 4096);
    assert_eq!(w.ask(s, Request::Release { ino, opens: 1 }), Ok(Reply::Done));
    w.acknowledge_all();
    w.clean();
    assert_eq!((allocated(&mut w, s, ino), w.free(s)), (0, all));
}

/// Another session may have written where nobody has committed yet, and what has a size was written.
#[test]
fn what_others_may_have_written_to_stays() {
    let mut w = World::new(64);
    let (a, b) = (w.session(), w.session());
    let shared = make(&mut w, a, "shared", 4096);
    w.ask(
        b,
        Request::Open {
            ino: shared,
            access: WRITE,
        },
    )
    .unwrap();
    assert_eq!(take_back(&mut w, a, shared), GRANULE);
    assert_eq!(take_back(&mut w, b, shared), GRANULE);
    let other = make(&mut w, a, "other", 4096);
    assert_eq!(take_back(&mut w, b, other), GRANULE, "it did not make the file");
    let appended = make(&mut w, a, "appended", 4096);
    w.ask(
        a,
        Request::Append {
            ino: appended,
            len: 100,
        },
    )
    .unwrap();
    assert_eq!(take_back(&mut w, a, appended), GRANULE);
}

fn unlink(w: &World, session: SessionId, text: &str, closes: Vec<(InodeId, u32)>) -> Call {
    let request = Request::Unlink {
        parent: ROOT,
        name: name(text),
    };
    Call {
        closes,
        ..w.next_call(session, request)
    }
}

#[test]
fn what_a_call_closes_is_closed_once() {
    let mut w = World::new(64);
    let s = w.session();
    let all = w.free(s);
    let ino = make(&mut w, s, "f", 4096);
    w.ask(s, Request::Open { ino, access: WRITE }).unwrap();
    w.ask(s, Request::Open { ino, access: WRITE }).unwrap();
    w.request += 1;
    let call = unlink(&w, s, "f", vec![(ino, 2), (InodeId(77), 1)]);
    for _ in 0..3 {
        assert_eq!(w.serve(call.clone()).answer, Some(Ok(Reply::Done)));
    }
    assert_eq!(allocated(&mut w, s, ino), GRANULE, "one open is left");
    w.ask(s, Request::Release { ino, opens: 1 }).unwrap();
    w.acknowledge_all();
    w.clean();
    assert_eq!(w.free(s), all);
}

#[test]
fn only_what_is_done_once_closes_and_not_too_much() {
    let mut w = World::new(64);
    let s = w.session();
    let ino = make(&mut w, s, "f", 4096);
    w.request += 1;
    let many = unlink(&w, s, "f", vec![(ino, 1); MAX_CLOSES + 1]);
    assert_eq!(w.serve(many).answer, Some(Err(MetaError::Invalid)));
    w.request += 1;
    let idempotent = Call {
        closes: vec![(ino, 1)],
        ..w.next_call(s, Request::StatFs)
    };
    assert_eq!(w.serve(idempotent).answer, Some(Err(MetaError::Invalid)));
    let no_id = Call {
        id: RequestId::NOT_KEPT,
        ..unlink(&w, s, "f", vec![(ino, 1)])
    };
    assert_eq!(w.serve(no_id).answer, Some(Err(MetaError::Invalid)));
    assert!(
        w.ask(s, Request::Release { ino, opens: 1 }).is_ok(),
        "it is open still"
    );
}
