//! Programs that change who runs them: they do not run while another host may write them.

use super::world::{READ, WRITE, World, user};
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

/// Whoever may write a file may take its bits away without opening it.
#[test]
fn rights_that_are_taken_away_meanwhile_count_for_who_runs_with_them() {
    let (mut w, ino, a, b) = world(0o4777);
    w.open(b, ino, RUN).unwrap();
    let cut = Request::SetAttr {
        ino,
        change: SetAttr {
            size: Some(0),
            ..SetAttr::default()
        },
        by_handle: false,
    };
    w.who = user(7);
    assert_eq!(w.ask(a, cut), Err(TextBusy), "it would run on without its bytes");
    let nobody = Request::SetAttr {
        ino,
        change: SetAttr {
            uid: Some(u32::MAX),
            ..SetAttr::default()
        },
        by_handle: false,
    };
    // Whatever comes of it.
    let _ = w.ask(a, nobody);
    let bare = Request::SetAttr {
        ino,
        change: SetAttr {
            mode: Some(0o777),
            ..SetAttr::default()
        },
        by_handle: false,
    };
    w.who = user(0);
    w.ask(b, bare).unwrap();
    w.who = user(7);
    assert_eq!(w.open(a, ino, WRITE), Err(TextBusy));
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
