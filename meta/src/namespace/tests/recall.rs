//! Sessions: recalls, fences, leases and retries.

use super::world::{LEASE, READ, ROOT, World, client_owner, name};
use crate::error::MetaError;
use crate::extent::GRANULE;
use crate::id::{RecallId, RequestId, SessionId, Term};
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
    w.now.monotonic += LEASE - w.space.tick_time() * 2;
    w.ask(b, Request::Renew).unwrap();
    assert!(!w.tick() && w.disconnect.is_empty(), "so long it lasts");
    w.now.monotonic += Duration::from_millis(1);
    w.tick();
    assert_eq!(w.disconnect, [a]);
    assert_eq!(w.ask(a, Request::Renew), Err(MetaError::SessionEnded));
    w.unlink(b, "f");
    assert!(w.cleaning.is_empty() && w.stat(b, ino).is_ok());
    w.fence(a);
    assert_eq!((w.cleaning.len(), w.stat(b, ino)), (1, Err(MetaError::Stale)));
    w.tick();
    assert_eq!(w.disconnect, [a], "it ends once");
}

#[test]
fn others_and_yesterdays_sessions_are_refused() {
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
    let anew = w.serve(call.clone());
    assert_eq!(first.answer, anew.answer);
    assert!(anew.batch.is_empty() && anew.orders.is_empty());
    let ino = w.lookup(s, ROOT, "f").unwrap().ino;
    assert_eq!(w.ask(s, Request::Release { ino, opens: 1 }), Ok(Reply::Done));
    assert_eq!(
        w.ask(s, Request::Release { ino, opens: 1 }),
        Err(MetaError::Stale),
        "it was opened once"
    );
    for _ in 0..256 {
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
        "256 answers are kept"
    );
}

/// The file has been opened meanwhile, which is not what the call was to give back.
#[test]
fn a_call_that_is_repeated_gives_nothing_back_twice() {
    let mut w = World::new(8);
    let s = w.session();
    let ino = w.file(s, "a");
    let unlink = Request::Unlink {
        parent: ROOT,
        name: name("b"),
    };
    let mut call = w.next_call(s, unlink);
    call.id = RequestId(u64::MAX);
    call.closes = vec![(ino, 1)];
    let first = w.serve(call.clone()).answer.unwrap();
    assert_eq!(
        first,
        Err(MetaError::NotFound),
        "somebody else took the name away"
    );
    assert!(w.space.sessions.held(s, ino).is_err());
    w.open(s, ino, READ).unwrap();
    assert_eq!(w.serve(call).answer, Some(first));
    assert!(w.space.sessions.held(s, ino).is_ok());
}

#[test]
fn a_call_whose_answer_was_lost_is_not_done_anew_after_a_reconnect() {
    let mut w = World::new(8);
    let s = w.begin(client_owner(100)).unwrap();
    let ino = w.file(s, "a");
    let other = w.session();
    let rename = Request::Rename {
        parent: ROOT,
        name: name("a"),
        new_parent: ROOT,
        new_name: name("b"),
        mode: crate::wire::RenameMode::Replace,
    };
    let append = Request::Append { ino, len: 100 };
    for request in [rename, append, Request::Open { ino, access: READ }] {
        assert!(w.ask(s, request.clone()).is_ok());
        let lost = w.next_call(s, request);
        w.fence(s);
        assert_eq!(w.begin(client_owner(100)), Ok(s));
        let before = w.stat(other, ino).unwrap();
        let anew = w.serve(lost.clone());
        assert!(anew.answer.clone().unwrap().is_ok() && anew.batch.is_empty());
        assert_eq!(w.stat(other, ino).unwrap(), before);
        let outcome = Request::Outcome { of: lost.id };
        assert_eq!(Some(w.ask(s, outcome)), anew.answer);
    }
    let never = RequestId(u64::MAX);
    let outcome = w.ask(s, Request::Outcome { of: never });
    assert_eq!(outcome, Err(MetaError::NotDone));
    w.release(s, ino);
    w.release(s, ino);
    let release = Request::Release { ino, opens: 1 };
    assert_eq!(
        w.ask(s, release),
        Err(MetaError::Stale),
        "made and opened: two opens"
    );
}

#[test]
fn a_session_has_one_connection_at_a_time() {
    let mut w = World::new(8);
    let s = w.begin(client_owner(100)).unwrap();
    assert_eq!(w.begin(client_owner(100)), Err(MetaError::StillConnected));
    assert_eq!(w.disconnect, [s], "the old connection is to be closed");
    assert!(
        w.ask(s, Request::Renew).is_ok(),
        "and has its session until it is"
    );
    w.fence(s);
    assert_eq!(w.ask(s, Request::Renew), Err(MetaError::SessionEnded));
    assert_eq!(w.begin(client_owner(100)), Ok(s));
    assert!(w.ask(s, Request::Renew).is_ok());
    assert_ne!(w.begin(client_owner(101)), Ok(s), "it is known by its lineage");
    // A lease that ran out ends the session: its successor waits for the fence.
    w.now.monotonic += LEASE * 2;
    w.tick();
    assert_eq!(w.begin(client_owner(100)), Err(MetaError::StillConnected));
    w.fence(s);
    assert!(w.begin(client_owner(100)).is_ok_and(|next| next != s));
}

#[test]
fn a_broken_connection_owes_no_recall_and_holds_its_files() {
    let mut w = World::new(8);
    let s = w.begin(client_owner(100)).unwrap();
    let ino = w.file(s, "f");
    w.write(s, ino, 4 * GRANULE);
    let other = w.session();
    w.fence(s);
    w.truncate(other, ino, GRANULE).unwrap();
    assert!(w.recalls.is_empty(), "nothing of it is running");
    assert_eq!(w.cleaning.len(), 1);
    w.unlink(other, "f");
    assert!(w.stat(other, ino).is_ok(), "it has the file open");
    assert_eq!(w.begin(client_owner(100)), Ok(s));
    w.truncate(other, ino, 0).unwrap();
    assert_eq!(w.recalls.len(), 1, "from now on it is asked again");
    w.release(s, ino);
    assert_eq!(w.stat(other, ino), Err(MetaError::Stale));
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
    let anew = w.session();
    let opens = vec![(kept, 2), (lost, 1)];
    assert_eq!(
        w.ask(anew, Request::Reopen { opens }),
        Ok(Reply::Reopened { gone: vec![lost] })
    );
    w.release(anew, kept);
    w.release(anew, kept);
    assert_eq!(
        w.ask(anew, Request::Release { ino: kept, opens: 1 }),
        Err(MetaError::Stale)
    );
}
