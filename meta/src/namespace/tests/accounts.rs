//! No user fills the service's memory with names.

use super::world::{ROOT, World, name, user};
use crate::attr::SetAttr;
use crate::error::MetaError;
use crate::id::{InodeId, SessionId};
use crate::wire::{Answer, NewInode, RenameMode, Reply, Request};

/// A thousand names.
const LIMIT: u64 = 1000 << 10;
/// What one user alone may have of them, beside the root directory: half of what is not root's reserve.
const HALF: u64 = 467;

fn world() -> (World, SessionId) {
    let mut w = World::new(8);
    w.space.tree.begin_accounts(LIMIT);
    let s = w.session();
    (w, s)
}

fn make(w: &mut World, s: SessionId, number: u64, what: &NewInode) -> Answer {
    let (parent, name, what) = (ROOT, name(&number.to_string()), what.clone());
    let mode = 0o644;
    w.ask(
        s,
        Request::Make {
            parent,
            name,
            what,
            mode,
        },
    )
}

fn used(w: &mut World, s: SessionId) -> u64 {
    match w.ask(s, Request::StatFsAt { ino: ROOT }) {
        Ok(Reply::Room(room)) => room.names - room.names_free,
        other => panic!("{other:?}"),
    }
}

/// Asks for one more until that is refused: how many there are, and why there are no more.
fn until_refused(mut ask: impl FnMut(u64) -> Answer) -> (u64, MetaError) {
    let mut number = 0;
    loop {
        match ask(number) {
            Ok(_) => number += 1,
            Err(error) => return (number, error),
        }
    }
}

fn chown(w: &mut World, s: SessionId, ino: InodeId, uid: u32) {
    let who = std::mem::replace(&mut w.who, user(0));
    let change = SetAttr {
        uid: Some(uid),
        ..SetAttr::default()
    };
    let by_handle = false;
    w.ask(
        s,
        Request::SetAttr {
            ino,
            change,
            by_handle,
        },
    )
    .unwrap();
    w.who = who;
}

#[test]
fn a_user_has_half_of_all_names_and_others_go_on() {
    let kinds = [
        (NewInode::File { open: false }, HALF),
        (NewInode::Directory, 267),
        (NewInode::WHITEOUT, HALF),
        (NewInode::Symlink(vec![b'x'; 4095]), 93),
    ];
    for (what, most) in kinds {
        let (mut w, s) = world();
        w.who = user(7);
        let refused = until_refused(|number| make(&mut w, s, number, &what));
        assert_eq!(refused, (most, MetaError::QuotaExceeded));
        w.who = user(8);
        make(&mut w, s, 5000, &what).unwrap();
        w.who = user(0);
        let rest = until_refused(|number| make(&mut w, s, 6000 + number, &NewInode::Directory));
        assert_eq!(rest.1, MetaError::NoSpace);
        // What is there can be removed, and then there is room for one more.
        w.who = user(7);
        match what {
            NewInode::Directory => w
                .ask(
                    s,
                    Request::RemoveDir {
                        parent: ROOT,
                        name: name("0"),
                    },
                )
                .map(drop)
                .unwrap(),
            _ => w.unlink(s, "0"),
        }
        w.who = user(0);
        make(&mut w, s, 9000, &NewInode::WHITEOUT).unwrap();
    }
}

#[test]
fn names_of_a_file_and_attributes_count_for_its_owner() {
    let (mut w, s) = world();
    w.who = user(7);
    let ino = w.make(s, ROOT, "f", NewInode::File { open: false }).ino;
    let parent = ROOT;
    let more = until_refused(|number| {
        let name = name(&format!("l{number}"));
        w.ask(s, Request::Link { ino, parent, name })
    });
    assert_eq!(more, (HALF - 1, MetaError::QuotaExceeded));
    assert_eq!(
        w.set_xattr(s, ino, "user.a", &[0; 1000]),
        Err(MetaError::QuotaExceeded)
    );
    for number in 0..HALF - 1 {
        w.unlink(s, &format!("l{number}"));
    }
    w.set_xattr(s, ino, "user.a", &[0; 60_000]).unwrap();
    assert_eq!(used(&mut w, s), 62);
    w.set_xattr(s, ino, "user.a", &[0; 10]).unwrap();
    assert_eq!(used(&mut w, s), 4, "a part of one is one");
}

#[test]
fn attributes_that_do_not_grow_are_never_refused() {
    let (mut w, s) = world();
    w.who = user(7);
    let ino = w.make(s, ROOT, "f", NewInode::File { open: false }).ino;
    w.set_xattr(s, ino, "user.a", &[1; 5000]).unwrap();
    until_refused(|number| make(&mut w, s, number, &NewInode::File { open: false }));
    w.set_xattr(s, ino, "user.a", &[2; 5000]).unwrap();
    w.set_xattr(s, ino, "user.a", &[2; 4000]).unwrap();
    assert_eq!(
        w.set_xattr(s, ino, "user.a", &[2; 6000]),
        Err(MetaError::QuotaExceeded)
    );
}

#[test]
fn others_cannot_fill_what_a_user_may_have() {
    let (mut w, s) = world();
    w.who = user(7);
    let ino = w.make(s, ROOT, "f", NewInode::File { open: false }).ino;
    w.who = user(8);
    let parent = ROOT;
    let links = until_refused(|number| {
        let name = name(&format!("l{number}"));
        w.ask(s, Request::Link { ino, parent, name })
    });
    assert_eq!(links.1, MetaError::QuotaExceeded);
    assert!(links.0 < HALF * 3 / 4, "{links:?}");
    w.who = user(7);
    make(&mut w, s, 1, &NewInode::Directory).unwrap();
}

#[test]
fn a_file_counts_for_its_owner_until_it_is_gone() {
    let (mut w, s) = world();
    w.who = user(7);
    let ino = w.file(s, "f");
    w.set_xattr(s, ino, "user.a", &[0; 20_000]).unwrap();
    let before = used(&mut w, s);
    w.unlink(s, "f");
    assert_eq!(used(&mut w, s), before, "somebody has it open");
    w.release(s, ino);
    while w.tick() {}
    assert_eq!(used(&mut w, s), 2, "the root directory");
}

#[test]
fn a_new_owner_is_charged_in_the_place_of_the_one_before() {
    let (mut w, s) = world();
    w.who = user(7);
    until_refused(|number| make(&mut w, s, number, &NewInode::Directory));
    let before = used(&mut w, s);
    w.who = user(0);
    for text in ["1", "2"] {
        let name = name(text);
        let Ok(Reply::Attr(attr)) = w.ask(s, Request::Lookup { parent: ROOT, name }) else {
            panic!("it is there");
        };
        chown(&mut w, s, attr.ino, 8);
    }
    assert_eq!(used(&mut w, s), before);
    w.who = user(7);
    make(&mut w, s, 5000, &NewInode::Directory).unwrap();
    assert_eq!(
        make(&mut w, s, 5001, &NewInode::Directory),
        Err(MetaError::QuotaExceeded)
    );
}

#[test]
fn a_rename_that_leaves_a_whiteout_counts_it() {
    let (mut w, s) = world();
    w.who = user(7);
    until_refused(|number| make(&mut w, s, number, &NewInode::File { open: false }));
    let mut rename = |mode| {
        let (parent, new_parent) = (ROOT, ROOT);
        let (name, new_name) = (name("1"), name("new"));
        let request = Request::Rename {
            parent,
            name,
            new_parent,
            new_name,
            mode,
        };
        w.ask(s, request)
    };
    assert_eq!(rename(RenameMode::Whiteout), Err(MetaError::QuotaExceeded));
    assert_eq!(rename(RenameMode::Replace), Ok(Reply::Done));
}

#[test]
fn a_restart_counts_what_was_counted() {
    let (mut w, s) = world();
    w.who = user(7);
    let ino = w.make(s, ROOT, "f", NewInode::File { open: false }).ino;
    w.set_xattr(s, ino, "user.a", &[0; 20_000]).unwrap();
    make(&mut w, s, 1, &NewInode::Symlink(vec![b'x'; 4000])).unwrap();
    let before = w.space.tree.accounts.space().1;
    w.restart();
    assert_eq!(w.space.tree.accounts.space().1, before);
    // More than may be made is there: it stays, and only removals are served.
    w.space.tree.begin_accounts(1024);
    let s = w.session();
    assert_eq!(make(&mut w, s, 2, &NewInode::Directory), Err(MetaError::NoSpace));
    w.who = user(0);
    assert_eq!(make(&mut w, s, 2, &NewInode::Directory), Err(MetaError::NoSpace));
    w.unlink(s, "f");
}

#[test]
fn without_room_in_the_store_what_is_there_can_be_changed_and_removed() {
    let (mut w, s) = world();
    let ino = w.file(s, "f");
    w.write(s, ino, 8192);
    w.set_xattr(s, ino, "user.a", b"long").unwrap();
    w.space.set_frozen(true);
    let full = MetaError::NoSpace;
    assert_eq!(make(&mut w, s, 1, &NewInode::Directory), Err(full));
    assert_eq!(w.set_xattr(s, ino, "user.b", b"x"), Err(full));
    assert_eq!(w.allocate(s, ino, 8192..9000), Err(full));
    let (parent, link) = (ROOT, name("l"));
    assert_eq!(
        w.ask(
            s,
            Request::Link {
                ino,
                parent,
                name: link
            }
        ),
        Err(full)
    );
    // What is there.
    w.write(s, ino, 8000);
    w.set_xattr(s, ino, "user.a", b"less").unwrap();
    chown(&mut w, s, ino, 7);
    w.unlink(s, "f");
    w.space.set_frozen(false);
    make(&mut w, s, 1, &NewInode::Directory).unwrap();
}
