//! A value of each variant of each enum that crosses the wire, in the order of the variants.

use super::Pins;
use super::beside;
use super::values::{attr, begun, caller, changed_names, examination, ino, layout, lock, name, room, time};
use crate::attr::{FileKind, SetAttr, SetTime};
use crate::error::MetaError;
use crate::flags::InodeFlags;
use crate::id::{
    ClientOwner, InodeId, LockOwner, LockTicket, PoolId, RecallId, RequestId, SessionId, Stamp, Term, Version,
};
use crate::layout::ReplicaState;
use crate::lock::{LockKind, LockState, Span};
use crate::problem::ProblemKind;
use crate::time::AccessTime;
use crate::wire::{
    AtomicOp, Call, DirEntry, NewInode, Notice, OpenAccess, RenameMode, Reply, Request, Sought, Space,
    StampedAnswer, WireVersion, XattrMode,
};
use crate::xattr::XattrName;

pub(super) fn pin(pins: &mut Pins) {
    pins.pin("Call", &call());
    let closes = Call {
        closes: vec![(ino(300), 1), (ino(301), 302)],
        ..call()
    };
    let bytes = crate::wire::encode(&closes, WireVersion::FOURTH).unwrap();
    pins.pin_bytes("Call since version 4", &bytes);
    pins.pin("Answer Ok", &Ok::<_, MetaError>(Reply::Done));
    pins.pin("Answer Err", &Err::<Reply, _>(MetaError::Exists));
    let stamped = StampedAnswer {
        stamp: Stamp(300),
        changed: vec![attr()],
        answer: Err(MetaError::Exists),
    };
    pins.pin("StampedAnswer", &stamped);
    beside::pin(pins, &closes, stamped);
    pins.pin_all("Request", &requests());
    pins.pin_all("Reply", &replies());
    pins.pin_all("Notice", &notices());
    pins.pin_all("MetaError", &errors());
    pin_parts(pins);
}

/// What messages are made of.
fn pin_parts(pins: &mut Pins) {
    use FileKind::{BlockDevice, CharDevice, Directory, Fifo, Regular, Socket, Symlink};
    use RenameMode::{Exchange, NoReplace, Replace, Whiteout, WhiteoutNoReplace};
    pins.pin_all(
        "FileKind",
        &[Regular, Directory, Symlink, Fifo, Socket, CharDevice, BlockDevice],
    );
    pins.pin_all("SetTime", &[SetTime::Now, SetTime::At(time(1))]);
    pins.pin_all(
        "AccessTime",
        &[AccessTime::Relative, AccessTime::Strict, AccessTime::Never],
    );
    pins.pin_all("NewInode", &new_inodes());
    pins.pin_all(
        "RenameMode",
        &[Replace, NoReplace, Exchange, Whiteout, WhiteoutNoReplace],
    );
    let (expected, new) = (300, 301);
    pins.pin_all(
        "AtomicOp",
        &[AtomicOp::FetchAdd(300), AtomicOp::CompareSwap { expected, new }],
    );
    pins.pin_all(
        "LockKind",
        &[LockKind::Flock, LockKind::Posix, LockKind::Ofd, LockKind::Unknown],
    );
    pins.pin_all(
        "LockState",
        &[LockState::Held, LockState::Waiting, LockState::Free],
    );
    pins.pin_all(
        "ReplicaState",
        &[ReplicaState::Valid, ReplicaState::Lost, ReplicaState::Stale],
    );
    pins.pin_all("Sought", &[Sought::At(300), Sought::From(301), Sought::Nowhere]);
    pins.pin_all("ProblemKind", &problem_kinds());
}

fn call() -> Call {
    Call {
        session: SessionId(300),
        term: Term(301),
        id: RequestId(302),
        caller: caller(),
        access_time: AccessTime::Strict,
        request: Request::StatFs,
        closes: Vec::new(),
    }
}

fn requests() -> Vec<Request> {
    let mut all = vec![
        Request::Begin {
            host: "host".into(),
            client_owner: ClientOwner([7; 16]),
            pool: Some(PoolId([8; 16])),
        },
        Request::Renew,
        Request::Reopen {
            opens: vec![(ino(1), 2), (ino(3), 4)],
        },
        Request::Recalled {
            recall: RecallId(300),
        },
    ];
    all.extend(requests_about_names());
    all.extend(requests_about_open_files());
    all.extend(requests_about_bytes());
    all.extend([
        Request::Sync,
        Request::StatFs,
        Request::Outcome { of: RequestId(300) },
        Request::Drained,
        Request::Examine { skip: 300 },
    ]);
    all.extend(requests_about_xattrs());
    all.push(Request::SetFlags {
        ino: ino(1),
        flags: InodeFlags::IMMUTABLE,
    });
    all.push(Request::Leases { take: true });
    all.push(Request::Forgotten {
        recall: RecallId(300),
    });
    all.push(Request::TakeRoomBack { ino: ino(300) });
    all.push(Request::CatchUp {
        ino: ino(300),
        since: Stamp(301),
    });
    all.push(Request::StatFsAt { ino: ino(300) });
    all
}

#[expect(clippy::too_many_lines, reason = "a table: one line for each kind")]
fn requests_about_names() -> Vec<Request> {
    let (parent, name) = (ino(1), name("name"));
    let change = SetAttr {
        mode: Some(0o640),
        uid: Some(1000),
        gid: Some(1001),
        size: Some(300),
        atime: Some(SetTime::Now),
        mtime: Some(SetTime::At(time(1))),
    };
    vec![
        Request::Lookup {
            parent,
            name: name.clone(),
        },
        Request::Parent { ino: ino(2) },
        Request::GetAttr { ino: ino(2) },
        Request::SetAttr {
            ino: ino(2),
            change,
            by_handle: true,
        },
        Request::Make {
            parent,
            name: name.clone(),
            what: NewInode::File { open: true },
            mode: 0o640,
        },
        Request::Link {
            ino: ino(2),
            parent,
            name: name.clone(),
        },
        Request::Unlink {
            parent,
            name: name.clone(),
        },
        Request::RemoveDir {
            parent,
            name: name.clone(),
        },
        Request::Rename {
            parent,
            name: name.clone(),
            new_parent: ino(2),
            new_name: name,
            mode: RenameMode::Exchange,
        },
        Request::ReadLink { ino: ino(2) },
        Request::ReadDir {
            ino: ino(2),
            after: 300,
            limit: 301,
        },
    ]
}

fn requests_about_open_files() -> Vec<Request> {
    let access = OpenAccess {
        read: true,
        write: false,
        execute: true,
        truncate: false,
        append: true,
    };
    vec![
        Request::Open { ino: ino(1), access },
        Request::Release {
            ino: ino(1),
            opens: 2,
        },
        Request::Lock {
            ino: ino(1),
            ticket: LockTicket(300),
            lock: lock(),
            wait: true,
        },
        Request::Unlock {
            ino: ino(1),
            owner: LockOwner(300),
            kind: LockKind::Ofd,
            span: Span::WHOLE,
        },
        Request::CancelLock {
            ticket: LockTicket(300),
            give_back: true,
        },
        Request::GetLock {
            ino: ino(1),
            lock: lock(),
        },
    ]
}

fn requests_about_bytes() -> Vec<Request> {
    let (ino, start, end) = (ino(1), 300, 301);
    vec![
        Request::Layout {
            ino,
            start,
            end,
            allocate: true,
        },
        Request::Allocate {
            ino,
            start,
            end,
            keep_size: true,
            zero: false,
        },
        Request::Punch { ino, start, end },
        Request::Seek {
            ino,
            offset: 300,
            hole: true,
        },
        Request::Copy {
            from: ino,
            from_offset: 300,
            to: InodeId(2),
            to_offset: 301,
            len: 302,
        },
        Request::Append { ino, len: 300 },
        Request::Atomic {
            ino,
            offset: 304,
            op: AtomicOp::FetchAdd(1),
        },
        Request::Commit {
            ino,
            size: 300,
            truncate_seq: 301,
            mtime: time(1),
            clear_set_id: true,
            sync: false,
        },
    ]
}

fn requests_about_xattrs() -> Vec<Request> {
    let (ino, name) = (ino(1), XattrName::new("user.name").unwrap());
    vec![
        Request::GetXattr {
            ino,
            name: name.clone(),
            from: 300,
            limit: 301,
        },
        Request::ListXattr { ino },
        Request::StageXattr {
            token: 300,
            part: vec![1, 2, 3],
        },
        Request::SetXattr {
            ino,
            name: name.clone(),
            staged: Some(300),
            value: vec![4, 5],
            mode: XattrMode {
                create: true,
                replace: false,
            },
        },
        Request::RemoveXattr { ino, name },
    ]
}

fn replies() -> Vec<Reply> {
    let mut all = vec![
        Reply::Done,
        Reply::Begun(begun()),
        Reply::Reopened {
            gone: vec![ino(1), ino(2)],
        },
        Reply::Attr(attr()),
        Reply::Opened {
            attr: attr(),
            layout: layout(),
            plain: true,
        },
        Reply::Target(b"target".to_vec()),
        Reply::Directory {
            entries: vec![DirEntry {
                name: b"name".to_vec(),
                cookie: 300,
                attr: attr(),
            }],
            end: true,
            next: 301,
        },
        Reply::Layout(layout()),
        Reply::Appended {
            offset: 300,
            attr: attr(),
            layout: layout(),
        },
        Reply::Atomic {
            before: 300,
            layout: layout(),
        },
        Reply::Spaced {
            end: 300,
            attr: attr(),
        },
        Reply::Sought(Sought::At(300)),
        Reply::Copied {
            len: 300,
            attr: attr(),
        },
    ];
    all.extend(replies_about_the_rest());
    all
}

fn replies_about_the_rest() -> Vec<Reply> {
    vec![
        Reply::Space(Space {
            total: 300,
            free: 301,
            inodes: 302,
            lost_files: 303,
            lost_bytes: 304,
        }),
        Reply::Examined(examination()),
        Reply::Xattr {
            total: 300,
            edition: 301,
            page: vec![1, 2],
        },
        Reply::XattrNames(b"user.name\0".to_vec()),
        Reply::LockIs(LockState::Waiting),
        Reply::LockedBy(Some(lock())),
        Reply::Renewed { wall: time(1) },
        Reply::CaughtUp {
            attr: attr(),
            complete: true,
            names: changed_names(),
        },
        Reply::Room(room()),
    ]
}

fn notices() -> Vec<Notice> {
    vec![
        Notice::Recall {
            recall: RecallId(300),
            ino: ino(1),
            from: 301,
            truncate_seq: 302,
        },
        Notice::Changed {
            ino: ino(1),
            version: Version(300),
        },
        Notice::Drain,
        Notice::Capabilities { ino: ino(1) },
        Notice::Granted {
            ticket: LockTicket(300),
        },
        Notice::Forget {
            recall: Some(RecallId(300)),
            ino: ino(1),
            stamp: Stamp(301),
        },
    ]
}

fn errors() -> Vec<MetaError> {
    use MetaError as E;
    vec![
        E::NotFound,
        E::Exists,
        E::NotDirectory,
        E::IsDirectory,
        E::NotEmpty,
        E::AccessDenied,
        E::NotOwner,
        E::Invalid,
        E::NameTooLong,
        E::TooManyLinks,
        E::TooBig,
        E::NoSpace,
        E::Cleaning,
        E::Lost,
        E::BeyondEnd,
        E::Stale,
        E::SessionEnded,
        E::Unsupported,
        E::StoreFailed,
        E::StillConnected,
        E::Draining,
        E::NotDone,
        E::NoXattr,
        E::XattrTooBig,
        E::XattrsFull,
        E::NotStaged,
        E::Locked,
        E::Deadlock,
        E::TooManyLocks,
        E::OtherPool,
        E::Protected,
        E::Unreachable,
        E::Delayed,
        E::QuotaExceeded,
        E::TextBusy,
    ]
}

fn new_inodes() -> Vec<NewInode> {
    vec![
        NewInode::File { open: true },
        NewInode::Directory,
        NewInode::Symlink(b"target".to_vec()),
        NewInode::Special {
            kind: FileKind::BlockDevice,
            rdev: 300,
        },
        NewInode::OpenFile { room: 300 },
    ]
}

fn problem_kinds() -> Vec<ProblemKind> {
    use ProblemKind as K;
    vec![
        K::UnknownFormat,
        K::MalformedKey,
        K::MalformedValue,
        K::BadCeiling,
        K::WrongInodeId,
        K::BadAttribute,
        K::NoRoot,
        K::LostDirectory,
        K::EntryOfNonDirectory,
        K::BadName,
        K::BadCookie,
        K::DanglingEntry,
        K::DirectoryWithTwoNames,
        K::Orphan,
        K::WrongLinks,
        K::WrongParent,
        K::StraySegment,
        K::RunInWrongSegment,
        K::BadRun,
        K::OverlappingRuns,
        K::SharedExtent,
        K::ExtentBeyondArena,
        K::WrongAllocated,
        K::LooseSpace,
        K::WrongSum,
        K::WrongOpens,
        K::StrayXattr,
        K::BadXattr,
    ]
}
