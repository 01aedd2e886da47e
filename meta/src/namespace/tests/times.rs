//! Times of files that are written on one host and changed on another one meanwhile: all are of the service's clock, and none goes back.

use super::world::{ROOT, WRITE, World, at, attr_of};
use crate::attr::{Attr, SetAttr, SetTime};
use crate::id::{InodeId, SessionId};
use crate::time::Timestamp;
use crate::wire::{NewInode, Reply, Request};

fn commit(w: &mut World, s: SessionId, ino: InodeId, mtime: Timestamp) -> Attr {
    let truncate_seq = w.stat(s, ino).unwrap().truncate_seq;
    let request = Request::Commit {
        ino,
        size: 1,
        truncate_seq,
        mtime,
        clear_set_id: false,
        sync: false,
    };
    attr_of(w.ask(s, request)).unwrap()
}

fn set_mtime(w: &mut World, s: SessionId, ino: InodeId, mtime: SetTime) -> Attr {
    let change = SetAttr {
        mtime: Some(mtime),
        ..SetAttr::default()
    };
    let by_handle = false;
    let request = Request::SetAttr {
        ino,
        change,
        by_handle,
    };
    attr_of(w.ask(s, request)).unwrap()
}

/// A file that one session writes, and another session.
fn written() -> (World, [SessionId; 2], InodeId) {
    let mut w = World::new(8);
    let (a, b) = (w.session(), w.session());
    let ino = w.make(a, ROOT, "f", NewInode::File { open: false }).ino;
    w.open(a, ino, WRITE).unwrap();
    (w, [a, b], ino)
}

#[test]
fn a_commit_shows_what_the_write_showed() {
    let (mut w, [a, _], ino) = written();
    let wrote = w.now.wall;
    w.now.wall.seconds += 100;
    let attr = commit(&mut w, a, ino, wrote);
    assert_eq!((attr.mtime, attr.ctime), (wrote, wrote));
    // An older one that comes late takes nothing back.
    let attr = commit(&mut w, a, ino, at(1));
    assert_eq!((attr.mtime, attr.ctime), (wrote, wrote));
}

#[test]
fn nothing_was_written_later_than_now() {
    let (mut w, [a, _], ino) = written();
    let attr = commit(&mut w, a, ino, at(i64::MAX));
    assert_eq!((attr.mtime, attr.ctime), (w.now.wall, w.now.wall));
}

#[test]
fn a_time_that_was_chosen_after_the_write_stays() {
    let (mut w, [a, b], ino) = written();
    for chosen in [at(5), at(1 << 40)] {
        let wrote = w.now.wall;
        let set = set_mtime(&mut w, b, ino, SetTime::At(chosen));
        let attr = commit(&mut w, a, ino, wrote);
        assert_eq!((attr.mtime, attr.ctime), (chosen, set.ctime));
        // A later write ends it, in the future too.
        let wrote = w.now.wall;
        let attr = commit(&mut w, a, ino, wrote);
        assert_eq!((attr.mtime, attr.ctime), (wrote, wrote));
    }
    w.release(a, ino);
    w.space.check().unwrap();
}

#[test]
fn what_another_host_did_after_the_write_is_newer() {
    let (mut w, [a, b], ino) = written();
    let wrote = w.now.wall;
    let cut = w.truncate(b, ino, 0).unwrap();
    let attr = commit(&mut w, a, ino, wrote);
    assert_eq!((attr.mtime, attr.ctime), (cut.mtime, cut.ctime));
}

#[test]
fn a_renewal_tells_the_services_clock() {
    let mut w = World::new(8);
    let s = w.session();
    let wall = Timestamp {
        seconds: w.now.wall.seconds + 1,
        ..w.now.wall
    };
    assert_eq!(w.ask(s, Request::Renew), Ok(Reply::Renewed { wall }));
}
