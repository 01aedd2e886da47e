//! Open files: extents, sizes, space and its end.

use super::world::{LEASE, READ, ROOT, WRITE, World, at, attr_of, client_owner, name, user, zeroed};
use crate::attr::SetAttr;
use crate::error::MetaError;
use crate::extent::GRANULE;
use crate::id::{InodeId, SessionId};
use crate::wire::{NewInode, Notice, OpenAccess, Reply, Request};

const MAX: u64 = i64::MAX as u64;

#[test]
fn only_an_open_file_has_a_layout() {
    let mut w = World::new(8);
    let (s, other) = (w.session(), w.session());
    let ino = w.file(s, "f");
    assert_eq!(w.allocate(other, ino, 0..1), Err(MetaError::Stale));
    assert_eq!(
        w.ask(other, Request::Append { ino, len: 1 }),
        Err(MetaError::Stale)
    );
    assert_eq!(
        w.ask(other, Request::Release { ino, opens: 1 }),
        Err(MetaError::Stale)
    );
    w.open(other, ino, READ).unwrap();
    assert_eq!(w.allocate(other, ino, 0..1), Err(MetaError::AccessDenied));
    assert_eq!(w.commit(other, ino, 1), Err(MetaError::AccessDenied));
    assert_eq!(w.allocate(s, ino, 5..5), Err(MetaError::Invalid));
    assert_eq!(w.allocate(s, ino, 0..MAX + 1), Err(MetaError::TooBig));
    let hole = Request::Layout {
        ino,
        start: 0,
        end: u64::MAX,
        allocate: false,
    };
    let Ok(Reply::Layout(slice)) = w.ask(other, hole) else {
        panic!()
    };
    assert!(slice.runs.is_empty());
}

#[test]
fn a_sparse_file_costs_what_was_written() {
    let mut w = World::new(64);
    let s = w.session();
    let ino = w.file(s, "f");
    let far = 1 << 40;
    let slice = w.allocate(s, ino, far - 10..far).unwrap();
    assert_eq!((slice.start, slice.end, slice.runs.len()), (far - 10, far, 1));
    let attr = w.commit(s, ino, far).unwrap();
    assert_eq!((attr.size, attr.allocated), (far, GRANULE));
    let attr = w.truncate(s, ino, MAX).unwrap();
    assert_eq!((attr.size, attr.allocated, attr.truncate_seq), (MAX, GRANULE, 0));
    assert_eq!(w.truncate(s, ino, MAX + 1), Err(MetaError::TooBig));
}

#[test]
fn a_stream_is_filled_ahead_and_trimmed() {
    let mut w = World::new(1024);
    let s = w.session();
    let ino = w.file(s, "f");
    assert_eq!(w.allocate(s, ino, 0..100).unwrap().end, GRANULE);
    assert_eq!(w.allocate(s, ino, GRANULE..2 * GRANULE).unwrap().end, 3 * GRANULE);
    assert_eq!(w.commit(s, ino, 5000).unwrap().allocated, 3 * GRANULE);
    w.release(s, ino);
    assert_eq!(w.stat(s, ino).unwrap().allocated, 2 * GRANULE);
}

#[test]
fn the_last_granule_goes_to_someone_and_then_there_is_none() {
    let mut w = World::new(4);
    let s = w.session();
    let ino = w.file(s, "f");
    let slice = w.allocate(s, ino, 0..100 * GRANULE).unwrap();
    assert_eq!(slice.end, 4 * GRANULE);
    assert_eq!(
        w.allocate(s, ino, 4 * GRANULE..5 * GRANULE),
        Err(MetaError::NoSpace)
    );
    assert_eq!(
        w.ask(s, Request::Append { ino, len: 1 << 20 }),
        Err(MetaError::NoSpace)
    );
    w.truncate(s, ino, 0).unwrap();
    assert_eq!(w.allocate(s, ino, 0..1), Err(MetaError::Cleaning));
    assert_eq!(w.free(s), 4 * GRANULE);
    w.acknowledge();
    w.clean();
    assert!(w.allocate(s, ino, 0..1).is_ok());
}

#[test]
fn appends_of_two_sessions_never_meet() {
    let mut w = World::new(600);
    let (a, b) = (w.session(), w.session());
    let ino = w.file(a, "f");
    w.open(b, ino, WRITE).unwrap();
    let mut end = 0;
    for (session, len) in [(a, 10), (b, 5000), (a, 1), (b, 1 << 20)] {
        let Ok(Reply::Appended { offset, attr, layout }) = w.ask(session, Request::Append { ino, len })
        else {
            panic!("space is there")
        };
        assert_eq!(offset, end);
        end += u64::from(len);
        assert_eq!((attr.size, layout.start, layout.end), (end, offset, end));
        assert!(layout.runs.last().unwrap().end() >= end);
    }
    for len in [0, (1 << 20) + 1, u32::MAX] {
        assert_eq!(w.ask(a, Request::Append { ino, len }), Err(MetaError::Invalid));
    }
}

#[test]
fn a_commit_from_before_a_shrink_does_not_grow() {
    let mut w = World::new(8);
    let s = w.session();
    let ino = w.file(s, "f");
    w.write(s, ino, 5000);
    let shrunk = w.truncate(s, ino, 10).unwrap();
    assert_eq!(shrunk.truncate_seq, 1);
    let commit = |truncate_seq| Request::Commit {
        ino,
        size: 4000,
        truncate_seq,
        mtime: at(7),
        clear_set_id: false,
        sync: true,
    };
    let late = attr_of(w.ask(s, commit(0))).unwrap();
    assert_eq!((late.size, late.mtime), (10, at(7)));
    assert!(late.version > shrunk.version);
    assert_eq!(attr_of(w.ask(s, commit(1))).unwrap().size, 4000);
    let beyond = Request::Commit {
        ino,
        size: MAX + 1,
        truncate_seq: 1,
        mtime: at(7),
        clear_set_id: false,
        sync: true,
    };
    assert_eq!(w.ask(s, beyond), Err(MetaError::TooBig));
}

#[test]
fn a_write_by_another_user_clears_set_id() {
    let mut w = World::new(8);
    let s = w.session();
    let ino = w.file(s, "f");
    let change = SetAttr {
        mode: Some(0o6777),
        ..SetAttr::default()
    };
    w.ask(
        s,
        Request::SetAttr {
            ino,
            change: change.clone(),
            by_handle: false,
        },
    )
    .unwrap();
    let commit = Request::Commit {
        ino,
        size: 1,
        truncate_seq: 0,
        mtime: at(7),
        clear_set_id: true,
        sync: false,
    };
    assert_eq!(attr_of(w.ask(s, commit)).unwrap().mode, 0o777);
    w.ask(
        s,
        Request::SetAttr {
            ino,
            change,
            by_handle: false,
        },
    )
    .unwrap();
    w.who = user(9);
    let truncate = OpenAccess {
        truncate: true,
        ..WRITE
    };
    assert_eq!(w.open(s, ino, truncate).unwrap().mode, 0o777);
}

#[test]
fn a_cut_granule_is_zeroed_past_the_cut() {
    let mut w = World::new(8);
    let s = w.session();
    let ino = w.file(s, "f");
    w.write(s, ino, 6000);
    let change = SetAttr {
        size: Some(5000),
        ..SetAttr::default()
    };
    let call = w.next_call(
        s,
        Request::SetAttr {
            ino,
            change,
            by_handle: true,
        },
    );
    let mut call = call;
    call.id.0 += 1000;
    let out = w.serve(call);
    let zeroed = zeroed(&out);
    assert_eq!((zeroed.len(), zeroed[0].offset % GRANULE), (1, 5000 - GRANULE));
    assert_eq!(zeroed[0].end() % GRANULE, 0);
}

#[test]
fn bytes_past_the_size_are_zeroed_when_their_writer_died() {
    let mut w = World::new(8);
    let s = w.session();
    let ino = w.file(s, "f");
    w.write(s, ino, 100);
    let out = w.space.fenced(s);
    assert_eq!(zeroed(&out), [], "it may come back");
    w.now.monotonic += LEASE * 2;
    let (out, _) = w.space.tick(w.now);
    let zeroed = zeroed(&out).into_iter().map(|extent| extent.len);
    assert_eq!(zeroed.sum::<u64>(), GRANULE - 100);
}

#[test]
fn what_was_written_and_not_synced_is_there_for_a_handler_that_comes_back() {
    let mut w = World::new(8);
    let s = w.begin(client_owner(100)).unwrap();
    let ino = w.file(s, "f");
    let written = w.allocate(s, ino, 0..3 * GRANULE).unwrap();
    let unnamed = w.file(s, "unnamed");
    w.unlink(s, "unnamed");
    w.fence(s);
    w.now.monotonic += LEASE - w.space.tick_time() * 2;
    assert!(!w.tick());
    assert_eq!(w.begin(client_owner(100)), Ok(s), "it goes on");
    assert_eq!(w.allocate(s, ino, 0..3 * GRANULE).unwrap().runs, written.runs);
    assert!(w.stat(s, unnamed).is_ok());
    // Too late: what it had not committed is reclaimed.
    w.fence(s);
    w.now.monotonic += LEASE * 2;
    w.tick();
    let after = w.begin(client_owner(100)).unwrap();
    assert_ne!(after, s);
    let opens = vec![(ino, 1), (unnamed, 1)];
    let gone = vec![unnamed];
    let reopened = w.ask(after, Request::Reopen { opens });
    assert_eq!(reopened, Ok(Reply::Reopened { gone }));
    assert_eq!(w.stat(after, ino).unwrap().allocated, 0);
}

#[test]
fn an_unlinked_file_lives_until_its_last_release() {
    let mut w = World::new(8);
    let (a, b) = (w.session(), w.session());
    let ino = w.file(a, "f");
    w.write(a, ino, 3 * GRANULE);
    w.open(b, ino, READ).unwrap();
    w.unlink(a, "f");
    assert_eq!(w.stat(a, ino).unwrap().nlink, 0);
    assert_eq!(
        w.ask(
            a,
            Request::Link {
                ino,
                parent: ROOT,
                name: name("back")
            }
        ),
        Err(MetaError::NotFound)
    );
    w.release(a, ino);
    w.open(b, ino, READ).unwrap();
    w.release(b, ino);
    assert!(w.cleaning.is_empty());
    w.fence(b);
    assert!(w.stat(a, ino).is_ok(), "b may come back");
    for _ in 0..3 {
        w.now.monotonic += LEASE / 2;
        w.ask(a, Request::Renew).unwrap();
        w.tick();
    }
    assert_eq!(w.stat(a, ino), Err(MetaError::Stale));
    assert_eq!(
        w.cleaning.iter().map(|extent| extent.len).sum::<u64>(),
        3 * GRANULE
    );
    w.clean();
    assert_eq!(w.free(a), 8 * GRANULE);
}

#[test]
fn a_long_file_is_removed_in_steps() {
    let segments = 70;
    let mut w = World::new(segments * 2);
    let s = w.session();
    let ino = w.file(s, "f");
    for segment in 0..segments {
        let start = segment << 26;
        w.allocate(s, ino, start..start + 1).unwrap();
    }
    w.commit(s, ino, segments << 26).unwrap();
    w.release(s, ino);
    w.unlink(s, "f");
    assert!(w.stat(s, ino).is_ok(), "not all of it in one step");
    while w.tick() {}
    assert_eq!(w.stat(s, ino), Err(MetaError::Stale));
    w.clean();
    assert_eq!(w.free(s), segments * 2 * GRANULE);
}

#[test]
fn others_hear_of_a_new_layout_and_size() {
    let mut w = World::new(8);
    let (a, b) = (w.session(), w.session());
    let ino = w.file(a, "f");
    w.open(b, ino, READ).unwrap();
    let mut notified = |session: SessionId, request: Request, id: u64| {
        let mut call = w.next_call(session, request);
        call.id.0 = id;
        let out = w.serve(call);
        let to: Vec<SessionId> = out.notices.iter().map(|(session, _)| *session).collect();
        let changed = out
            .notices
            .iter()
            .all(|(_, notice)| matches!(notice, Notice::Changed { .. }));
        assert!(changed && out.answer.unwrap().is_ok());
        to
    };
    let layout = Request::Layout {
        ino,
        start: 0,
        end: 9,
        allocate: true,
    };
    assert_eq!(notified(a, layout.clone(), 900), [b]);
    assert_eq!(notified(a, layout, 901), []);
    let commit = |size| Request::Commit {
        ino,
        size,
        truncate_seq: 0,
        mtime: at(1),
        clear_set_id: false,
        sync: false,
    };
    assert_eq!(notified(a, commit(9), 902), [b]);
    assert_eq!(notified(a, commit(9), 903), []);
    assert_eq!(notified(a, Request::Append { ino, len: 1 }, 904), [b]);
}

#[test]
fn only_regular_files_are_opened() {
    let mut w = World::new(8);
    let s = w.session();
    let fifo = NewInode::Special {
        kind: crate::attr::FileKind::Fifo,
        rdev: 0,
    };
    let fifo = w.make(s, ROOT, "p", fifo).ino;
    assert_eq!(w.open(s, ROOT, READ), Err(MetaError::IsDirectory));
    assert_eq!(w.open(s, fifo, READ), Err(MetaError::Invalid));
    assert_eq!(w.open(s, InodeId(999), READ), Err(MetaError::Stale));
    let ino = w.make(s, ROOT, "f", NewInode::File { open: false }).ino;
    w.who = user(5);
    let run = OpenAccess {
        execute: true,
        ..OpenAccess::default()
    };
    assert!(w.open(s, ino, run).is_ok());
    assert_eq!(w.open(s, ino, WRITE), Err(MetaError::AccessDenied));
    assert_eq!(
        w.open(
            s,
            ino,
            OpenAccess {
                truncate: true,
                ..READ
            }
        ),
        Err(MetaError::AccessDenied)
    );
}

#[test]
fn the_ends_of_the_number_line_are_survived() {
    let mut w = World::new(64);
    let s = w.session();
    let ino = w.file(s, "f");
    let edges = [
        0,
        1,
        GRANULE - 1,
        GRANULE,
        (1 << 26) - 1,
        MAX - GRANULE,
        MAX - 1,
        MAX,
        MAX + 1,
        u64::MAX - 1,
        u64::MAX,
    ];
    for start in edges {
        for end in edges {
            for allocate in [false, true] {
                let answer = w.ask(
                    s,
                    Request::Layout {
                        ino,
                        start,
                        end,
                        allocate,
                    },
                );
                let sound = start < end && (!allocate || end <= MAX);
                assert_eq!(answer.is_ok(), sound, "{start} {end} {allocate}");
                if let Ok(Reply::Layout(slice)) = answer {
                    assert!(slice.start == start && slice.end > start);
                }
            }
            let commit = Request::Commit {
                ino,
                size: start,
                truncate_seq: end,
                mtime: at(1),
                clear_set_id: true,
                sync: true,
            };
            assert_eq!(w.ask(s, commit).is_ok(), start <= MAX);
        }
        assert_eq!(w.truncate(s, ino, start).is_ok(), start <= MAX);
        w.acknowledge_all();
        w.clean();
    }
}

#[test]
fn the_longest_file_grows_no_more() {
    let mut w = World::new(64);
    let s = w.session();
    let ino = w.file(s, "f");
    let append = |len| Request::Append { ino, len };
    w.truncate(s, ino, MAX - 1).unwrap();
    assert_eq!(w.ask(s, append(2)), Err(MetaError::TooBig));
    let Ok(Reply::Appended { offset, attr, .. }) = w.ask(s, append(1)) else {
        panic!("it has room for one byte")
    };
    assert_eq!((offset, attr.size), (MAX - 1, MAX));
    assert_eq!(w.ask(s, append(1)), Err(MetaError::TooBig));
}

#[test]
fn open_counts_take_any_number() {
    let mut w = World::new(64);
    let s = w.session();
    let ino = w.file(s, "f");
    let release = |opens| Request::Release { ino, opens };
    assert_eq!(w.ask(s, release(u32::MAX)), Ok(Reply::Done));
    let opens = vec![(ino, 0), (ino, u32::MAX)];
    let reopen = Request::Reopen { opens };
    assert!(matches!(w.ask(s, reopen), Ok(Reply::Reopened { gone, .. }) if gone.is_empty()));
    assert!(w.open(s, ino, READ).is_ok());
    assert_eq!(w.ask(s, release(0)), Ok(Reply::Done));
    assert_eq!(w.ask(s, release(u32::MAX)), Ok(Reply::Done));
    assert_eq!(w.ask(s, release(1)), Err(MetaError::Stale));
}
