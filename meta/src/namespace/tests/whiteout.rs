//! Whiteouts: what a rename leaves for overlayfs, and who may make one.

use super::world::{ROOT, World, name, user};
use crate::attr::{FileKind, SetAttr};
use crate::error::MetaError;
use crate::id::{InodeId, SessionId};
use crate::wire::{Answer, DirEntry, NewInode, RenameMode, Reply, Request};

fn rename(w: &mut World, s: SessionId, parent: InodeId, from: &str, to: &str, mode: RenameMode) -> Answer {
    let request = Request::Rename {
        parent,
        name: name(from),
        new_parent: parent,
        new_name: name(to),
        mode,
    };
    w.ask(s, request)
}

fn list(w: &mut World, s: SessionId, ino: InodeId) -> Vec<DirEntry> {
    let (after, limit) = (2, 100);
    match w.ask(s, Request::ReadDir { ino, after, limit }) {
        Ok(Reply::Directory { entries, .. }) => entries,
        other => panic!("{other:?}"),
    }
}

fn entry(w: &mut World, s: SessionId, ino: InodeId, name: &str) -> DirEntry {
    let listed = list(w, s, ino).into_iter();
    let mut listed = listed.filter(|entry| entry.name == name.as_bytes());
    listed.next().unwrap()
}

fn chmod(w: &mut World, s: SessionId, ino: InodeId, mode: u16) {
    let who = std::mem::replace(&mut w.who, user(0));
    let change = SetAttr {
        mode: Some(mode),
        ..SetAttr::default()
    };
    let by_handle = false;
    let request = Request::SetAttr {
        ino,
        change,
        by_handle,
    };
    w.ask(s, request).unwrap();
    w.who = who;
}

#[test]
fn a_rename_leaves_a_whiteout_at_the_old_names_place() {
    let mut w = World::new(4);
    let s = w.session();
    let dir = w.dir(s, ROOT, "d");
    chmod(&mut w, s, dir, 0o2777);
    for text in ["before", "f", "g"] {
        w.make(s, dir, text, NewInode::File { open: false });
    }
    w.who = user(1000);
    let before = entry(&mut w, s, dir, "f");
    let spared = rename(&mut w, s, dir, "f", "g", RenameMode::WhiteoutNoReplace);
    assert_eq!(spared, Err(MetaError::Exists));
    assert_eq!(entry(&mut w, s, dir, "f").attr.ino, before.attr.ino);
    rename(&mut w, s, dir, "f", "g", RenameMode::Whiteout).unwrap();
    assert_eq!(entry(&mut w, s, dir, "g").attr.ino, before.attr.ino);
    let left = entry(&mut w, s, dir, "f");
    assert_eq!(
        left.cookie, before.cookie,
        "a listing that goes on meets the name once"
    );
    let attr = left.attr;
    assert_eq!((attr.kind, attr.rdev, attr.mode), (FileKind::CharDevice, 0, 0));
    assert_eq!(
        (attr.uid, attr.gid, attr.nlink),
        (1000, 0, 1),
        "the group is the directory's"
    );
    rename(&mut w, s, dir, "g", "h", RenameMode::WhiteoutNoReplace).unwrap();
    assert_eq!(entry(&mut w, s, dir, "g").attr.kind, FileKind::CharDevice);
    // The whiteout is replaced and removed as any name is.
    rename(&mut w, s, dir, "h", "g", RenameMode::Replace).unwrap();
    w.unlink_in(s, dir, "f").unwrap();
    let names: Vec<_> = list(&mut w, s, dir).into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, [b"before".to_vec(), b"g".to_vec()]);
    w.space.check().unwrap();
}

#[test]
fn who_may_not_remove_the_name_leaves_no_whiteout() {
    let mut w = World::new(4);
    let s = w.session();
    let dir = w.dir(s, ROOT, "d");
    w.make(s, dir, "g", NewInode::File { open: false });
    w.who = user(1000);
    let refused = rename(&mut w, s, dir, "g", "h", RenameMode::Whiteout);
    assert_eq!(refused, Err(MetaError::AccessDenied));
    chmod(&mut w, s, dir, 0o1777);
    let refused = rename(&mut w, s, dir, "g", "h", RenameMode::Whiteout);
    assert_eq!(refused, Err(MetaError::NotOwner), "the directory is sticky");
    assert_eq!(list(&mut w, s, dir).len(), 1);
}

#[test]
fn a_whiteout_outlives_a_restart_and_a_directory_takes_its_link_along() {
    let mut w = World::new(4);
    let s = w.session();
    let (a, b) = (w.dir(s, ROOT, "a"), w.dir(s, ROOT, "b"));
    let moved = w.dir(s, a, "moved");
    let request = Request::Rename {
        parent: a,
        name: name("moved"),
        new_parent: b,
        new_name: name("moved"),
        mode: RenameMode::Whiteout,
    };
    w.ask(s, request).unwrap();
    w.restart();
    let s = w.session();
    let links = |w: &mut World, ino| w.stat(s, ino).unwrap().nlink;
    assert_eq!((links(&mut w, a), links(&mut w, b)), (2, 3));
    assert_eq!(entry(&mut w, s, a, "moved").attr.kind, FileKind::CharDevice);
    assert_eq!(entry(&mut w, s, b, "moved").attr.ino, moved);
}

#[test]
fn everybody_may_make_a_whiteout_and_only_root_a_device() {
    let mut w = World::new(4);
    let s = w.session();
    chmod(&mut w, s, ROOT, 0o777);
    w.who = user(1000);
    let make = |text, kind, rdev| Request::Make {
        parent: ROOT,
        name: name(text),
        what: NewInode::Special { kind, rdev },
        mode: 0o600,
    };
    assert!(w.ask(s, make("w", FileKind::CharDevice, 0)).is_ok());
    for (kind, rdev) in [(FileKind::CharDevice, 0x103), (FileKind::BlockDevice, 0)] {
        assert_eq!(w.ask(s, make("n", kind, rdev)), Err(MetaError::NotOwner));
    }
}
