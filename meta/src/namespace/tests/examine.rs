//! A namespace in use is examined by the same rules, and by some of its own: what sessions hold, and that memory adds up.

use super::world::{READ, ROOT, World, name, user};
use crate::error::MetaError;
use crate::extent::{Extent, GRANULE};
use crate::id::{Incarnation, InodeId, NodeId, RequestId, SessionId, Stamp, Term};
use crate::layout::{Replica, ReplicaState, Run};
use crate::problem::{Examination, ProblemKind::*};
use crate::session::Open;
use crate::time::AccessTime;
use crate::tree::{Body, Inode};
use crate::wire::{Answer, Call, MAX_MESSAGE, Reply, Request, WireVersion, XattrMode, encode};
use crate::xattr::XattrName;
use std::collections::BTreeSet;

/// A world with `/d/sub`, and the closed files `/a` and `/b` of two granules each.
fn world() -> (World, [InodeId; 4]) {
    let mut w = World::new(64);
    let s = w.session();
    let dir = w.dir(s, ROOT, "d");
    let sub = w.dir(s, dir, "sub");
    let files = ["a", "b"].map(|name| {
        let ino = w.file(s, name);
        w.write(s, ino, 5000);
        w.release(s, ino);
        ino
    });
    assert_eq!(w.space.examine().problems, []);
    (w, [dir, sub, files[0], files[1]])
}

/// The kinds of problems that are found once each, and not more.
fn kinds(w: &World) -> Vec<crate::problem::ProblemKind> {
    let mut kinds: Vec<_> = w
        .space
        .examine()
        .problems
        .iter()
        .map(|problem| problem.kind)
        .collect();
    assert!(w.space.check().is_err());
    kinds.sort_unstable();
    kinds
}

fn edit(w: &mut World, ino: InodeId, edit: impl FnOnce(&mut Inode)) {
    edit(w.space.tree.get_mut_lazily(ino).unwrap());
}

fn run(start: u64, offset: u64, incarnation: u64, state: ReplicaState) -> Run {
    let extent = Extent {
        node: NodeId(1),
        incarnation: Incarnation(incarnation),
        offset: offset * GRANULE,
        len: GRANULE,
    };
    let replicas = vec![Replica { extent, state }];
    let start = start * GRANULE;
    Run { start, replicas }
}

#[test]
fn names_are_examined_as_in_a_store() {
    let (mut w, [_, _, a, _]) = world();
    edit(&mut w, a, |inode| inode.attr.nlink = 3);
    assert_eq!(kinds(&w), [WrongLinks]);
    let (mut w, _) = world();
    w.space.tree.drop_entry(ROOT, &name("a")).unwrap();
    assert_eq!(kinds(&w), [Orphan]);
    let (mut w, [dir, sub, ..]) = world();
    w.space.tree.put_entry(dir, &name("x"), InodeId(999)).unwrap();
    w.space.tree.put_entry(ROOT, &name("y"), sub).unwrap();
    assert_eq!(kinds(&w), [DanglingEntry, DirectoryWithTwoNames]);
    let (mut w, [_, sub, ..]) = world();
    w.space.tree.set_parent(sub, ROOT).unwrap();
    assert_eq!(kinds(&w), [WrongParent]);
    let (mut w, _) = world();
    w.space.tree.next = InodeId(3);
    assert_eq!(kinds(&w), [BadCeiling; 3]);
    let (mut w, [dir, ..]) = world();
    w.space.tree.entries_mut(dir).unwrap().next_cookie = 3;
    assert_eq!(kinds(&w), [BadCookie]);
}

#[test]
fn memory_belongs_to_one_file_and_adds_up() {
    let (mut w, [_, _, a, b]) = world();
    let shared = w.space.tree.layout(a).unwrap().runs().next().unwrap().clone();
    let at = shared.replicas[0].extent.offset / GRANULE;
    let layout = w.space.tree.layout_mut(b).unwrap();
    layout.insert(run(9, at, 1, ReplicaState::Valid));
    assert_eq!(kinds(&w), [SharedExtent, WrongAllocated, LooseSpace, WrongSum]);

    let (mut w, [_, _, a, _]) = world();
    let layout = w.space.tree.layout_mut(a).unwrap();
    layout.insert(run(9, 64, 1, ReplicaState::Valid));
    assert_eq!(
        kinds(&w),
        [ExtentBeyondArena, WrongAllocated, LooseSpace, WrongSum]
    );

    let (mut w, [_, _, a, _]) = world();
    edit(&mut w, a, |inode| inode.attr.size = 100);
    assert_eq!(kinds(&w), [LooseSpace]);

    for (incarnation, state) in [(1, ReplicaState::Lost), (7, ReplicaState::Valid)] {
        let (mut w, [_, _, a, _]) = world();
        edit(&mut w, a, |inode| {
            let Body::File { layout, .. } = &mut inode.body else {
                panic!()
            };
            *layout = Default::default();
            layout.insert(run(0, 0, incarnation, state));
            layout.insert(run(1, 1, incarnation, state));
        });
        assert!(kinds(&w).starts_with(&[BadRun]));
    }

    let (mut w, _) = world();
    let free = run(0, 60, 1, ReplicaState::Valid).replicas[0].extent;
    assert!(w.space.alloc.claim(free));
    assert_eq!(kinds(&w), [WrongSum], "a leak");
}

#[test]
fn extended_attributes_are_an_inodes_and_within_its_limits() {
    let (mut w, [_, _, a, _]) = world();
    let value = |len| (vec![0; len], XattrMode::default());
    for number in 0..2 {
        let name = XattrName::new(format!("user.{number}")).unwrap();
        w.space
            .tree
            .set_xattr(&w.who, a, name, value(60_000), w.now.wall)
            .unwrap();
    }
    assert_eq!(w.space.examine().problems, []);
    w.space.tree.lose_inode(a);
    assert!(kinds(&w).contains(&StrayXattr));
}

#[test]
fn what_has_no_name_is_open_or_on_its_way_out() {
    let (mut w, [_, _, a, _]) = world();
    let s = w.session();
    w.space.tree.drop_entry(ROOT, &name("a")).unwrap();
    edit(&mut w, a, |inode| inode.attr.nlink = 0);
    assert_eq!(kinds(&w), [WrongOpens]);
    w.space.orphans.insert(a);
    assert_eq!(w.space.examine().problems, []);
    w.space.orphans.clear();
    let open = Open {
        count: 1,
        writable: false,
        runs: false,
        ran_with_rights: false,
    };
    w.space.sessions.open(s, a, open);
    assert_eq!(w.space.examine().problems, []);
    w.space.orphans.insert(a);
    assert_eq!(kinds(&w), [WrongOpens]);
    w.space.orphans.clear();
    w.space.sessions.open(s, InodeId(777), open);
    assert_eq!(kinds(&w), [WrongOpens]);
}

fn ask(w: &mut World, uid: u32, skip: u64) -> Answer {
    let call = Call {
        session: SessionId(0),
        term: Term(0),
        id: RequestId::NOT_KEPT,
        caller: user(uid),
        access_time: AccessTime::default(),
        request: Request::Examine { skip },
        closes: Vec::new(),
    };
    w.space.call(call, w.now).answer.unwrap()
}

#[test]
fn root_asks_without_a_session_and_leaves_nothing_behind() {
    let (mut w, [_, _, a, _]) = world();
    let s = w.session();
    w.open(s, a, READ).unwrap();
    let before = shown(&mut w);
    let Ok(Reply::Examined(found)) = ask(&mut w, 0, 0) else {
        panic!()
    };
    assert_eq!((found.inodes, found.entries, found.wrong), (5, 4, 0));
    assert_eq!(found.bytes, 4 * GRANULE);
    assert_eq!(ask(&mut w, 1000, 0), Err(MetaError::NotOwner));
    assert_eq!(shown(&mut w), before);
}

/// All of the namespace; that steps were made is no matter.
fn shown(w: &mut World) -> String {
    w.space.stamp = Stamp::NONE;
    format!("{:?}", w.space)
}

#[test]
fn many_problems_come_in_pages_that_fit_a_message() {
    let (mut w, [dir, ..]) = world();
    let count = 3000;
    for number in 0..count {
        let entry = name(&format!("{number:0200}"));
        w.space.tree.put_entry(dir, &entry, InodeId(99_999)).unwrap();
    }
    let mut observed = Vec::new();
    loop {
        let answer = ask(&mut w, 0, observed.len() as u64);
        assert!(encode(&answer, WireVersion::NEWEST).unwrap().len() <= MAX_MESSAGE);
        let Ok(Reply::Examined(Examination { wrong, problems, .. })) = answer else {
            panic!()
        };
        assert_eq!(wrong, count);
        if problems.is_empty() {
            break;
        }
        observed.extend(problems);
    }
    let distinct: BTreeSet<_> = observed.iter().map(|problem| problem.path.clone()).collect();
    assert_eq!(
        (observed.len() as u64, distinct.len() as u64),
        (count, count),
        "each is told once"
    );
    let Ok(Reply::Examined(page)) = ask(&mut w, 0, u64::MAX) else {
        panic!()
    };
    assert_eq!(page.problems, []);
}
