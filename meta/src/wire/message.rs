//! The wire form of every metadata message.
//!
//! A handler sends a [`Call`], the service answers with an [`Answer`]; it may also send a
//! [`Notice`] of its own accord. Which is which, and to what it answers, is the link's framing. Notices that a call causes for the calling session are sent before
//! its answer, on the same ordered connection: when the answer is there, the notices were seen.
//! Encoding is postcard; decoding is total: any bytes give a message or a [`WireError`](super::WireError), never a panic.
//! One encoded message is at most [`MAX_MESSAGE`] bytes; long answers (directories, layouts) come in pages.

use crate::attr::{Attr, FileKind, SetAttr};
use crate::cred::Credentials;
use crate::error::MetaError;
use crate::id::{
    Incarnation, InodeId, Lineage, LockOwner, LockTicket, NodeId, RecallId, RequestId, SessionId, Term,
    Version,
};
use crate::layout::LayoutSlice;
use crate::lock::{Lock, LockKind, LockState, Span};
use crate::name::Name;
use crate::problem::Examination;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The longest encoded message, in bytes.
pub const MAX_MESSAGE: usize = 60 * 1024;

/// The longest target of a symbolic link, in bytes (PATH_MAX less its terminator).
pub const MAX_SYMLINK: usize = 4095;

/// One request, with everything that makes a retry recognisable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The session; 0 in [`Request::Begin`].
    pub session: SessionId,
    /// The service's term as the handler knows it; 0 in [`Request::Begin`].
    pub term: Term,
    /// Rises within the session; [`RequestId::NOT_KEPT`] where a retry is harmless.
    pub id: RequestId,
    /// Who asks.
    pub caller: Credentials,
    /// What is asked.
    pub request: Request,
}

/// What a call is answered with.
pub type Answer = Result<Reply, MetaError>;

/// What a new inode shall be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NewInode {
    /// A regular file; `open` also opens it for the session.
    File {
        /// Count one open of it by this session.
        open: bool,
    },
    /// A directory.
    Directory,
    /// A symbolic link with this target, at most [`MAX_SYMLINK`] bytes.
    Symlink(Vec<u8>),
    /// A pipe, socket or device node. Devices: root only.
    Special {
        /// Fifo, socket, character or block device.
        kind: FileKind,
        /// Device number.
        rdev: u32,
    },
}

/// How a file is opened; `execute` stands for `FMODE_EXEC` and asks x instead of r.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenAccess {
    /// For reading.
    pub read: bool,
    /// For writing.
    pub write: bool,
    /// To run it.
    pub execute: bool,
    /// Cut it to nothing (O_TRUNC).
    pub truncate: bool,
}

/// `renameat2(2)` flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RenameMode {
    /// Replace what is there.
    Replace,
    /// RENAME_NOREPLACE.
    NoReplace,
    /// RENAME_EXCHANGE.
    Exchange,
}

/// What a handler may ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Begin a session, or go on with that of the lineage whose connection broke. Answer: [`Reply::Begun`].
    Begin {
        /// The client host, for `status` and logs.
        host: String,
        /// Of the handler's connections to this pool.
        lineage: Lineage,
    },
    /// Renew the lease. Answer: [`Reply::Done`].
    Renew,
    /// In a session that took the place of another one: these inodes are open, this many times in all, for writing too. What the
    /// session before wrote to them and did not commit is lost. Answer: [`Reply::Reopened`].
    Reopen {
        /// Inode and number of opens.
        opens: Vec<(InodeId, u32)>,
    },
    /// A layout recall is complete: nothing is in flight on it and nothing will be posted. Answer: [`Reply::Done`].
    Recalled {
        /// Which.
        recall: RecallId,
    },
    /// Find a name. Needs x on the directory. Answer: [`Reply::Attr`].
    Lookup {
        /// Directory.
        parent: InodeId,
        /// Name in it; the special names "." and ".." are not names.
        name: Name,
    },
    /// The parent of a directory (for ".."). Answer: [`Reply::Attr`].
    Parent {
        /// Directory.
        ino: InodeId,
    },
    /// Attributes. Answer: [`Reply::Attr`].
    GetAttr {
        /// Of what.
        ino: InodeId,
    },
    /// Change attributes. Answer: [`Reply::Attr`].
    SetAttr {
        /// Of what.
        ino: InodeId,
        /// How.
        change: SetAttr,
        /// The size is changed through a handle open for writing: mode bits are not asked again.
        by_handle: bool,
    },
    /// Make an inode under a name. Answer: [`Reply::Attr`], or [`Reply::Opened`] for `File { open: true }`.
    Make {
        /// Directory.
        parent: InodeId,
        /// Its name.
        name: Name,
        /// What.
        what: NewInode,
        /// Permission bits; the caller's umask is already applied.
        mode: u16,
    },
    /// Another name for an inode. Answer: [`Reply::Attr`].
    Link {
        /// The inode.
        ino: InodeId,
        /// Directory of the new name.
        parent: InodeId,
        /// New name.
        name: Name,
    },
    /// Remove a name of anything but a directory. Answer: [`Reply::Done`].
    Unlink {
        /// Directory.
        parent: InodeId,
        /// Name.
        name: Name,
    },
    /// Remove an empty directory. Answer: [`Reply::Done`].
    RemoveDir {
        /// Directory that holds it.
        parent: InodeId,
        /// Name.
        name: Name,
    },
    /// Rename. Answer: [`Reply::Done`].
    Rename {
        /// From this directory.
        parent: InodeId,
        /// This name.
        name: Name,
        /// To this directory.
        new_parent: InodeId,
        /// This name.
        new_name: Name,
        /// Flags.
        mode: RenameMode,
    },
    /// Target of a symbolic link. Answer: [`Reply::Target`].
    ReadLink {
        /// The link.
        ino: InodeId,
    },
    /// A page of a directory. Answer: [`Reply::Directory`].
    ReadDir {
        /// Directory.
        ino: InodeId,
        /// Entries whose cookie is greater; 0 from the start. "." has cookie 1, ".." has 2.
        after: u64,
        /// At most this many entries (the service may send fewer).
        limit: u32,
    },
    /// Open a regular file; the session counts one open. Answer: [`Reply::Opened`].
    Open {
        /// The file.
        ino: InodeId,
        /// How.
        access: OpenAccess,
    },
    /// Give back opens. Answer: [`Reply::Done`].
    Release {
        /// The file.
        ino: InodeId,
        /// How many opens.
        opens: u32,
    },
    /// Take a lock, in the place of what its owner has of these bytes. Asking again under the same ticket asks how it stands.
    /// Answer: [`Reply::LockIs`], held or waiting.
    Lock {
        /// The file; the session has it open.
        ino: InodeId,
        /// Names this asking.
        ticket: LockTicket,
        /// The lock.
        lock: Lock,
        /// Wait in the queue, and be told by [`Notice::Granted`]; else [`MetaError::Locked`] when somebody has it.
        wait: bool,
    },
    /// Give locks back. Harmless to repeat. Answer: [`Reply::Done`].
    Unlock {
        /// The file.
        ino: InodeId,
        /// Whose.
        owner: LockOwner,
        /// Of this kind, and those whose kind could not be told; all if it is not known.
        kind: LockKind,
        /// In these bytes.
        span: Span,
    },
    /// Wait no longer. Answer: [`Reply::LockIs`], held if it was granted before and is kept.
    CancelLock {
        /// Which asking.
        ticket: LockTicket,
        /// Give it back if it was granted before, and its owner has asked for nothing since.
        give_back: bool,
    },
    /// The lock that would be in the way of this one (F_GETLK). Answer: [`Reply::LockedBy`].
    GetLock {
        /// The file; the session has it open.
        ino: InodeId,
        /// The lock.
        lock: Lock,
    },
    /// Where bytes are; the session holds the layout from then on. Answer: [`Reply::Layout`].
    Layout {
        /// The file; the session has it open.
        ino: InodeId,
        /// First byte.
        start: u64,
        /// One past the last byte wanted; the answer may cover less, never nothing, and more when a file grows at its
        /// end: that space is filled ahead, and trimmed when nobody has the file open any more.
        end: u64,
        /// Fill holes with extents; the session has the file open for writing. What lies in lost extents stays there
        /// and is shown as lost.
        allocate: bool,
    },
    /// Reserve the next `len` bytes at the end of the file for O_APPEND: the size grows at once. Answer: [`Reply::Appended`].
    Append {
        /// The file; the session has it open for writing.
        ino: InodeId,
        /// Bytes, 1 to 1 MiB.
        len: u32,
    },
    /// Make what was written part of the file; the version rises. Who wrote nothing sends [`Request::Sync`] instead.
    /// Answer: [`Reply::Attr`].
    Commit {
        /// The file; the session has it open for writing.
        ino: InodeId,
        /// The file is at least this long, unless it has shrunk since `shrinks`.
        size: u64,
        /// [`Attr::shrinks`] as it was when the bytes were written.
        shrinks: u64,
        /// Time of the last write.
        mtime: Timestamp,
        /// A caller without CAP_FSETID wrote: clear set-id bits.
        clear_set_id: bool,
        /// Answer only when the store has it (fsync).
        sync: bool,
    },
    /// Wait until everything answered so far is in the store (fsync of a directory). Answer: [`Reply::Done`].
    Sync,
    /// Space of the pool. Answer: [`Reply::Space`].
    StatFs,
    /// What an earlier request of this session, whose answer was lost, was answered with; [`MetaError::NotDone`] if it was not served,
    /// is harmless to repeat, or is long past.
    Outcome {
        /// The request.
        of: RequestId,
    },
    /// After [`Notice::Drain`]: everything written is committed. Answer: [`Reply::Done`].
    Drained,
    /// What is wrong with the namespace. Needs no session; root only. Answer: [`Reply::Examined`].
    Examine {
        /// Leave so many problems out, which earlier answers told.
        skip: u64,
    },
}

/// What the service answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Nothing to say.
    Done,
    /// A session has begun.
    Begun(Begun),
    /// What became of the reopened inodes.
    Reopened {
        /// These do not exist any more.
        gone: Vec<InodeId>,
    },
    /// Attributes of the inode that the request is about.
    Attr(Attr),
    /// An opened file.
    Opened {
        /// Its attributes.
        attr: Attr,
        /// The first part of its layout, read access granted.
        layout: LayoutSlice,
    },
    /// Target bytes of a symbolic link.
    Target(Vec<u8>),
    /// A page of a directory.
    Directory {
        /// In cookie order.
        entries: Vec<DirEntry>,
        /// No entries stand after these.
        end: bool,
    },
    /// A part of a layout, starting at the start asked for.
    Layout(LayoutSlice),
    /// A reserved range at the end of a file.
    Appended {
        /// First byte of the range.
        offset: u64,
        /// Attributes with the new size.
        attr: Attr,
        /// Where the range lies, write access granted.
        layout: LayoutSlice,
    },
    /// Space.
    Space(Space),
    /// What was found wrong, or a page of it.
    Examined(Examination),
    /// How it stands with a lock.
    LockIs(LockState),
    /// The lock that is in the way: the one that starts first. Its process is 0 when it is one of another session.
    LockedBy(Option<Lock>),
}

/// A session's terms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// Its id.
    pub session: SessionId,
    /// The service's term.
    pub term: Term,
    /// The lease runs this long without renewal, in milliseconds.
    pub lease_ms: u64,
    /// The arenas of the pool.
    pub arenas: Vec<Arena>,
}

/// An arena as clients know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arena {
    /// The node.
    pub node: NodeId,
    /// Its present life.
    pub incarnation: Incarnation,
    /// Bytes.
    pub len: u64,
}

/// One directory entry with the attributes of its inode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirEntry {
    /// Name; "." and ".." are plain bytes here.
    pub name: Vec<u8>,
    /// Position: the next page starts after it. Stable while the entry exists.
    pub cookie: u64,
    /// Attributes.
    pub attr: Attr,
}

/// What `statfs(2)` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    /// Bytes of all arenas.
    pub total: u64,
    /// Bytes free or being cleaned.
    pub free: u64,
    /// Inodes that exist.
    pub inodes: u64,
}

/// What the service tells a session of its own accord.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Notice {
    /// Give up the layout of `ino` from file offset `from` on; answer with [`Request::Recalled`]
    /// once nothing is in flight on it. The extents are reused after that.
    Recall {
        /// Round.
        recall: RecallId,
        /// Inode.
        ino: InodeId,
        /// First file offset.
        from: u64,
        /// [`Attr::shrinks`] from now on.
        shrinks: u64,
    },
    /// Another session changed the file's layout: forget what you know of it, holes too.
    Changed {
        /// Inode.
        ino: InodeId,
        /// Its version now.
        version: Version,
    },
    /// The node ends soon: commit what is written and answer with [`Request::Drained`].
    Drain,
    /// A lock that was waited for is held now.
    Granted {
        /// Which asking.
        ticket: LockTicket,
    },
}
