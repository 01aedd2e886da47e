//! ACLs in the namespace: what they do to modes and modes to them, what is handed down, who may, and that they are kept.

use super::patient::Patient;
use super::world::{READ, ROOT, WRITE, World, attr_of, name, user};
use super::xattrs::{get, remove};
use crate::acl::tests::{Entry, acl_of, bytes_of};
use crate::acl::{AclKind, Acls};
use crate::attr::{Attr, SetAttr};
use crate::cred::Credentials;
use crate::error::MetaError;
use crate::id::{InodeId, SessionId};
use crate::namespace::record;
use crate::problem::ProblemKind::BadXattr;
use crate::wire::{NewInode, OpenAccess, Reply, Request};
use crate::xattr::XattrName;

const ACCESS: &str = "system.posix_acl_access";
const DEFAULT: &str = "system.posix_acl_default";
const NONE: u32 = u32::MAX;
const NAMED: u32 = 2010;
const GROUP: u32 = 3010;
const WRITE_ONLY: OpenAccess = OpenAccess { read: false, ..WRITE };

/// rw for the owner, r and w for a user and a group that are named, under a mask.
fn named(mask: u16) -> Vec<Entry> {
    vec![
        (1, 6, NONE),
        (2, 4, NAMED),
        (4, 0, NONE),
        (8, 2, GROUP),
        (16, mask, NONE),
        (32, 0, NONE),
    ]
}

fn chmod(w: &mut World, s: SessionId, ino: InodeId, mode: u16) -> Result<Attr, MetaError> {
    let change = SetAttr {
        mode: Some(mode),
        ..SetAttr::default()
    };
    attr_of(w.ask(
        s,
        Request::SetAttr {
            ino,
            change,
            by_handle: false,
        },
    ))
}

fn in_group() -> Credentials {
    Credentials::new(2004, 2004, vec![GROUP])
}

#[test]
fn an_acl_says_the_mode_and_a_mode_the_acl() {
    let mut w = World::new(8);
    let s = w.session();
    let ino = w.file(s, "f");
    let set = w.set_xattr(s, ino, ACCESS, &bytes_of(&named(6))).unwrap();
    assert_eq!(
        (set.mode, set.acls.get(AclKind::Access)),
        (0o660, Some(&acl_of(&named(6))))
    );
    assert_eq!(get(&mut w, s, ino, ACCESS), Ok(bytes_of(&named(6))));
    let changed = chmod(&mut w, s, ino, 0o4640).unwrap();
    assert_eq!(changed.acls.get(AclKind::Access), Some(&acl_of(&named(4))));
    assert_eq!(get(&mut w, s, ino, ACCESS), Ok(bytes_of(&named(4))));
    w.restart();
    let s = w.session();
    assert_eq!(w.stat(s, ino).unwrap().acls, changed.acls);
    // What a mode says as well is none.
    let least = [(1, 7, 0), (4, 5, 0), (32, 1, 0)];
    let set = w.set_xattr(s, ino, ACCESS, &bytes_of(&least)).unwrap();
    assert_eq!((set.mode, &set.acls), (0o4751, &Acls::None));
    assert_eq!(get(&mut w, s, ino, ACCESS), Err(MetaError::NoXattr));
    w.set_xattr(s, ino, ACCESS, &bytes_of(&named(6))).unwrap();
    for _ in 0..2 {
        let removed = remove(&mut w, s, ino, ACCESS).unwrap();
        assert_eq!((removed.mode, &removed.acls), (0o4660, &Acls::None));
    }
    assert_eq!(
        w.set_xattr(s, ino, ACCESS, &bytes_of(&named(6)[1..])),
        Err(MetaError::Invalid)
    );
}

#[test]
fn a_default_acl_is_handed_down_in_the_place_of_the_umask() {
    let mut w = World::new(8);
    let s = w.session();
    let top = w.dir(s, ROOT, "d");
    let default = [
        (1, 7, NONE),
        (2, 7, NAMED),
        (4, 5, NONE),
        (16, 7, NONE),
        (32, 1, NONE),
    ];
    w.who.umask = 0o027;
    assert_eq!(w.make(s, top, "plain", NewInode::Directory).mode, 0o750);
    let set = w.set_xattr(s, top, DEFAULT, &bytes_of(&default)).unwrap();
    assert_eq!(set.mode, 0o755, "it decides nothing here");
    let below = w.make(s, top, "below", NewInode::Directory);
    assert_eq!(below.mode, 0o751);
    assert_eq!(below.acls.get(AclKind::Default), Some(&acl_of(&default)));
    let access = acl_of(&default).with_mode(0o751);
    assert_eq!(below.acls.get(AclKind::Access), Some(&access));
    let file = w.make(s, top, "file", NewInode::File { open: false });
    assert_eq!(
        (file.mode, file.acls.get(AclKind::Access)),
        (0o751, Some(&access))
    );
    assert_eq!(file.acls.get(AclKind::Default), None);
    let link = w.make(s, top, "link", NewInode::Symlink(b"x".to_vec()));
    assert_eq!((link.mode, link.acls), (0o777, Acls::None));
    w.restart();
    let s = w.session();
    assert_eq!(w.stat(s, below.ino).unwrap().acls, below.acls);
    let least = [(1, 7, NONE), (4, 7, NONE), (32, 7, NONE)];
    w.set_xattr(s, top, DEFAULT, &bytes_of(&least)).unwrap();
    let file = w.make(s, top, "open", NewInode::File { open: false });
    assert_eq!(
        (file.mode, file.acls),
        (0o755, Acls::None),
        "the umask is not asked"
    );
}

#[test]
fn owners_set_acls_of_what_has_them() {
    let mut w = World::new(8);
    let s = w.session();
    chmod(&mut w, s, ROOT, 0o777).unwrap();
    w.who = user(2001);
    let file = w.file(s, "f");
    let dir = w.dir(s, ROOT, "d");
    let link = w.make(s, ROOT, "l", NewInode::Symlink(b"x".to_vec())).ino;
    let bytes = bytes_of(&named(6));
    assert_eq!(
        w.set_xattr(s, file, DEFAULT, &bytes),
        Err(MetaError::AccessDenied)
    );
    assert!(remove(&mut w, s, file, DEFAULT).is_ok());
    assert_eq!(w.set_xattr(s, link, ACCESS, &bytes), Err(MetaError::Unsupported));
    assert!(w.set_xattr(s, file, ACCESS, &bytes).is_ok() && w.set_xattr(s, dir, DEFAULT, &bytes).is_ok());
    w.who = user(2002);
    for (ino, of) in [(file, ACCESS), (dir, DEFAULT)] {
        assert_eq!(w.set_xattr(s, ino, of, &bytes), Err(MetaError::NotOwner));
        assert_eq!(remove(&mut w, s, ino, of), Err(MetaError::NotOwner));
        assert_eq!(get(&mut w, s, ino, of), Ok(bytes.clone()), "everybody reads them");
    }
}

#[test]
fn set_group_id_goes_where_the_owner_is_not_of_the_group() {
    let mut w = World::new(8);
    let s = w.session();
    for (who, kept) in [
        (user(2001), 0),
        (Credentials::new(2001, 2001, vec![GROUP]), 0o2000),
        (Credentials::root(), 0o2000),
    ] {
        for bytes in [Some(bytes_of(&named(7))), None] {
            w.who = Credentials::root();
            let ino = w.make(s, ROOT, "f", NewInode::File { open: false }).ino;
            let change = SetAttr {
                uid: Some(2001),
                gid: Some(GROUP),
                ..SetAttr::default()
            };
            attr_of(w.ask(
                s,
                Request::SetAttr {
                    ino,
                    change,
                    by_handle: false,
                },
            ))
            .unwrap();
            chmod(&mut w, s, ino, 0o2755).unwrap();
            w.who = who.clone();
            let set = match bytes {
                Some(bytes) => w.set_xattr(s, ino, ACCESS, &bytes),
                None => remove(&mut w, s, ino, ACCESS),
            };
            assert_eq!(set.unwrap().mode & 0o2000, kept, "{who:?}");
            w.who = Credentials::root();
            w.unlink(s, "f");
        }
    }
}

#[test]
fn every_request_is_judged_by_the_acl() {
    let mut w = World::new(8);
    let s = w.session();
    let dir = w.dir(s, ROOT, "d");
    let file = w.make(s, dir, "f", NewInode::File { open: false }).ino;
    let passing = [
        (1, 7, NONE),
        (2, 7, NAMED),
        (4, 0, NONE),
        (8, 1, GROUP),
        (16, 7, NONE),
        (32, 0, NONE),
    ];
    w.set_xattr(s, dir, ACCESS, &bytes_of(&passing)).unwrap();
    w.set_xattr(s, file, ACCESS, &bytes_of(&named(6))).unwrap();
    let denied = Err(MetaError::AccessDenied);
    let list = Request::ReadDir {
        ino: dir,
        after: 0,
        limit: 9,
    };
    let make = |text: &str| Request::Make {
        parent: dir,
        name: name(text),
        what: NewInode::Directory,
        mode: 0o700,
    };
    for (who, finds, changes, reads, writes) in [
        (user(NAMED), true, true, true, false),
        (in_group(), true, false, false, true),
        (user(2002), false, false, false, false),
    ] {
        w.who = who;
        assert_eq!(w.lookup(s, dir, "f").is_ok(), finds);
        assert_eq!(w.ask(s, list.clone()).is_ok(), changes);
        assert_eq!(w.ask(s, make("n")).is_ok(), changes);
        assert_eq!(w.remove_dir(s, dir, "n").is_ok(), changes);
        assert_eq!(w.open(s, file, READ).is_ok(), reads);
        assert_eq!(w.open(s, file, WRITE_ONLY).is_ok(), writes);
        assert_eq!(w.truncate(s, file, 1).is_ok(), writes);
        if !finds {
            assert_eq!(w.lookup(s, dir, "f").map(drop), denied);
        }
    }
    // His groups are not seen, and a kernel that sees them has judged.
    w.who = Credentials {
        groups_unseen: true,
        ..user(2004)
    };
    assert!(w.open(s, file, WRITE_ONLY).is_ok());
    assert!(w.open(s, file, READ).is_err(), "no group has that");
}

#[test]
fn acls_are_charged_to_the_owner_and_listed_first() {
    let mut w = World::new(8);
    let s = w.session();
    let top = w.dir(s, ROOT, "d");
    let charged = |w: &World| w.space.tree.accounts.space().1;
    let plain = charged(&w);
    w.make(s, top, "a", NewInode::Directory);
    let one = charged(&w) - plain;
    w.set_xattr(s, top, DEFAULT, &bytes_of(&named(7))).unwrap();
    let before = charged(&w);
    let made = w.make(s, top, "b", NewInode::Directory).ino;
    let more = charged(&w) - before - one;
    // An access ACL and a default one: names, values twice, and what an attribute is charged beside.
    let value = 2 * 2 * bytes_of(&named(7)).len() + ACCESS.len() + DEFAULT.len() + 2 * 256;
    assert_eq!(more, value as u64);
    for of in ["user.z", "security.a"] {
        w.set_xattr(s, made, of, b"").unwrap();
    }
    let names = w.ask(s, Request::ListXattr { ino: made });
    let wanted = format!("{ACCESS}\0{DEFAULT}\0security.a\0user.z\0");
    assert_eq!(names, Ok(Reply::XattrNames(wanted.into_bytes())));
}

#[test]
fn acls_that_cannot_be_are_damage_and_go() {
    let fits = [
        (1, 6, NONE),
        (2, 4, NAMED),
        (4, 4, NONE),
        (16, 4, NONE),
        (32, 4, NONE),
    ];
    for (of_directory, kind, value) in [
        (false, AclKind::Access, bytes_of(&fits)[..9].to_vec()),
        (false, AclKind::Access, vec![2, 0, 0, 0]),
        (
            false,
            AclKind::Access,
            bytes_of(&[(1, 6, NONE), (4, 4, NONE), (32, 4, NONE)]),
        ),
        (false, AclKind::Access, bytes_of(&named(7))),
        (false, AclKind::Default, bytes_of(&fits)),
        (true, AclKind::Default, bytes_of(&fits[1..])),
    ] {
        let mut patient = Patient::new();
        let ino = if of_directory { patient.dir } else { patient.file };
        patient.edit(ino, |inode| inode.attr.mode = 0o644);
        let key = record::xattr_key(ino, &XattrName::of_acl(kind));
        patient.put(&key, Some(value));
        assert_eq!(patient.kinds(), [BadXattr], "{kind:?}");
        assert!(patient.try_load().is_err());
        patient.repair();
        assert_eq!(patient.get(&key), None);
        let mode = patient.inode(ino).unwrap().attr.mode;
        let closed = if kind == AclKind::Access { 0o600 } else { 0o644 };
        assert_eq!(mode, closed, "it may have denied somebody the rest");
        patient.load();
    }
    let mut patient = Patient::new();
    patient.edit(patient.file, |inode| inode.attr.mode = 0o644);
    let key = record::xattr_key(patient.file, &XattrName::of_acl(AclKind::Access));
    patient.put(&key, Some(bytes_of(&fits)));
    assert_eq!(patient.kinds(), []);
    patient.load();
}
