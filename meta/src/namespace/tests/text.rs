//! Programs that change who runs them: they do not run while another host may write them.

use super::world::{READ, WRITE, World};
use crate::attr::SetAttr;
use crate::error::MetaError::TextBusy;
use crate::id::{InodeId, SessionId};
use crate::wire::{OpenAccess, Request};

const RUN: OpenAccess = OpenAccess {
    read: true,
    write: false,
    execute: true,
    truncate: false,
    append: false,
};
const CUT: OpenAccess = OpenAccess {
    truncate: true,
    ..READ
};

/// A program, closed, and two hosts.
fn world(mode: u16) -> (World, InodeId, SessionId, SessionId) {
    let mut w = World::new(32);
    let (a, b) = (w.session(), w.session());
    let ino = w.file(a, "program");
    w.release(a, ino);
    let change = SetAttr {
        mode: Some(mode),
        ..SetAttr::default()
    };
    let request = Request::SetAttr {
        ino,
        change,
        by_handle: false,
    };
    w.ask(a, request).unwrap();
    (w, ino, a, b)
}

#[test]
fn a_set_id_program_runs_where_nobody_else_may_write_it() {
    for mode in [0o4755, 0o2755, 0o6777] {
        let (mut w, ino, a, b) = world(mode);
        w.open(a, ino, WRITE).unwrap();
        assert_eq!(w.open(b, ino, RUN), Err(TextBusy));
        w.open(b, ino, READ).unwrap();
        w.open(b, ino, WRITE).unwrap();
        // Its own host sees to itself.
        w.release(b, ino);
        w.release(b, ino);
        w.open(a, ino, RUN).unwrap();
        w.release(a, ino);
        w.release(a, ino);
        w.open(b, ino, RUN).unwrap();
    }
}

#[test]
fn what_runs_with_rights_of_its_own_is_not_written_elsewhere() {
    let (mut w, ino, a, b) = world(0o4755);
    w.open(b, ino, RUN).unwrap();
    for access in [WRITE, CUT] {
        assert_eq!(w.open(a, ino, access), Err(TextBusy));
    }
    w.open(a, ino, READ).unwrap();
    w.open(b, ino, WRITE).unwrap();
    w.release(b, ino);
    w.release(b, ino);
    w.open(a, ino, WRITE).unwrap();
}

#[test]
fn so_it_is_with_file_capabilities_and_with_no_other_program() {
    let (mut w, ino, a, b) = world(0o755);
    w.open(a, ino, WRITE).unwrap();
    w.open(b, ino, RUN).unwrap();
    w.release(b, ino);
    w.set_xattr(b, ino, "security.capability", b"privileges").unwrap();
    assert_eq!(w.open(b, ino, RUN), Err(TextBusy));
    w.release(a, ino);
    w.open(b, ino, RUN).unwrap();
    assert_eq!(w.open(a, ino, WRITE), Err(TextBusy));
}
