//! Names: POSIX's rules, permissions, and listings that stay sound while entries come and go.

use super::world::{READ, ROOT, World, at, attr_of, name, user};
use crate::attr::{FileKind, SetAttr, SetTime};
use crate::error::MetaError;
use crate::extent::GRANULE;
use crate::id::{InodeId, RequestId, SessionId};
use crate::time::{AccessTime, Timestamp};
use crate::wire::{Answer, Call, NewInode, RenameMode, Reply, Request};
use std::time::Duration;

fn rename(
    world: &mut World,
    session: SessionId,
    from: (InodeId, &str),
    to: (InodeId, &str),
    mode: RenameMode,
) -> Result<(), MetaError> {
    let request = Request::Rename {
        parent: from.0,
        name: name(from.1),
        new_parent: to.0,
        new_name: name(to.1),
        mode,
    };
    world.ask(session, request).map(|_| ())
}

fn list(
    world: &mut World,
    session: SessionId,
    ino: InodeId,
    after: u64,
    limit: u32,
) -> (Vec<(u64, String)>, bool) {
    match world.ask(session, Request::ReadDir { ino, after, limit }) {
        Ok(Reply::Directory { entries, end, .. }) => {
            let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
            (
                entries
                    .into_iter()
                    .map(|entry| (entry.cookie, text(entry.name)))
                    .collect(),
                end,
            )
        }
        other => panic!("{other:?}"),
    }
}

fn chmod(world: &mut World, session: SessionId, ino: InodeId, mode: u16) -> Answer {
    let change = SetAttr {
        mode: Some(mode),
        ..SetAttr::default()
    };
    world.ask(
        session,
        Request::SetAttr {
            ino,
            change,
            by_handle: false,
        },
    )
}

#[test]
fn links_are_counted() {
    let mut w = World::new(4);
    let s = w.session();
    let dir = w.dir(s, ROOT, "d");
    assert_eq!(w.stat(s, ROOT).unwrap().nlink, 3);
    let sub = w.dir(s, dir, "sub");
    assert_eq!(w.stat(s, dir).unwrap().nlink, 3);
    assert_eq!(w.stat(s, sub).unwrap().nlink, 2);
    let file = w.make(s, dir, "f", NewInode::File { open: false }).ino;
    assert_eq!(attr_of(w.link(s, file, "g")).unwrap().nlink, 2);
    assert_eq!(w.link(s, sub, "h"), Err(MetaError::NotOwner));
    assert_eq!(w.link(s, file, "d"), Err(MetaError::Exists));
    w.unlink(s, "g");
    assert_eq!(w.stat(s, file).unwrap().nlink, 1);
    assert_eq!(w.remove_dir(s, dir, "sub"), Ok(Reply::Done));
    assert_eq!(w.stat(s, dir).unwrap().nlink, 2);
    assert_eq!(w.stat(s, sub), Err(MetaError::Stale));
}

#[test]
fn removal_minds_what_it_removes() {
    let mut w = World::new(4);
    let s = w.session();
    let dir = w.dir(s, ROOT, "d");
    w.make(s, dir, "f", NewInode::File { open: false });
    assert_eq!(w.remove_dir(s, ROOT, "d"), Err(MetaError::NotEmpty));
    assert_eq!(w.unlink_in(s, ROOT, "d"), Err(MetaError::IsDirectory));
    assert_eq!(w.remove_dir(s, dir, "f"), Err(MetaError::NotDirectory));
    assert_eq!(w.unlink_in(s, dir, "none"), Err(MetaError::NotFound));
    let file = w.lookup(s, dir, "f").unwrap().ino;
    assert_eq!(w.unlink_in(s, file, "x"), Err(MetaError::NotDirectory));
    assert_eq!(w.unlink_in(s, InodeId(999), "x"), Err(MetaError::Stale));
}

#[test]
fn a_listing_goes_on_where_it_was() {
    let mut w = World::new(4);
    let s = w.session();
    for text in ["a", "b", "c", "d"] {
        w.make(s, ROOT, text, NewInode::File { open: false });
    }
    let (page, end) = list(&mut w, s, ROOT, 0, 4);
    assert_eq!(
        page,
        [
            (1, ".".into()),
            (2, "..".into()),
            (3, "a".into()),
            (4, "b".into())
        ]
    );
    assert!(!end);
    w.unlink(s, "b");
    w.unlink(s, "c");
    w.make(s, ROOT, "b", NewInode::Directory);
    rename(&mut w, s, (ROOT, "a"), (ROOT, "d"), RenameMode::Replace).unwrap();
    let (page, end) = list(&mut w, s, ROOT, 4, 100);
    assert_eq!(page, [(6, "d".into()), (7, "b".into())]);
    assert!(end);
    assert_eq!(list(&mut w, s, ROOT, u64::MAX, 9), (vec![], true));
}

#[test]
fn a_large_directory_comes_in_pages_that_fit() {
    let mut w = World::new(4);
    let s = w.session();
    for i in 0..700 {
        let text = format!("{i:0>250}");
        w.make(s, ROOT, &text, NewInode::File { open: false });
    }
    let (mut after, mut observed) = (0, 0);
    loop {
        let answer = w.ask(
            s,
            Request::ReadDir {
                ino: ROOT,
                after,
                limit: u32::MAX,
            },
        );
        crate::wire::encode(&answer, crate::wire::WireVersion::NEWEST).unwrap();
        let (page, end) = list(&mut w, s, ROOT, after, u32::MAX);
        observed += page.len();
        if end {
            break;
        }
        after = page.last().unwrap().0;
    }
    assert_eq!(observed, 702);
}

#[test]
#[expect(clippy::too_many_lines, reason = "one story, in its order")]
fn renames_obey_posix() {
    let mut w = World::new(4);
    let s = w.session();
    let a = w.dir(s, ROOT, "a");
    let b = w.dir(s, a, "b");
    let full = w.dir(s, ROOT, "full");
    w.make(s, full, "x", NewInode::File { open: false });
    w.make(s, ROOT, "f", NewInode::File { open: false });
    let replace = RenameMode::Replace;
    let table = [
        ((ROOT, "a"), (b, "in"), replace, Err(MetaError::Invalid)),
        ((ROOT, "a"), (a, "in"), replace, Err(MetaError::Invalid)),
        ((a, "b"), (ROOT, "a"), replace, Err(MetaError::NotEmpty)),
        (
            (a, "b"),
            (ROOT, "a"),
            RenameMode::Exchange,
            Err(MetaError::Invalid),
        ),
        ((ROOT, "a"), (ROOT, "full"), replace, Err(MetaError::NotEmpty)),
        ((ROOT, "a"), (ROOT, "f"), replace, Err(MetaError::NotDirectory)),
        ((ROOT, "f"), (ROOT, "a"), replace, Err(MetaError::IsDirectory)),
        (
            (ROOT, "f"),
            (ROOT, "a"),
            RenameMode::NoReplace,
            Err(MetaError::Exists),
        ),
        (
            (ROOT, "f"),
            (ROOT, "none"),
            RenameMode::Exchange,
            Err(MetaError::NotFound),
        ),
        ((ROOT, "none"), (ROOT, "f"), replace, Err(MetaError::NotFound)),
        ((ROOT, "f"), (ROOT, "f"), replace, Ok(())),
        ((ROOT, "f"), (a, "g"), RenameMode::NoReplace, Ok(())),
        ((a, "g"), (full, "x"), replace, Ok(())),
        ((a, "b"), (ROOT, "b"), replace, Ok(())),
        ((ROOT, "b"), (full, "x"), RenameMode::Exchange, Ok(())),
        ((ROOT, "a"), (full, "x"), replace, Ok(())),
    ];
    for (from, to, mode, want) in table {
        assert_eq!(
            rename(&mut w, s, from, to, mode),
            want,
            "{from:?} {to:?} {mode:?}"
        );
    }
    assert_eq!(w.stat(s, full).unwrap().nlink, 3);
    assert_eq!(w.lookup(s, full, "x").unwrap().ino, a);
    assert_eq!(attr_of(w.ask(s, Request::Parent { ino: a })).unwrap().ino, full);
    assert_eq!(w.lookup(s, ROOT, "b").unwrap().kind, FileKind::Regular);
}

#[test]
fn two_names_of_one_inode_are_no_rename() {
    let mut w = World::new(4);
    let s = w.session();
    let ino = w.make(s, ROOT, "a", NewInode::File { open: false }).ino;
    w.link(s, ino, "b").unwrap();
    rename(&mut w, s, (ROOT, "a"), (ROOT, "b"), RenameMode::Replace).unwrap();
    assert_eq!(w.lookup(s, ROOT, "a").unwrap().nlink, 2);
}

#[test]
fn every_change_is_judged_by_its_caller() {
    let mut w = World::new(4);
    let s = w.session();
    let dir = w.dir(s, ROOT, "d");
    let ino = w.make(s, dir, "f", NewInode::File { open: false }).ino;
    let make = |parent, what| {
        let (name, mode) = (name("n"), 0o755);
        Request::Make {
            parent,
            name,
            what,
            mode,
        }
    };
    let (kind, rdev) = (FileKind::BlockDevice, 5);
    w.who = user(7);
    let denied = Err(MetaError::AccessDenied);
    assert_eq!(w.ask(s, make(dir, NewInode::Directory)), denied);
    assert_eq!(w.unlink_in(s, dir, "f"), denied);
    assert_eq!(w.open(s, ino, super::world::WRITE), Err(MetaError::AccessDenied));
    assert_eq!(w.truncate(s, ino, 1), Err(MetaError::AccessDenied));
    assert_eq!(chmod(&mut w, s, ino, 0o777), Err(MetaError::NotOwner));
    assert_eq!(
        w.ask(s, make(ROOT, NewInode::Special { kind, rdev })),
        Err(MetaError::NotOwner)
    );
    w.who = user(0);
    chmod(&mut w, s, dir, 0o1777).unwrap();
    w.who = user(7);
    let stays = rename(&mut w, s, (dir, "f"), (ROOT, "f"), RenameMode::Replace);
    assert_eq!(stays, Err(MetaError::NotOwner), "the directory is sticky");
}

#[test]
fn passing_through_and_listing_are_two_rights() {
    let mut w = World::new(4);
    let s = w.session();
    let dir = w.dir(s, ROOT, "d");
    w.make(s, dir, "f", NewInode::File { open: false });
    let (ino, after, limit) = (dir, 0, 9);
    for (mode, passes, lists) in [(0o744, false, true), (0o711, true, false), (0o700, false, false)] {
        w.who = user(0);
        chmod(&mut w, s, dir, mode).unwrap();
        w.who = user(7);
        assert_eq!(w.lookup(s, dir, "f").is_ok(), passes, "{mode:o}");
        assert_eq!(w.ask(s, Request::Parent { ino }).is_ok(), passes, "{mode:o}");
        assert_eq!(
            w.ask(s, Request::ReadDir { ino, after, limit }).is_ok(),
            lists,
            "{mode:o}"
        );
    }
}

#[test]
fn times_follow_what_was_done() {
    let mut w = World::new(4);
    let s = w.session();
    w.now.wall = at(100);
    let ino = w.make(s, ROOT, "f", NewInode::File { open: false }).ino;
    let made = w.stat(s, ino).unwrap();
    assert_eq!((made.mtime, made.ctime, made.birth), (at(101), at(101), at(101)));
    assert_eq!(w.stat(s, ROOT).unwrap().mtime, at(101));
    w.now.wall = at(200);
    w.link(s, ino, "g").unwrap();
    let linked = w.stat(s, ino).unwrap();
    assert_eq!((linked.mtime, linked.ctime), (at(101), at(201)));
    w.now.wall = at(300);
    let times = SetAttr {
        mtime: Some(SetTime::At(at(5))),
        atime: Some(SetTime::Now),
        ..SetAttr::default()
    };
    w.ask(
        s,
        Request::SetAttr {
            ino,
            change: times,
            by_handle: false,
        },
    )
    .unwrap();
    let set = w.stat(s, ino).unwrap();
    assert_eq!((set.mtime, set.atime, set.ctime), (at(5), at(301), at(301)));
}

#[test]
fn symlinks_keep_their_target() {
    let mut w = World::new(4);
    let s = w.session();
    let target = vec![b'x'; 4095];
    let link = w.make(s, ROOT, "l", NewInode::Symlink(target.clone()));
    assert_eq!((link.size, link.mode), (4095, 0o777));
    assert_eq!(
        w.ask(s, Request::ReadLink { ino: link.ino }),
        Ok(Reply::Target(target))
    );
    let longer = NewInode::Symlink(vec![b'x'; 4096]);
    let request = Request::Make {
        parent: ROOT,
        name: name("m"),
        what: longer,
        mode: 0,
    };
    assert_eq!(w.ask(s, request), Err(MetaError::NameTooLong));
    assert_eq!(chmod(&mut w, s, link.ino, 0o600), Err(MetaError::Unsupported));
    assert_eq!(w.ask(s, Request::ReadLink { ino: ROOT }), Err(MetaError::Invalid));
    w.unlink(s, "l");
    assert_eq!(w.stat(s, link.ino), Err(MetaError::Stale));
}

#[test]
fn a_replaced_file_can_be_opened_by_who_found_it_a_moment_ago() {
    let mut w = World::new(8);
    let (a, b) = (w.session(), w.session());
    let old = w.file(a, "f");
    w.write(a, old, GRANULE);
    w.release(a, old);
    w.make(a, ROOT, "new", NewInode::File { open: false });
    let found = w.lookup(b, ROOT, "f").unwrap().ino;
    rename(&mut w, a, (ROOT, "new"), (ROOT, "f"), RenameMode::Replace).unwrap();
    assert_eq!(w.open(b, found, READ).unwrap().size, GRANULE);
    w.release(b, found);
    w.now.monotonic += Duration::from_secs(2);
    w.tick();
    assert_eq!(w.open(b, found, READ), Err(MetaError::Stale));
    assert_eq!(w.cleaning.len(), 1);
}

#[test]
fn a_replaced_file_takes_no_space_that_another_needs() {
    let mut w = World::new(2);
    let s = w.session();
    let old = w.file(s, "f");
    w.write(s, old, 2 * GRANULE);
    w.release(s, old);
    let new = w.file(s, "new");
    rename(&mut w, s, (ROOT, "new"), (ROOT, "f"), RenameMode::Replace).unwrap();
    assert_eq!(w.allocate(s, new, 0..GRANULE), Err(MetaError::Cleaning));
    while w.tick() {}
    w.clean();
    w.allocate(s, new, 0..2 * GRANULE).unwrap();
    assert_eq!(
        w.allocate(s, new, 2 * GRANULE..3 * GRANULE),
        Err(MetaError::NoSpace)
    );
}

#[test]
fn a_replaced_link_goes_too() {
    let mut w = World::new(2);
    let s = w.session();
    let link = w.make(s, ROOT, "l", NewInode::Symlink(b"to".to_vec())).ino;
    w.make(s, ROOT, "new", NewInode::File { open: false });
    rename(&mut w, s, (ROOT, "new"), (ROOT, "l"), RenameMode::Replace).unwrap();
    w.now.monotonic += Duration::from_secs(2);
    w.tick();
    assert_eq!(w.stat(s, link), Err(MetaError::Stale));
}

#[test]
fn the_access_time_is_renewed_as_relatime_does() {
    let mut w = World::new(8);
    let s = w.session();
    let ino = w.file(s, "f");
    w.write(s, ino, 100);
    let read = |w: &mut World| {
        w.open(s, ino, super::world::READ).unwrap();
        w.stat(s, ino).unwrap()
    };
    let first = read(&mut w);
    assert!(first.atime > first.mtime, "older than the last change");
    assert_eq!(read(&mut w).atime, first.atime);
    w.now.wall.seconds += 24 * 3600;
    let later = read(&mut w);
    assert!(later.atime > first.atime, "a day old");
    assert_eq!((later.mtime, later.ctime), (first.mtime, first.ctime));
    let mut ask = |access_time, request: Request| {
        w.now.wall.seconds += 1;
        let call = Call {
            access_time,
            ..w.next_call(s, request)
        };
        let before = w.stat(s, ino).unwrap().atime;
        w.space.call(call, w.now).answer.unwrap().unwrap();
        w.stat(s, ino).unwrap().atime > before
    };
    let open = Request::Open {
        ino,
        access: super::world::READ,
    };
    assert!(ask(AccessTime::Strict, open.clone()));
    assert!(!ask(AccessTime::Relative, open.clone()));
    let change = SetAttr {
        atime: Some(SetTime::At(Timestamp::default())),
        ..SetAttr::default()
    };
    let by_handle = false;
    let set = Request::SetAttr {
        ino,
        change,
        by_handle,
    };
    ask(AccessTime::Never, set);
    assert!(!ask(AccessTime::Never, open.clone()));
    assert!(ask(AccessTime::Relative, open));
}

/// The last link is given, and one more refused; so for names of a file, and for the directories in one.
#[test]
fn links_end_at_their_limit() {
    const MOST: u32 = 1 << 31;
    let mut w = World::new(8);
    let s = w.session();
    let (ino, dir) = (w.file(s, "f"), w.dir(s, ROOT, "dir"));
    let other = w.dir(s, ROOT, "other");
    let mut id = 1 << 40;
    // Not through the world: it would count the links.
    let mut ask = |w: &mut World, request| {
        id += 1;
        let mut call = w.next_call(s, request);
        call.id = RequestId(id);
        w.space.call(call, w.now).answer.unwrap()
    };
    w.space.tree.get_mut(ino).unwrap().attr.nlink = MOST - 1;
    w.space.tree.get_mut(dir).unwrap().attr.nlink = MOST - 1;
    let link = |text| Request::Link {
        ino,
        parent: ROOT,
        name: name(text),
    };
    assert!(ask(&mut w, link("g")).is_ok());
    assert_eq!(ask(&mut w, link("h")), Err(MetaError::TooManyLinks));
    let make = |text| Request::Make {
        parent: dir,
        name: name(text),
        what: NewInode::Directory,
        mode: 0o755,
    };
    assert!(ask(&mut w, make("d")).is_ok());
    assert_eq!(ask(&mut w, make("e")), Err(MetaError::TooManyLinks));
    let rename = Request::Rename {
        parent: ROOT,
        name: name("other"),
        new_parent: dir,
        new_name: name("e"),
        mode: RenameMode::Replace,
    };
    assert_eq!(ask(&mut w, rename), Err(MetaError::TooManyLinks));
    assert_eq!(w.space.tree.get(other).unwrap().attr.nlink, 2);
    assert_eq!(w.space.tree.get(dir).unwrap().attr.nlink, MOST);
}
