//! Inode flags: what they forbid to everybody, and that they last.

use super::patient::Patient;
use super::world::{READ, ROOT, WRITE, World, attr_of, name, user};
use crate::attr::{Attr, FileKind, SetAttr};
use crate::cred::Credentials;
use crate::error::MetaError::{self, NotOwner, Protected, Unsupported};
use crate::flags::InodeFlags;
use crate::id::{InodeId, SessionId};
use crate::namespace::format;
use crate::namespace::record;
use crate::problem::ProblemKind;
use crate::time::AccessTime;
use crate::wire::{NewInode, OpenAccess, RenameMode, Reply, Request};

const FIXED: InodeFlags = InodeFlags::IMMUTABLE;
const APPEND: InodeFlags = InodeFlags::APPEND;
const NONE: InodeFlags = InodeFlags::NONE;
const APPENDING: OpenAccess = OpenAccess {
    append: true,
    ..WRITE
};
const CUTTING: OpenAccess = OpenAccess {
    truncate: true,
    ..READ
};

fn flag(w: &mut World, s: SessionId, ino: InodeId, flags: InodeFlags) -> Result<Attr, MetaError> {
    attr_of(w.ask(s, Request::SetFlags { ino, flags }))
}

fn rename(w: &mut World, s: SessionId, from: (InodeId, &str), to: (InodeId, &str)) -> Result<(), MetaError> {
    let request = Request::Rename {
        parent: from.0,
        name: name(from.1),
        new_parent: to.0,
        new_name: name(to.1),
        mode: RenameMode::Replace,
    };
    w.ask(s, request).map(drop)
}

fn make(w: &mut World, s: SessionId, parent: InodeId, text: &str) -> Result<Attr, MetaError> {
    let request = Request::Make {
        parent,
        name: name(text),
        what: NewInode::File { open: false },
        mode: 0o666,
    };
    attr_of(w.ask(s, request))
}

fn space(w: &mut World, s: SessionId, ino: InodeId, zero: bool) -> Result<(), MetaError> {
    let request = Request::Allocate {
        ino,
        start: 0,
        end: 9000,
        keep_size: false,
        zero,
    };
    w.ask(s, request).map(drop)
}

fn punch(w: &mut World, s: SessionId, ino: InodeId) -> Result<(), MetaError> {
    let (start, end) = (0, 4096);
    w.ask(s, Request::Punch { ino, start, end }).map(drop)
}

fn copy(w: &mut World, s: SessionId, from: InodeId, to: InodeId) -> Result<(), MetaError> {
    let request = Request::Copy {
        from,
        from_offset: 0,
        to,
        to_offset: 0,
        len: 10,
    };
    w.ask(s, request).map(drop)
}

fn cut_by_handle(w: &mut World, s: SessionId, ino: InodeId) -> Result<Attr, MetaError> {
    let change = SetAttr {
        size: Some(3),
        ..SetAttr::default()
    };
    let request = Request::SetAttr {
        ino,
        change,
        by_handle: true,
    };
    attr_of(w.ask(s, request))
}

#[test]
fn nobody_opens_cuts_links_or_removes_what_is_immutable() {
    let mut w = World::new(16);
    let s = w.session();
    let ino = make(&mut w, s, ROOT, "f").unwrap().ino;
    flag(&mut w, s, ino, FIXED).unwrap();
    for who in [Credentials::root(), user(7)] {
        w.who = who;
        for access in [WRITE, APPENDING, CUTTING] {
            assert_eq!(w.open(s, ino, access).unwrap_err(), Protected, "{access:?}");
        }
    }
    w.who = Credentials::root();
    w.open(s, ino, READ).unwrap();
    assert_eq!(w.truncate(s, ino, 0).unwrap_err(), Protected);
    assert_eq!(w.link(s, ino, "hard").unwrap_err(), Protected);
    assert_eq!(w.unlink_in(s, ROOT, "f").unwrap_err(), Protected);
    assert_eq!(rename(&mut w, s, (ROOT, "f"), (ROOT, "g")), Err(Protected));
    make(&mut w, s, ROOT, "g").unwrap();
    assert_eq!(rename(&mut w, s, (ROOT, "g"), (ROOT, "f")), Err(Protected));
    for name in ["user.a", "trusted.a", "security.capability"] {
        assert_eq!(w.set_xattr(s, ino, name, b"x").unwrap_err(), Protected, "{name}");
    }
    flag(&mut w, s, ino, NONE).unwrap();
    assert_eq!(w.unlink_in(s, ROOT, "f"), Ok(Reply::Done));
}

#[test]
fn what_is_append_only_is_opened_to_append() {
    let mut w = World::new(16);
    let s = w.session();
    let ino = make(&mut w, s, ROOT, "f").unwrap().ino;
    flag(&mut w, s, ino, APPEND).unwrap();
    for access in [
        WRITE,
        CUTTING,
        OpenAccess {
            truncate: true,
            ..APPENDING
        },
    ] {
        assert_eq!(w.open(s, ino, access).unwrap_err(), Protected, "{access:?}");
    }
    w.open(s, ino, READ).unwrap();
    w.open(s, ino, APPENDING).unwrap();
    assert!(matches!(
        w.ask(s, Request::Append { ino, len: 100 }),
        Ok(Reply::Appended { offset: 0, .. })
    ));
    assert_eq!(w.truncate(s, ino, 0).unwrap_err(), Protected);
    assert_eq!(cut_by_handle(&mut w, s, ino).unwrap_err(), Protected);
    assert_eq!(space(&mut w, s, ino, false), Ok(()));
    assert_eq!(space(&mut w, s, ino, true), Err(Protected));
    assert_eq!(punch(&mut w, s, ino), Err(Protected));
    assert_eq!(w.unlink_in(s, ROOT, "f").unwrap_err(), Protected);
}

/// As on a tmpfs: who has it open writes on, and is refused what is judged anew each time.
#[test]
fn who_opened_an_immutable_file_before_writes_on() {
    let mut w = World::new(16);
    let s = w.session();
    let (ino, source) = (w.file(s, "f"), w.file(s, "source"));
    w.write(s, source, 100);
    flag(&mut w, s, ino, FIXED).unwrap();
    w.write(s, ino, 100);
    assert_eq!(w.stat(s, ino).unwrap().size, 100);
    assert_eq!(cut_by_handle(&mut w, s, ino).unwrap().size, 3);
    assert_eq!(space(&mut w, s, ino, false), Err(Protected));
    assert_eq!(punch(&mut w, s, ino), Err(Protected));
    assert_eq!(copy(&mut w, s, source, ino), Err(Protected));
    flag(&mut w, s, ino, APPEND).unwrap();
    assert_eq!(copy(&mut w, s, source, ino), Ok(()));
}

/// A kernel removes them before it lets a program write.
#[test]
fn file_capabilities_go_with_the_write_to_an_append_only_file() {
    let mut w = World::new(16);
    let s = w.session();
    let ino = make(&mut w, s, ROOT, "f").unwrap().ino;
    w.set_xattr(s, ino, "security.capability", b"x").unwrap();
    flag(&mut w, s, ino, APPEND).unwrap();
    let name = || crate::xattr::XattrName::capability();
    let remove = |w: &mut World| w.ask(s, Request::RemoveXattr { ino, name: name() }).map(drop);
    assert_eq!(remove(&mut w), Err(Protected));
    w.open(s, ino, APPENDING).unwrap();
    assert_eq!(remove(&mut w), Ok(()));
}

#[test]
fn directories_keep_their_entries() {
    let mut w = World::new(16);
    let s = w.session();
    let dir = w.dir(s, ROOT, "d");
    let inside = make(&mut w, s, dir, "old").unwrap().ino;
    w.dir(s, dir, "empty");
    for flags in [FIXED, APPEND, FIXED | APPEND] {
        let _may_be_there = make(&mut w, s, ROOT, "outside");
        flag(&mut w, s, dir, flags).unwrap();
        assert_eq!(w.unlink_in(s, dir, "old").unwrap_err(), Protected);
        assert_eq!(w.remove_dir(s, dir, "empty").unwrap_err(), Protected);
        assert_eq!(rename(&mut w, s, (dir, "old"), (ROOT, "moved")), Err(Protected));
        assert_eq!(rename(&mut w, s, (dir, "old"), (dir, "other")), Err(Protected));
        assert_eq!(rename(&mut w, s, (ROOT, "outside"), (dir, "old")), Err(Protected));
        assert_eq!(rename(&mut w, s, (ROOT, "d"), (ROOT, "e")), Err(Protected));
        let adds = make(&mut w, s, dir, &format!("new{}", flags.bits()));
        assert_eq!(adds.is_ok(), flags == APPEND, "{adds:?}");
        let request = Request::Link {
            ino: inside,
            parent: dir,
            name: name(&format!("hard{}", flags.bits())),
        };
        assert_eq!(w.ask(s, request).is_ok(), flags == APPEND);
        let moves = rename(&mut w, s, (ROOT, "outside"), (dir, "moved"));
        assert_eq!(moves.is_ok(), flags == APPEND, "{moves:?}");
        // What lies in it has flags of its own.
        w.open(s, inside, WRITE).unwrap();
    }
}

#[test]
fn who_may_set_what_of_which() {
    let mut w = World::new(16);
    let s = w.session();
    let link = w.make(s, ROOT, "l", NewInode::Symlink(b"x".to_vec())).ino;
    assert_eq!(flag(&mut w, s, link, FIXED).unwrap_err(), Unsupported);
    w.who = user(7);
    let ino = make(&mut w, s, ROOT, "f").unwrap().ino;
    assert_eq!(flag(&mut w, s, ino, APPEND).unwrap_err(), NotOwner);
    let before = w.stat(s, ino).unwrap();
    let after = flag(&mut w, s, ino, InodeFlags::NO_DUMP).unwrap();
    assert_eq!(after.flags, InodeFlags::NO_DUMP);
    assert!(after.ctime > before.ctime && after.mtime == before.mtime);
    w.who = user(8);
    assert_eq!(flag(&mut w, s, ino, NONE).unwrap_err(), NotOwner);
}

#[test]
fn new_ones_inherit_what_protects_nothing() {
    let mut w = World::new(16);
    let s = w.session();
    let dir = w.dir(s, ROOT, "d");
    let kept = InodeFlags::NO_DUMP | InodeFlags::NO_ATIME;
    flag(&mut w, s, dir, kept | APPEND).unwrap();
    assert_eq!(make(&mut w, s, dir, "f").unwrap().flags, kept);
    assert_eq!(w.make(s, dir, "sub", NewInode::Directory).flags, kept);
    let kind = FileKind::Fifo;
    assert_eq!(
        w.make(s, dir, "p", NewInode::Special { kind, rdev: 0 }).flags,
        NONE
    );
}

#[test]
fn reading_leaves_the_access_time_alone_where_the_flag_says_so() {
    let mut w = World::new(16);
    let s = w.session();
    let ino = make(&mut w, s, ROOT, "f").unwrap().ino;
    let strictly = |w: &mut World| {
        let mut call = w.next_call(s, Request::Open { ino, access: READ });
        call.access_time = AccessTime::Strict;
        call.id = crate::id::RequestId::NOT_KEPT;
        attr_of(w.serve(call).answer.unwrap()).unwrap().atime
    };
    let first = strictly(&mut w);
    assert!(strictly(&mut w) > first);
    flag(&mut w, s, ino, InodeFlags::NO_ATIME).unwrap();
    let kept = w.stat(s, ino).unwrap().atime;
    assert_eq!(strictly(&mut w), kept);
}

#[test]
fn they_last_over_a_restart() {
    let mut w = World::new(16);
    let s = w.session();
    let dir = w.dir(s, ROOT, "d");
    let ino = make(&mut w, s, dir, "f").unwrap().ino;
    flag(&mut w, s, ino, FIXED | InodeFlags::NO_ATIME).unwrap();
    flag(&mut w, s, dir, APPEND).unwrap();
    w.restart();
    let s = w.session();
    assert_eq!(w.stat(s, ino).unwrap().flags, FIXED | InodeFlags::NO_ATIME);
    assert_eq!(w.open(s, ino, WRITE).unwrap_err(), Protected);
    assert_eq!(w.unlink_in(s, dir, "f").unwrap_err(), Protected);
    flag(&mut w, s, ino, NONE).unwrap();
    w.restart();
    let s = w.session();
    assert_eq!(w.stat(s, ino).unwrap().flags, NONE);
}

/// Inode 7, a file of format 2: as the version before this one wrote it.
const OF_FORMAT_2: &[u8] = &[
    7, // its id
    0, // a regular file
    0xa4, 0x03, // mode 0644
    2,    // links
    0xd1, 0x0f, 0xd2, 0x0f, 0, // uid 2001, gid 2002, no device
    0x88, 0x27, 0x80, 0x40, // 5000 bytes, 8192 allocated
    2, 3, 4, 5, 6, 7, 8,
    9, // access 1.000000003, bytes 2.000000005, inode 3.000000007, birth 4.000000009
    6, 1, // version, times it shrank
    0, // a file
];

#[test]
fn records_of_format_2_are_read_and_written_as_they_were() {
    let key = record::inode_key(InodeId(7));
    let inode = record::InodeRecord::decode(&key, OF_FORMAT_2)
        .unwrap()
        .into_inode();
    let attr = &inode.attr;
    assert_eq!(
        (attr.ino, attr.kind, attr.mode),
        (InodeId(7), FileKind::Regular, 0o644)
    );
    assert_eq!((attr.nlink, attr.uid, attr.gid), (2, 2001, 2002));
    assert_eq!((attr.size, attr.allocated, attr.truncate_seq), (5000, 8192, 1));
    assert_eq!(
        (attr.atime.seconds, attr.atime.nanos, attr.birth.nanos),
        (1, 3, 9)
    );
    assert_eq!(attr.flags, NONE);
    assert_eq!(record::InodeRecord::of(&inode).encode(), OF_FORMAT_2);
    let mut flagged = inode.clone();
    flagged.attr.flags = FIXED;
    let bytes = record::InodeRecord::of(&flagged).encode();
    assert_eq!(bytes, [OF_FORMAT_2, &[0x10]].concat());
    let read = record::InodeRecord::decode(&key, &bytes).unwrap();
    assert_eq!(read.into_inode(), flagged);
}

#[test]
fn a_store_of_format_2_is_read_and_becomes_one_of_this() {
    let mut patient = Patient::new();
    patient.put(format::KEY, Some(vec![2]));
    let mut value = OF_FORMAT_2.to_vec();
    // In the place of the pipe, which has one name and no bytes.
    value[0] = u8::try_from(patient.fifo.0).unwrap();
    patient.put(&record::inode_key(patient.fifo), Some(value));
    patient.edit(patient.fifo, |inode| {
        (inode.attr.nlink, inode.attr.size, inode.attr.allocated) = (1, 0, 0);
    });
    assert_eq!(patient.problems(), []);
    patient.load();
    assert_eq!(patient.get(format::KEY), Some(vec![format::NEWEST]));
    assert_eq!(patient.inode(patient.fifo).unwrap().attr.uid, 2001);
}

#[test]
fn flags_that_nobody_knows_are_damage() {
    for (of, bits, kept) in [
        (0, 0x8000_0010_u32, FIXED),
        (0, 0x8, NONE),
        (1, 0x10, NONE),
        (1, 0x100, NONE),
    ] {
        let mut patient = Patient::new();
        let ino = [patient.file, patient.fifo][of];
        let key = record::inode_key(ino);
        let plain = patient.get(&key).unwrap();
        patient.put(&key, Some([plain, record::encode(&bits)].concat()));
        assert_eq!(patient.kinds(), [ProblemKind::BadAttribute], "{bits:#x}");
        assert!(patient.try_load().is_err());
        patient.repair();
        assert_eq!(patient.inode(ino).unwrap().attr.flags, kept);
    }
}
