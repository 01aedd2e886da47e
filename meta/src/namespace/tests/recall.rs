//! Sessions: recalls, fences, leases and retries.

use super::world::{LEASE, READ, ROOT, WRITE, World, name};
use crate::error::MetaError;
use crate::extent::GRANULE;
use crate::id::{RecallId, SessionId, Term};
use crate::wire::{NewInode, Reply, Request};
use std::time::Duration;

#[test]
fn freed_space_waits_for_every_holder() {
    let mut w = World::new(8);
    let (a, b, c) = (w.session(), w.session(), w.session());
    let ino = w.file(a, "f");
    w.write(a, ino, 4 * GRANULE);
    w.open(b, ino, READ).unwrap();
    w.truncate(c, ino, GRANULE).unwrap();
    let asked: Vec<SessionId> = w.recalls.iter().map(|(session, _)| *session).collect();
    assert_eq!(
        asked,
        [a, b],
        "also the writer; the one that truncated holds nothing"
    );
    w.acknowledge();
    assert!(w.cleaning.is_empty());
    w.acknowledge();
    assert_eq!(
        w.cleaning.iter().map(|extent| extent.len).sum::<u64>(),
        3 * GRANULE
    );
    assert_eq!(
        w.ask(a, Request::Recalled { recall: RecallId(1) }),
        Ok(Reply::Done),
        "a repeat is harmless"
    );
}

#[test]
fn a_close_or_a_fence_stands_for_an_acknowledgement() {
    let mut w = World::new(8);
    let (a, b) = (w.session(), w.session());
    let ino = w.file(a, "f");
    w.write(a, ino, 4 * GRANULE);
    w.open(b, ino, READ).unwrap();
    w.truncate(a, ino, 0).unwrap();
    w.release(a, ino);
    assert!(w.cleaning.is_empty());
    w.fence(b);
    assert_eq!(
        w.cleaning.iter().map(|extent| extent.len).sum::<u64>(),
        4 * GRANULE
    );
}

#[test]
fn a_rename_over_an_open_file_frees_nothing_yet() {
    let mut w = World::new(8);
    let s = w.session();
    let old = w.file(s, "old");
    w.write(s, old, GRANULE);
    w.make(s, ROOT, "new", NewInode::File { open: false });
    let (parent, new_parent) = (ROOT, ROOT);
    let mode = crate::wire::RenameMode::Replace;
    let rename = Request::Rename {
        parent,
        name: name("new"),
        new_parent,
        new_name: name("old"),
        mode,
    };
    w.ask(s, rename).unwrap();
    assert_eq!(w.stat(s, old).unwrap().nlink, 0);
    assert!(w.cleaning.is_empty());
    w.release(s, old);
    assert!(
        w.cleaning.is_empty(),
        "somebody may have found it by its name just before"
    );
    w.now.monotonic += Duration::from_secs(2);
    w.tick();
    assert_eq!(w.cleaning.len(), 1);
}

#[test]
fn the_end_of_a_lease_alone_frees_nothing() {
    let mut w = World::new(8);
    let (a, b) = (w.session(), w.session());
    let ino = w.file(a, "f");
    w.write(a, ino, GRANULE);
    w.now.monotonic += LEASE;
    w.ask(b, Request::Renew).unwrap();
    assert!(
        !w.tick() && w.ended.is_empty(),
        "the lease runs out after its time, not at it"
    );
    w.now.monotonic += Duration::from_millis(1);
    w.tick();
    assert_eq!(w.ended, [a]);
    assert_eq!(w.ask(a, Request::Renew), Err(MetaError::SessionEnded));
    w.unlink(b, "f");
    assert!(w.cleaning.is_empty() && w.stat(b, ino).is_ok());
    w.fence(a);
    assert_eq!((w.cleaning.len(), w.stat(b, ino)), (1, Err(MetaError::Stale)));
    w.tick();
    assert_eq!(w.ended, [a], "it ends once");
}

#[test]
fn strangers_and_yesterdays_sessions_are_refused() {
    let mut w = World::new(8);
    let s = w.session();
    let ended = Err(MetaError::SessionEnded);
    assert_eq!(w.ask(SessionId(0), Request::StatFs), ended);
    assert_eq!(w.ask(SessionId(s.0 + 1), Request::StatFs), ended);
    let mut call = w.next_call(s, Request::StatFs);
    call.term = Term(call.term.0 + 1);
    assert_eq!(w.serve(call).answer, Some(ended.clone()));
    w.restart();
    assert_eq!(w.ask(s, Request::StatFs), ended);
    assert!(w.session() != s, "session ids do not come again");
}

#[test]
fn a_retry_gets_the_first_answer() {
    let mut w = World::new(8);
    let s = w.session();
    let what = NewInode::File { open: true };
    let call = w.next_call(
        s,
        Request::Make {
            parent: ROOT,
            name: name("f"),
            what,
            mode: 0o644,
        },
    );
    let first = w.serve(call.clone());
    let again = w.serve(call.clone());
    assert_eq!(first.answer, again.answer);
    assert!(again.batch.is_empty() && again.grants.is_empty());
    let ino = w.lookup(s, ROOT, "f").unwrap().ino;
    assert_eq!(w.ask(s, Request::Release { ino, opens: 1 }), Ok(Reply::Done));
    assert_eq!(
        w.ask(s, Request::Release { ino, opens: 1 }),
        Err(MetaError::Stale),
        "it was opened once"
    );
    for _ in 0..64 {
        w.ask(
            s,
            Request::Unlink {
                parent: ROOT,
                name: name("none"),
            },
        )
        .unwrap_err();
    }
    assert_eq!(
        w.serve(call).answer,
        Some(Err(MetaError::Exists)),
        "64 answers are kept"
    );
}

#[test]
fn a_reconnected_handler_says_what_it_has_open() {
    let mut w = World::new(8);
    let (a, b) = (w.session(), w.session());
    let (kept, lost) = (w.file(a, "kept"), w.file(a, "lost"));
    w.unlink(b, "lost");
    w.fence(a);
    // Too late for the file without a name.
    w.now.monotonic += LEASE * 2;
    w.tick();
    let again = w.session();
    let opens = vec![(kept, 2), (lost, 1)];
    assert_eq!(
        w.ask(again, Request::Reopen { before: a, opens }),
        Ok(Reply::Reopened {
            gone: vec![lost],
            reclaimed: vec![kept]
        })
    );
    w.release(again, kept);
    w.release(again, kept);
    assert_eq!(
        w.ask(again, Request::Release { ino: kept, opens: 1 }),
        Err(MetaError::Stale)
    );
}

#[test]
fn a_handler_that_comes_back_too_late_is_told_what_it_lost_even_if_another_has_the_file_open() {
    let mut w = World::new(8);
    let s = w.session();
    let ino = w.file(s, "f");
    w.allocate(s, ino, 0..GRANULE).unwrap();
    w.fence(s);
    w.now.monotonic += LEASE * 2;
    w.tick();
    let other = w.session();
    w.open(other, ino, WRITE).unwrap();
    w.fence(other);
    let back = w.session();
    let reopen = Request::Reopen {
        before: s,
        opens: vec![(ino, 1)],
    };
    let reply = Reply::Reopened {
        gone: vec![],
        reclaimed: vec![ino],
    };
    assert_eq!(w.ask(back, reopen), Ok(reply));
}
