//! What the samples of messages are made of.

use crate::acl::Acls;
use crate::attr::{Attr, FileKind};
use crate::cred::Credentials;
use crate::extent::{Extent, GRANULE};
use crate::flags::InodeFlags;
use crate::id::{Incarnation, InodeId, LockOwner, NodeId, PoolId, SessionId, Term, Version};
use crate::layout::{LayoutSlice, Replica, ReplicaState, Run};
use crate::lock::{Lock, LockKind, Span};
use crate::name::Name;
use crate::problem::{Examination, Lost, LostFile, Problem, ProblemKind};
use crate::time::Timestamp;
use crate::wire::{Arena, Begun, ChangedName, Room, Space};

pub(super) fn ino(number: u64) -> InodeId {
    InodeId(number)
}

pub(super) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(super) fn time(seconds: i64) -> Timestamp {
    Timestamp { seconds, nanos: 300 }
}

pub(super) fn lock() -> Lock {
    Lock {
        owner: LockOwner(300),
        kind: LockKind::Posix,
        exclusive: true,
        span: Span::new(1, 300).unwrap(),
        process: 301,
    }
}

pub(super) fn caller() -> Credentials {
    Credentials {
        kernel_decides: true,
        umask: 0o22,
        groups_unseen: true,
        ..Credentials::new(1000, 1001, vec![1002, 1003])
    }
}

pub(super) fn attr() -> Attr {
    Attr {
        ino: ino(2),
        kind: FileKind::Regular,
        mode: 0o640,
        nlink: 3,
        uid: 1000,
        gid: 1001,
        rdev: 4,
        size: 300,
        allocated: GRANULE,
        atime: time(1),
        mtime: time(2),
        ctime: time(3),
        birth: time(4),
        version: Version(301),
        truncate_seq: 302,
        flags: InodeFlags::NO_DUMP,
        acls: Acls::None,
    }
}

pub(super) fn layout() -> LayoutSlice {
    let extent = Extent {
        node: NodeId(1),
        incarnation: Incarnation(300),
        offset: GRANULE,
        len: 2 * GRANULE,
    };
    LayoutSlice {
        start: 0,
        end: 4 * GRANULE,
        truncate_seq: 301,
        runs: vec![Run {
            start: GRANULE,
            replicas: vec![Replica {
                extent,
                state: ReplicaState::Valid,
            }],
        }],
    }
}

pub(super) fn begun() -> Begun {
    Begun {
        session: SessionId(300),
        pool: PoolId([7; 16]),
        term: Term(301),
        lease_ms: 302,
        arenas: vec![Arena {
            node: NodeId(1),
            incarnation: Incarnation(303),
            len: 304,
        }],
        wall: time(1),
    }
}

pub(super) fn examination() -> Examination {
    let problem = Problem {
        kind: ProblemKind::Orphan,
        inode: Some(ino(1)),
        path: Some("/path".into()),
        what: "what".into(),
        remedy: "mend".into(),
    };
    let file = LostFile {
        inode: ino(2),
        path: None,
        bytes: 300,
    };
    Examination {
        inodes: 301,
        entries: 302,
        bytes: 303,
        wrong: 304,
        problems: vec![problem],
        lost: Lost {
            files: 305,
            bytes: 306,
            listed: vec![file],
        },
    }
}

pub(super) fn changed_names() -> Vec<ChangedName> {
    let names = [("name", Some(attr())), ("gone", None)];
    let changed = names.map(|(of, attr)| ChangedName { name: name(of), attr });
    changed.into()
}

pub(super) fn room() -> Room {
    let space = Space {
        total: 300,
        free: 301,
        inodes: 302,
        lost_files: 303,
        lost_bytes: 304,
    };
    Room {
        space,
        names: 305,
        names_free: 306,
    }
}
