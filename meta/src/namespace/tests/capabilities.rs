//! File capabilities: who may take them, what takes them, and who hears of them.

use super::world::{READ, ROOT, WRITE, World, name, user};
use super::xattrs::{get, remove};
use crate::attr::SetAttr;
use crate::error::MetaError;
use crate::id::{InodeId, RequestId, SessionId};
use crate::wire::{Notice, OpenAccess, Reply, Request, XattrMode};
use crate::xattr::XattrName;

const CAPABILITY: &str = "security.capability";

fn give(w: &mut World, s: SessionId, ino: InodeId) {
    let who = std::mem::replace(&mut w.who, user(0));
    w.set_xattr(s, ino, CAPABILITY, b"privileges").unwrap();
    w.who = who;
}

fn plain(w: &mut World, s: SessionId, ino: InodeId) -> bool {
    get(w, s, ino, CAPABILITY).is_err()
}

#[test]
#[expect(clippy::too_many_lines, reason = "one story, in its order")]
fn whatever_changes_bytes_or_owner_takes_file_capabilities() {
    let mut w = World::new(32);
    let s = w.session();
    let ino = w.file(s, "f");
    w.write(s, ino, 100);
    let change = |change: SetAttr| Request::SetAttr {
        ino,
        change,
        by_handle: false,
    };
    let access = OpenAccess {
        truncate: true,
        ..WRITE
    };
    let takes = [
        change(SetAttr {
            size: Some(10),
            ..SetAttr::default()
        }),
        change(SetAttr {
            size: Some(10),
            ..SetAttr::default()
        }),
        change(SetAttr {
            uid: Some(7),
            ..SetAttr::default()
        }),
        change(SetAttr {
            gid: Some(0),
            ..SetAttr::default()
        }),
        Request::Open { ino, access },
        Request::Commit {
            ino,
            size: 0,
            truncate_seq: 0,
            mtime: super::world::at(9),
            clear_set_id: false,
            sync: false,
        },
    ];
    for request in takes {
        give(&mut w, s, ino);
        assert!(!plain(&mut w, s, ino));
        w.ask(s, request.clone()).unwrap();
        assert!(plain(&mut w, s, ino), "{request:?}");
    }
    give(&mut w, s, ino);
    w.set_xattr(s, ino, "user.a", b"").unwrap();
    let keeps = [
        change(SetAttr {
            mode: Some(0o755),
            ..SetAttr::default()
        }),
        change(SetAttr {
            mtime: Some(crate::attr::SetTime::Now),
            ..SetAttr::default()
        }),
        Request::Open { ino, access: WRITE },
        Request::Link {
            ino,
            parent: ROOT,
            name: name("g"),
        },
    ];
    for request in keeps {
        w.ask(s, request.clone()).unwrap();
        assert!(!plain(&mut w, s, ino), "{request:?}");
    }
    let dir = w.dir(s, ROOT, "d");
    give(&mut w, s, dir);
    let change = SetAttr {
        uid: Some(7),
        ..SetAttr::default()
    };
    w.ask(
        s,
        Request::SetAttr {
            ino: dir,
            change,
            by_handle: false,
        },
    )
    .unwrap();
    assert!(!plain(&mut w, s, dir), "a directory is not run");
}

#[test]
fn whoever_may_write_may_take_file_capabilities_and_nobody_else() {
    let mut w = World::new(8);
    let s = w.session();
    w.who = user(7);
    let ino = w.file(s, "f");
    w.release(s, ino);
    give(&mut w, s, ino);
    w.who = user(8);
    assert_eq!(
        remove(&mut w, s, ino, CAPABILITY),
        Err(MetaError::NotOwner),
        "0755"
    );
    w.who = user(7);
    remove(&mut w, s, ino, CAPABILITY).unwrap();
    // A kernel asks in the name of whoever writes, who may have the file open only.
    give(&mut w, s, ino);
    w.open(s, ino, WRITE).unwrap();
    w.who = user(8);
    remove(&mut w, s, ino, CAPABILITY).unwrap();
}

#[test]
fn an_open_says_whether_there_are_file_capabilities_and_a_notice_when_there_are() {
    let mut w = World::new(8);
    let (s, other) = (w.session(), w.session());
    let ino = w.file(s, "f");
    let opened = |w: &mut World| match w.ask(other, Request::Open { ino, access: READ }) {
        Ok(Reply::Opened { plain, .. }) => plain,
        answer => panic!("{answer:?}"),
    };
    assert!(opened(&mut w));
    let notices = |w: &mut World, name: &str| {
        let set = Request::SetXattr {
            ino,
            name: XattrName::new(name).unwrap(),
            staged: None,
            value: vec![1],
            mode: XattrMode::default(),
        };
        let mut call = w.next_call(s, set);
        call.id = RequestId::NOT_KEPT;
        w.serve(call).notices
    };
    assert_eq!(notices(&mut w, "user.a"), []);
    assert_eq!(
        notices(&mut w, CAPABILITY),
        [(other, Notice::Capabilities { ino })]
    );
    assert!(!opened(&mut w));
    let change = SetAttr {
        size: Some(0),
        ..SetAttr::default()
    };
    w.ask(
        s,
        Request::SetAttr {
            ino,
            change,
            by_handle: true,
        },
    )
    .unwrap();
    assert!(opened(&mut w));
}
