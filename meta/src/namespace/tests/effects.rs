//! What requests say of themselves (`wire/effect.rs`) is what the namespace does.

use super::world::{READ, ROOT, WRITE, World, client_owner, name, user};
use crate::attr::{SetAttr, SetTime};
use crate::flags::InodeFlags;
use crate::id::{InodeId, LockOwner, LockTicket, RecallId, RequestId, SessionId, Stamp};
use crate::lock::{Lock, LockKind, Span};
use crate::namespace::record::{HOLDERS, INODES, InodeRecord};
use crate::store::Store;
use crate::time::{AccessTime, Timestamp};
use crate::wire::{Answer, AtomicOp, Call, NewInode, OpenAccess, RenameMode, Reply, Request, XattrMode};
use crate::xattr::XattrName;
use std::collections::BTreeSet;

/// A world that is made alike each time, with something for each request to work on.
struct Stage {
    world: World,
    session: SessionId,
    dir: InodeId,
    file: InodeId,
    other: InodeId,
    link: InodeId,
    /// Just made, with room for its first bytes.
    fresh: InodeId,
}

impl Stage {
    fn new() -> Self {
        let mut world = World::new(64);
        let session = world.session();
        let dir = world.dir(session, ROOT, "dir");
        world.dir(session, ROOT, "empty");
        let link = world
            .make(session, ROOT, "link", NewInode::Symlink(b"dir".to_vec()))
            .ino;
        let file = world.file(session, "file");
        let other = world.file(session, "other");
        for ino in [file, other] {
            world.write(session, ino, 20_000);
        }
        // The rest is a hole.
        world.truncate(session, file, 100_000).unwrap();
        world.set_xattr(session, file, "user.there", b"1").unwrap();
        let fresh = world
            .make(session, ROOT, "fresh", NewInode::OpenFile { room: 4096 })
            .ino;
        Self {
            world,
            session,
            dir,
            file,
            other,
            link,
            fresh,
        }
    }

    fn ask(&mut self, number: u64, request: &Request) -> Answer {
        let call = Call {
            session: self.session,
            term: self.world.space.term(),
            id: RequestId(1_000_000 + number),
            caller: crate::cred::Credentials::root(),
            access_time: AccessTime::Never,
            request: request.clone(),
            closes: Vec::new(),
        };
        self.world.serve(call).answer.unwrap()
    }

    /// All that is stored and how often the file is open; with `exact`, times and versions too.
    fn view(&self, exact: bool) -> Vec<String> {
        let mut all = self.stored(exact);
        let held = self.world.space.sessions.held(self.session, self.file);
        all.push(format!("{held:?}"));
        all
    }

    fn stored(&self, exact: bool) -> Vec<String> {
        let mut all = Vec::new();
        let mut each = |key: &[u8], value: &[u8]| {
            // What the store knows of sessions is worth no error.
            if key.starts_with(HOLDERS) {
                return Ok(());
            }
            let shown = if key.starts_with(INODES) && !exact {
                let mut inode = InodeRecord::decode(key, value)?.into_inode();
                let attr = &mut inode.attr;
                (attr.version.0, attr.mtime, attr.ctime) = (0, Timestamp::default(), Timestamp::default());
                format!("{inode:?}")
            } else {
                format!("{value:?}")
            };
            all.push(format!("{}: {shown}", key.escape_ascii()));
            Ok(())
        };
        self.world.store.scan(b"", &mut each).unwrap();
        all
    }

    /// One request of each kind, and the variants that differ in what they say of themselves. None of them fails.
    fn requests(&self) -> Vec<Request> {
        let mut all = self.about_sessions();
        all.extend(self.about_names());
        all.extend(self.about_bytes());
        all.extend(self.about_locks());
        all.extend(self.about_attributes());
        all
    }

    fn about_sessions(&self) -> Vec<Request> {
        vec![
            Request::Begin {
                host: "host".into(),
                client_owner: client_owner(1),
                pool: None,
            },
            Request::Renew,
            Request::Reopen {
                opens: vec![(self.file, 1)],
            },
            Request::Recalled { recall: RecallId(7) },
            Request::Outcome { of: RequestId(1) },
            Request::Drained,
            Request::Sync,
            Request::StatFs,
            Request::StatFsAt { ino: ROOT },
            Request::Examine { skip: 0 },
        ]
    }

    fn about_names(&self) -> Vec<Request> {
        let (parent, new) = (ROOT, name("new"));
        vec![
            Request::Lookup {
                parent,
                name: name("file"),
            },
            Request::Parent { ino: self.dir },
            Request::ReadLink { ino: self.link },
            Request::ReadDir {
                ino: ROOT,
                after: 0,
                limit: 9,
            },
            Request::Make {
                parent,
                name: new.clone(),
                what: NewInode::Directory,
                mode: 0o755,
            },
            Request::Link {
                ino: self.file,
                parent,
                name: new.clone(),
            },
            Request::Unlink {
                parent,
                name: name("link"),
            },
            Request::RemoveDir {
                parent,
                name: name("empty"),
            },
            Request::Rename {
                parent,
                name: name("file"),
                new_parent: self.dir,
                new_name: new,
                mode: RenameMode::Replace,
            },
        ]
    }

    #[expect(clippy::too_many_lines, reason = "a table: one line for each kind")]
    fn about_bytes(&self) -> Vec<Request> {
        let (ino, start, end) = (self.file, 4096, 12_288);
        let truncate = OpenAccess {
            truncate: true,
            ..WRITE
        };
        let layout = |start, end, allocate| Request::Layout {
            ino,
            start,
            end,
            allocate,
        };
        vec![
            Request::Open { ino, access: READ },
            Request::Open {
                ino,
                access: truncate,
            },
            Request::Release { ino, opens: 1 },
            layout(start, end, false),
            layout(40_960, 45_056, true),
            Request::Allocate {
                ino,
                start: 40_960,
                end: 45_056,
                keep_size: false,
                zero: false,
            },
            Request::Punch { ino, start, end },
            Request::Seek {
                ino,
                offset: 0,
                hole: true,
            },
            Request::Copy {
                from: self.other,
                from_offset: 0,
                to: ino,
                to_offset: 24_576,
                len: 4096,
            },
            Request::Append { ino, len: 8 },
            // In the hole: elsewhere it changes bytes only, of which the store has none.
            Request::Atomic {
                ino,
                offset: 81_920,
                op: AtomicOp::FetchAdd(1),
            },
            Request::Commit {
                ino,
                size: 100_001,
                truncate_seq: 0,
                mtime: Timestamp::default(),
                clear_set_id: false,
                sync: false,
            },
        ]
    }

    fn about_locks(&self) -> Vec<Request> {
        let (ino, ticket) = (self.file, LockTicket(1));
        let lock = Lock {
            owner: LockOwner(1),
            kind: LockKind::Posix,
            exclusive: true,
            span: Span::WHOLE,
            process: 1,
        };
        vec![
            Request::Lock {
                ino,
                ticket,
                lock,
                wait: false,
            },
            Request::GetLock { ino, lock },
            Request::CancelLock {
                ticket,
                give_back: true,
            },
            Request::Unlock {
                ino,
                owner: lock.owner,
                kind: lock.kind,
                span: lock.span,
            },
        ]
    }

    fn about_attributes(&self) -> Vec<Request> {
        let ino = self.file;
        let xattr = |text: &str| XattrName::new(text).unwrap();
        vec![
            Request::GetAttr { ino },
            Request::SetAttr {
                ino,
                change: SetAttr {
                    atime: Some(SetTime::Now),
                    ..SetAttr::default()
                },
                by_handle: false,
            },
            Request::GetXattr {
                ino,
                name: xattr("user.there"),
                from: 0,
                limit: 9,
            },
            Request::ListXattr { ino },
            Request::StageXattr {
                token: 1,
                part: vec![1],
            },
            Request::SetXattr {
                ino,
                name: xattr("user.new"),
                staged: None,
                value: vec![1],
                mode: XattrMode::default(),
            },
            Request::RemoveXattr {
                ino,
                name: xattr("user.there"),
            },
            Request::SetFlags {
                ino,
                flags: InodeFlags::NO_DUMP,
            },
            Request::Leases { take: true },
            Request::Forgotten { recall: RecallId(1) },
            Request::TakeRoomBack { ino: self.fresh },
            Request::CatchUp {
                ino: ROOT,
                since: Stamp(1),
            },
        ]
    }
}

#[test]
fn there_is_one_of_each_kind_and_none_fails() {
    let stage = Stage::new();
    let number = |request: &Request| postcard::to_allocvec(request).unwrap()[0];
    let kinds: BTreeSet<u8> = stage.requests().iter().map(number).collect();
    let beyond = u8::try_from(kinds.len()).unwrap();
    assert_eq!(kinds, (0..beyond).collect());
    let next = postcard::from_bytes::<Request>(&[beyond]);
    assert!(
        matches!(next, Err(postcard::Error::SerdeDeCustom)),
        "a kind of request is missing here"
    );
    for request in stage.requests() {
        let answer = Stage::new().ask(1, &request);
        // What they are about is not there, or is there already.
        let moot = matches!(
            request,
            Request::Begin { .. } | Request::Outcome { .. } | Request::CancelLock { .. }
        );
        assert!(answer.is_ok() || moot, "{request:?}: {answer:?}");
    }
}

#[test]
fn what_is_idempotent_is_the_same_when_it_is_done_twice_and_the_rest_is_not() {
    for request in Stage::new().requests() {
        let (mut once, mut twice) = (Stage::new(), Stage::new());
        let first = once.ask(1, &request);
        // Under other numbers, as in a session that does not know of the first.
        let _as_the_first = twice.ask(1, &request);
        let second = twice.ask(2, &request);
        let exact = !request.is_idempotent();
        let same = once.view(exact) == twice.view(exact);
        if request.is_idempotent() {
            assert!(
                same,
                "{request:?} is idempotent, and differs when it is done twice"
            );
            assert_eq!(first.is_ok(), second.is_ok(), "{request:?}");
        } else {
            assert!(
                !same || first != second,
                "{request:?} differs by nothing when it is done twice"
            );
        }
    }
}

#[test]
fn the_answers_of_what_is_not_idempotent_are_kept_for_a_retry() {
    for request in Stage::new().requests() {
        let mut stage = Stage::new();
        let first = stage.ask(1, &request);
        let sessions = &stage.world.space.sessions;
        let kept = sessions.cached(stage.session, RequestId(1_000_001)).is_some();
        assert_eq!(kept, !request.is_idempotent(), "{request:?}");
        if !request.is_idempotent() {
            let before = stage.view(true);
            assert_eq!(stage.ask(1, &request), first, "{request:?}");
            assert_eq!(
                stage.view(true),
                before,
                "{request:?} was done twice under one number"
            );
        }
    }
}

#[test]
fn what_is_durable_changes_the_store_and_the_rest_does_not() {
    for request in Stage::new().requests() {
        let mut stage = Stage::new();
        let before = stage.stored(true);
        let answer = stage.ask(1, &request);
        let changed = stage.stored(true) != before;
        let durable = request.is_durable();
        assert_eq!(
            changed || request.waits_for_store(),
            durable,
            "{request:?}: {answer:?}"
        );
        assert!(durable || !request.waits_for_store(), "{request:?}");
    }
}

/// What a host hears or does that says it asks for an ordinary user who has no right to anything, in a session that has nothing open.
#[test]
fn who_has_no_right_gets_and_changes_nothing() {
    // By number an inode's attributes and the names of its extended attributes are no secret, as of what a descriptor of O_PATH leads to;
    // the rest is about the session itself, or the pool as a whole.
    let open_to_all = |request: &Request| match request {
        Request::GetAttr { .. } | Request::ListXattr { .. } | Request::ReadLink { .. } => true,
        Request::Renew | Request::Drained | Request::Sync | Request::StatFs | Request::StatFsAt { .. } => {
            true
        }
        Request::Leases { .. } | Request::Recalled { .. } | Request::Forgotten { .. } => true,
        Request::StageXattr { .. } | Request::CancelLock { .. } | Request::Unlock { .. } => true,
        // The attributes alone, for who may not search the directory, or has not made the file.
        Request::CatchUp { .. } | Request::TakeRoomBack { .. } => true,
        _ => false,
    };
    for request in Stage::new().requests() {
        let mut stage = Stage::new();
        for ino in [ROOT, stage.dir, stage.file, stage.other, stage.fresh] {
            let change = SetAttr {
                mode: Some(if ino == ROOT || ino == stage.dir {
                    0o700
                } else {
                    0o600
                }),
                ..SetAttr::default()
            };
            let (by_handle, session) = (false, stage.session);
            let request = Request::SetAttr {
                ino,
                change,
                by_handle,
            };
            stage.world.ask(session, request).unwrap();
        }
        let before = stage.view(true);
        let session = stage.world.session();
        stage.world.who = user(65_534);
        let answer = stage.world.ask(session, request.clone());
        assert_eq!(answer.is_ok(), open_to_all(&request), "{request:?}: {answer:?}");
        if let Ok(Reply::CaughtUp { names, .. }) = answer {
            assert_eq!(names, [], "{request:?}");
        }
        stage.world.who = user(0);
        assert_eq!(stage.view(true), before, "{request:?} changed something");
    }
}
