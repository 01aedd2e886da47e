//! Any calls, answers and notices, as strategies.

use super::parts::{attr, changed_names, ino, name, set_time, time};
use crate::attr::{FileKind, SetAttr};
use crate::cred::Credentials;
use crate::error::MetaError;
use crate::extent::{Extent, GRANULE};
use crate::flags::InodeFlags;
use crate::id::{
    ClientOwner, Incarnation, InodeId, LockOwner, LockTicket, NodeId, PoolId, RecallId, RequestId, SessionId,
    Stamp, Term, Version,
};
use crate::layout::{LayoutSlice, Replica, ReplicaState, Run};
use crate::lock::{LAST_BYTE, Lock, LockKind, LockState, Span};
use crate::problem::{Examination, Lost, LostFile, Problem, ProblemKind};
use crate::time::{AccessTime, Timestamp};
use crate::wire::{
    Answer, Arena, AtomicOp, Begun, Call, DirEntry, NewInode, Notice, OpenAccess, RenameMode, Reply, Request,
    Room, Sought, Space, StampedAnswer, XattrMode,
};
use crate::xattr::XattrName;
use proptest::prelude::*;

fn new_inode() -> impl Strategy<Value = NewInode> {
    prop_oneof![
        any::<bool>().prop_map(|open| NewInode::File { open }),
        any::<u32>().prop_map(|room| NewInode::OpenFile { room }),
        Just(NewInode::Directory),
        prop::collection::vec(any::<u8>(), 0..4096).prop_map(NewInode::Symlink),
        any::<u32>().prop_map(|rdev| NewInode::Special {
            kind: FileKind::CharDevice,
            rdev
        }),
    ]
}

fn set_attr() -> impl Strategy<Value = SetAttr> {
    let option = prop::option::of::<BoxedStrategy<u32>>;
    let number = || any::<u32>().boxed();
    (
        prop::option::of(any::<u16>()),
        option(number()),
        option(number()),
        prop::option::of(any::<u64>()),
        prop::option::of(set_time()),
        prop::option::of(set_time()),
    )
        .prop_map(|(mode, uid, gid, size, atime, mtime)| SetAttr {
            mode,
            uid,
            gid,
            size,
            atime,
            mtime,
        })
}

fn tree_request() -> impl Strategy<Value = Request> {
    prop_oneof![
        (ino(), name()).prop_map(|(parent, name)| Request::Lookup { parent, name }),
        ino().prop_map(|ino| Request::Parent { ino }),
        ino().prop_map(|ino| Request::GetAttr { ino }),
        (ino(), set_attr(), any::<bool>()).prop_map(|(ino, change, by_handle)| Request::SetAttr {
            ino,
            change,
            by_handle
        }),
        (ino(), name(), new_inode(), any::<u16>()).prop_map(|(parent, name, what, mode)| Request::Make {
            parent,
            name,
            what,
            mode
        }),
        (ino(), ino(), name()).prop_map(|(ino, parent, name)| Request::Link { ino, parent, name }),
        (ino(), name()).prop_map(|(parent, name)| Request::Unlink { parent, name }),
        (ino(), name()).prop_map(|(parent, name)| Request::RemoveDir { parent, name }),
        (ino(), name(), ino(), name()).prop_map(|(parent, name, new_parent, new_name)| Request::Rename {
            parent,
            name,
            new_parent,
            new_name,
            mode: RenameMode::Exchange
        }),
        ino().prop_map(|ino| Request::ReadLink { ino }),
        (ino(), any::<u64>(), any::<u32>()).prop_map(|(ino, after, limit)| Request::ReadDir {
            ino,
            after,
            limit
        }),
    ]
}

fn lock() -> impl Strategy<Value = Lock> {
    let kinds = [LockKind::Flock, LockKind::Posix, LockKind::Ofd, LockKind::Unknown];
    let span = (0..=LAST_BYTE, 0..=LAST_BYTE).prop_map(|(a, b)| Span::new(a.min(b), a.max(b)).unwrap());
    (any::<u64>(), 0..4_usize, any::<bool>(), span, any::<u64>()).prop_map(
        move |(owner, kind, exclusive, span, process)| Lock {
            owner: LockOwner(owner),
            kind: kinds[kind],
            exclusive,
            span,
            process,
        },
    )
}

#[expect(clippy::too_many_lines, reason = "a table: one line for each kind")]
fn file_request() -> impl Strategy<Value = Request> {
    prop_oneof![
        (".{0,40}", any::<[u8; 16]>(), any::<Option<[u8; 16]>>()).prop_map(|(host, client_owner, pool)| {
            Request::Begin {
                host,
                client_owner: ClientOwner(client_owner),
                pool: pool.map(PoolId),
            }
        }),
        Just(Request::Renew),
        Just(Request::Sync),
        Just(Request::StatFs),
        Just(Request::Drained),
        any::<u64>().prop_map(|skip| Request::Examine { skip }),
        any::<u64>().prop_map(|of| Request::Outcome { of: RequestId(of) }),
        prop::collection::vec((ino(), any::<u32>()), 0..20).prop_map(|opens| Request::Reopen { opens }),
        any::<u64>().prop_map(|recall| Request::Recalled {
            recall: RecallId(recall)
        }),
        (ino(), any::<bool>()).prop_map(|(ino, write)| Request::Open {
            ino,
            access: OpenAccess {
                write,
                ..OpenAccess::default()
            }
        }),
        (ino(), any::<u32>()).prop_map(|(ino, opens)| Request::Release { ino, opens }),
        (ino(), any::<u64>(), lock(), any::<bool>()).prop_map(|(ino, ticket, lock, wait)| Request::Lock {
            ino,
            ticket: LockTicket(ticket),
            lock,
            wait
        }),
        (ino(), lock()).prop_map(|(ino, lock)| Request::Unlock {
            ino,
            owner: lock.owner,
            kind: lock.kind,
            span: lock.span
        }),
        (any::<u64>(), any::<bool>()).prop_map(|(ticket, give_back)| Request::CancelLock {
            ticket: LockTicket(ticket),
            give_back
        }),
        (ino(), lock()).prop_map(|(ino, lock)| Request::GetLock { ino, lock }),
        (ino(), any::<u64>(), any::<u64>(), any::<bool>()).prop_map(|(ino, start, end, allocate)| {
            Request::Layout {
                ino,
                start,
                end,
                allocate,
            }
        }),
        (ino(), any::<[u64; 2]>(), any::<[bool; 2]>()).prop_map(|(ino, [start, end], [keep_size, zero])| {
            Request::Allocate {
                ino,
                start,
                end,
                keep_size,
                zero,
            }
        }),
        (ino(), any::<u64>(), any::<u64>()).prop_map(|(ino, start, end)| Request::Punch { ino, start, end }),
        (ino(), any::<u64>(), any::<bool>()).prop_map(|(ino, offset, hole)| Request::Seek {
            ino,
            offset,
            hole
        }),
        (ino(), ino(), any::<[u64; 3]>()).prop_map(|(from, to, [from_offset, to_offset, len])| {
            Request::Copy {
                from,
                from_offset,
                to,
                to_offset,
                len,
            }
        }),
        (ino(), any::<u32>()).prop_map(|(ino, len)| Request::Append { ino, len }),
        (ino(), any::<u64>(), any::<u64>()).prop_map(|(ino, offset, add)| Request::Atomic {
            ino,
            offset,
            op: AtomicOp::FetchAdd(add)
        }),
        (ino(), any::<u64>(), any::<u64>()).prop_map(|(ino, expected, new)| Request::Atomic {
            ino,
            offset: 8,
            op: AtomicOp::CompareSwap { expected, new }
        }),
        (ino(), any::<u64>(), any::<u64>(), time(), any::<bool>()).prop_map(
            |(ino, size, truncate_seq, mtime, sync)| {
                Request::Commit {
                    ino,
                    size,
                    truncate_seq,
                    mtime,
                    clear_set_id: !sync,
                    sync,
                }
            }
        ),
    ]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..300)
}

fn xattr_request() -> impl Strategy<Value = Request> {
    let name = || "(user|trusted|security)[.][a-z]{1,9}".prop_map(|name| XattrName::new(name).unwrap());
    prop_oneof![
        (ino(), name(), any::<u32>(), any::<u32>()).prop_map(|(ino, name, from, limit)| Request::GetXattr {
            ino,
            name,
            from,
            limit
        }),
        ino().prop_map(|ino| Request::ListXattr { ino }),
        (any::<u64>(), value()).prop_map(|(token, part)| Request::StageXattr { token, part }),
        (ino(), name(), any::<Option<u64>>(), value(), any::<[bool; 2]>()).prop_map(
            |(ino, name, staged, value, [create, replace])| Request::SetXattr {
                ino,
                name,
                staged,
                value,
                mode: XattrMode { create, replace },
            }
        ),
        (ino(), name()).prop_map(|(ino, name)| Request::RemoveXattr { ino, name }),
        any::<bool>().prop_map(|take| Request::Leases { take }),
        any::<u64>().prop_map(|id| Request::Forgotten { recall: RecallId(id) }),
        ino().prop_map(|ino| Request::TakeRoomBack { ino }),
        (ino(), any::<u64>()).prop_map(|(ino, since)| Request::CatchUp {
            ino,
            since: Stamp(since)
        }),
        ino().prop_map(|ino| Request::StatFsAt { ino }),
        (ino(), any::<u32>()).prop_map(|(ino, bits)| Request::SetFlags {
            ino,
            flags: InodeFlags::known(bits)
        }),
    ]
}

pub(super) fn renew() -> Call {
    Call {
        session: SessionId(1),
        term: Term(2),
        id: RequestId(3),
        caller: Credentials::root(),
        access_time: AccessTime::Relative,
        request: Request::Renew,
        closes: Vec::new(),
    }
}

pub(super) fn call() -> impl Strategy<Value = Call> {
    let request = prop_oneof![tree_request(), file_request(), xattr_request()];
    let groups = prop::collection::vec(any::<u32>(), 0..40);
    (
        any::<u64>(),
        any::<u64>(),
        any::<u64>(),
        (
            any::<u32>(),
            any::<u32>(),
            groups,
            any::<[bool; 2]>(),
            0..0o1000_u16,
        ),
        prop::sample::select(vec![AccessTime::Relative, AccessTime::Strict, AccessTime::Never]),
        (request, prop::collection::vec((ino(), any::<u32>()), 0..4)),
    )
        .prop_map(
            |(
                session,
                term,
                id,
                (uid, gid, groups, [kernel_decides, groups_unseen], umask),
                access_time,
                (request, closes),
            )| Call {
                session: SessionId(session),
                term: Term(term),
                id: RequestId(id),
                caller: Credentials {
                    uid,
                    gid,
                    groups,
                    kernel_decides,
                    umask,
                    groups_unseen,
                },
                access_time,
                request,
                closes,
            },
        )
}

fn slice() -> impl Strategy<Value = LayoutSlice> {
    let states = prop::sample::select(vec![ReplicaState::Valid, ReplicaState::Lost, ReplicaState::Stale]);
    let run = (1u64..4, 1u64..4, 0u64..1000, states);
    prop::collection::vec(run, 0..50).prop_map(|list| {
        let mut at = 0;
        let runs = list.into_iter().map(|(gap, len, offset, state)| {
            let start = at + gap * GRANULE;
            at = start + len * GRANULE;
            let extent = Extent {
                node: NodeId(1),
                incarnation: Incarnation(2),
                offset: offset * GRANULE,
                len: len * GRANULE,
            };
            Run {
                start,
                replicas: vec![Replica { extent, state }],
            }
        });
        let runs = runs.collect();
        LayoutSlice {
            start: 0,
            end: at,
            truncate_seq: 3,
            runs,
        }
    })
}

#[expect(clippy::too_many_lines, reason = "a table: one line for each kind")]
pub(super) fn answer() -> impl Strategy<Value = Answer> {
    let entry = (prop::collection::vec(any::<u8>(), 1..256), any::<u64>(), attr());
    let entries = prop::collection::vec(
        entry.prop_map(|(name, cookie, attr)| DirEntry { name, cookie, attr }),
        0..20,
    );
    let arena = Arena {
        node: NodeId(1),
        incarnation: Incarnation(1),
        len: 5,
    };
    let begun = Begun {
        session: SessionId(1),
        pool: PoolId([9; 16]),
        term: Term(2),
        lease_ms: 3,
        arenas: vec![arena],
        wall: Timestamp {
            seconds: -4,
            nanos: 5,
        },
    };
    prop_oneof![
        Just(Ok(Reply::Done)),
        Just(Ok(Reply::Begun(begun))),
        (any::<i64>(), 0..1_000_000_000_u32).prop_map(|(seconds, nanos)| Ok(Reply::Renewed {
            wall: Timestamp { seconds, nanos }
        })),
        prop::collection::vec(ino(), 0..30).prop_map(|gone| Ok(Reply::Reopened { gone })),
        attr().prop_map(|attr| Ok(Reply::Attr(attr))),
        (attr(), slice(), any::<bool>()).prop_map(|(attr, layout, plain)| Ok(Reply::Opened {
            attr,
            layout,
            plain
        })),
        (any::<u32>(), any::<u64>(), value()).prop_map(|(total, edition, page)| Ok(Reply::Xattr {
            total,
            edition,
            page
        })),
        value().prop_map(|names| Ok(Reply::XattrNames(names))),
        prop::collection::vec(any::<u8>(), 0..4096).prop_map(|target| Ok(Reply::Target(target))),
        (entries, any::<bool>(), any::<u64>()).prop_map(|(entries, end, next)| Ok(Reply::Directory {
            entries,
            end,
            next
        })),
        (attr(), any::<bool>(), changed_names()).prop_map(|(attr, complete, names)| Ok(Reply::CaughtUp {
            attr,
            complete,
            names
        })),
        slice().prop_map(|layout| Ok(Reply::Layout(layout))),
        (any::<u64>(), attr(), slice()).prop_map(|(offset, attr, layout)| Ok(Reply::Appended {
            offset,
            attr,
            layout
        })),
        (any::<u64>(), slice()).prop_map(|(before, layout)| Ok(Reply::Atomic { before, layout })),
        (any::<u64>(), attr()).prop_map(|(end, attr)| Ok(Reply::Spaced { end, attr })),
        (any::<u64>(), attr()).prop_map(|(len, attr)| Ok(Reply::Copied { len, attr })),
        any::<u64>().prop_map(|at| Ok(Reply::Sought(Sought::At(at)))),
        any::<u64>().prop_map(|at| Ok(Reply::Sought(Sought::From(at)))),
        Just(Ok(Reply::Sought(Sought::Nowhere))),
        any::<u64>().prop_map(|total| Ok(Reply::Space(space(total)))),
        any::<u64>().prop_map(|names| Ok(Reply::Room(Room {
            space: space(5),
            names,
            names_free: 6,
        }))),
        examination().prop_map(|found| Ok(Reply::Examined(found))),
        Just(Ok(Reply::LockIs(LockState::Waiting))),
        prop::option::of(lock()).prop_map(|lock| Ok(Reply::LockedBy(lock))),
        Just(Err(MetaError::Cleaning)),
        Just(Err(MetaError::Unreachable)),
        Just(Err(MetaError::Delayed)),
        Just(Err(MetaError::QuotaExceeded)),
        Just(Err(MetaError::TextBusy)),
    ]
}

fn examination() -> impl Strategy<Value = Examination> {
    let text = || ".{0,60}";
    let problem = (prop::option::of(ino()), prop::option::of(text()), text(), text()).prop_map(
        |(inode, path, what, remedy)| Problem {
            kind: ProblemKind::Orphan,
            inode,
            path,
            what,
            remedy,
        },
    );
    (any::<[u64; 4]>(), prop::collection::vec(problem, 0..20)).prop_map(
        |([inodes, entries, bytes, wrong], problems)| Examination {
            inodes,
            entries,
            bytes,
            wrong,
            problems,
            lost: Lost {
                files: wrong,
                bytes,
                listed: vec![LostFile {
                    inode: InodeId(wrong),
                    path: None,
                    bytes,
                }],
            },
        },
    )
}

pub(super) fn stamped() -> impl Strategy<Value = StampedAnswer> {
    let changed = prop::collection::vec(attr(), 0..4);
    (any::<u64>(), changed, answer()).prop_map(|(stamp, changed, answer)| StampedAnswer {
        stamp: Stamp(stamp),
        changed,
        answer,
    })
}

pub(super) fn notice() -> impl Strategy<Value = Notice> {
    prop_oneof![
        (any::<u64>(), ino(), any::<u64>(), any::<u64>()).prop_map(|(recall, ino, from, truncate_seq)| {
            Notice::Recall {
                recall: RecallId(recall),
                ino,
                from,
                truncate_seq,
            }
        }),
        ino().prop_map(|ino| Notice::Capabilities { ino }),
        (ino(), any::<u64>()).prop_map(|(ino, version)| Notice::Changed {
            ino,
            version: Version(version)
        }),
        any::<u64>().prop_map(|ticket| Notice::Granted {
            ticket: LockTicket(ticket)
        }),
        (prop::option::of(any::<u64>()), ino(), any::<u64>()).prop_map(|(recall, ino, stamp)| {
            Notice::Forget {
                recall: recall.map(RecallId),
                ino,
                stamp: Stamp(stamp),
            }
        }),
    ]
}

fn space(total: u64) -> Space {
    Space {
        total,
        free: 1,
        inodes: 2,
        lost_files: 3,
        lost_bytes: 4,
    }
}
