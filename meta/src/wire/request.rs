//! What a handler may ask of the service. What answers each is [`Reply`](super::Reply)'s to say.

use crate::attr::{FileKind, SetAttr};
use crate::flags::InodeFlags;
use crate::id::{ClientOwner, InodeId, LockOwner, LockTicket, PoolId, RecallId, RequestId, Stamp};
use crate::lock::{Lock, LockKind, Span};
use crate::name::Name;
use crate::time::Timestamp;
use crate::xattr::XattrName;
use serde::{Deserialize, Serialize};

/// The longest target of a symbolic link, in bytes (PATH_MAX less its terminator).
pub const MAX_SYMLINK: usize = 4095;

/// Most bytes of an extended attribute's value in one message: a longer value goes in two, and comes in pages.
pub const MAX_XATTR_PART: usize = 32 * 1024;

/// Most first parts of values that the service keeps for a session; the oldest goes for one more.
pub const MAX_STAGED: usize = 4;

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
    /// A pipe, socket or device node. Devices other than [`NewInode::WHITEOUT`]: root only.
    Special {
        /// Fifo, socket, character or block device.
        kind: FileKind,
        /// Device number.
        rdev: u32,
    },
    /// A regular file, opened for the session as by `File`, which gets space for its first bytes where there is ample (version 4). What of it is
    /// not written goes back with the last open, or by [`Request::TakeRoomBack`].
    OpenFile {
        /// Bytes, at most [`MAX_ROOM`].
        room: u32,
    },
}

/// The most space that a new file may be given when it is made.
pub const MAX_ROOM: u32 = 64 * 1024;

impl NewInode {
    /// What a layer of overlayfs has in the place of a name that it hides. No device: everybody may make one (mknod(2), since Linux 5.8).
    pub const WHITEOUT: NewInode = NewInode::Special {
        kind: FileKind::CharDevice,
        rdev: 0,
    };
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
    /// To write at its end only (O_APPEND): so an append-only file may be opened.
    pub append: bool,
}

impl OpenAccess {
    /// To write, whatever else.
    pub const WRITING: OpenAccess = OpenAccess {
        read: false,
        write: true,
        execute: false,
        truncate: false,
        append: false,
    };
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
    /// RENAME_WHITEOUT: replace what is there, and leave a whiteout (a character device 0:0) under the old name.
    Whiteout,
    /// RENAME_WHITEOUT with RENAME_NOREPLACE.
    WhiteoutNoReplace,
}

impl RenameMode {
    /// Nothing that is there may be replaced.
    #[must_use]
    pub fn spares(self) -> bool {
        matches!(self, RenameMode::NoReplace | RenameMode::WhiteoutNoReplace)
    }

    /// The old name leads to a whiteout afterwards.
    #[must_use]
    pub fn leaves_whiteout(self) -> bool {
        matches!(self, RenameMode::Whiteout | RenameMode::WhiteoutNoReplace)
    }
}

/// What becomes of 8 bytes of a file, which are a number in little-endian order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AtomicOp {
    /// This is added, modulo 2^64.
    FetchAdd(u64),
    /// They are replaced if they are as expected.
    CompareSwap {
        /// The 8 bytes change only if they are this.
        expected: u64,
        /// What the 8 bytes become.
        new: u64,
    },
}

/// `setxattr(2)` flags. Both together are taken, and nothing can be set with them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct XattrMode {
    /// XATTR_CREATE: only what is not there.
    pub create: bool,
    /// XATTR_REPLACE: only what is there.
    pub replace: bool,
}

/// What a handler may ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Begin a session, or go on with that of the client owner whose connection broke. Answer: `Reply::Begun`.
    Begin {
        /// The client host, for `status` and logs.
        host: String,
        /// Of the handler's connections to this pool.
        client_owner: ClientOwner,
        /// The pool that is meant, if the handler knows it: a service of another one answers `MetaError::OtherPool`.
        pool: Option<PoolId>,
    },
    /// Renew the lease. Answer: `Reply::Renewed`.
    Renew,
    /// In a session that took the place of another one: these inodes are open, this many times in all, for writing too. What the
    /// session before wrote to them and did not commit is lost. Answer: `Reply::Reopened`.
    Reopen {
        /// Inode and number of opens.
        opens: Vec<(InodeId, u32)>,
    },
    /// A layout recall is complete: nothing is in flight on it and nothing will be posted. Answer: `Reply::Done`.
    Recalled {
        /// The recall that is acknowledged.
        recall: RecallId,
    },
    /// Find a name. Needs x on the directory. Answer: `Reply::Attr`.
    Lookup {
        /// The directory.
        parent: InodeId,
        /// Name in it; the special names "." and ".." are not names.
        name: Name,
    },
    /// The parent of a directory (for ".."). Answer: `Reply::Attr`.
    Parent {
        /// The directory.
        ino: InodeId,
    },
    /// Attributes. Answer: `Reply::Attr`.
    GetAttr {
        /// The inode.
        ino: InodeId,
    },
    /// Change attributes. Answer: `Reply::Attr`.
    SetAttr {
        /// The inode.
        ino: InodeId,
        /// The attributes that change, and what they become.
        change: SetAttr,
        /// The size is changed through a handle open for writing: mode bits are not asked again.
        by_handle: bool,
    },
    /// Make an inode under a name. Answer: `Reply::Attr`, or `Reply::Opened` for `File { open: true }`.
    Make {
        /// The directory.
        parent: InodeId,
        /// Its name.
        name: Name,
        /// What.
        what: NewInode,
        /// Permission bits; the caller's umask is already applied.
        mode: u16,
    },
    /// Another name for an inode. Answer: `Reply::Attr`.
    Link {
        /// The inode.
        ino: InodeId,
        /// Directory of the new name.
        parent: InodeId,
        /// New name.
        name: Name,
    },
    /// Remove a name of anything but a directory. Answer: `Reply::Done`.
    Unlink {
        /// The directory.
        parent: InodeId,
        /// The name, of 1 to 255 bytes.
        name: Name,
    },
    /// Remove an empty directory. Answer: `Reply::Done`.
    RemoveDir {
        /// Directory that holds it.
        parent: InodeId,
        /// The name, of 1 to 255 bytes.
        name: Name,
    },
    /// Rename. Answer: `Reply::Done`.
    Rename {
        /// From this directory.
        parent: InodeId,
        /// The name that is taken away.
        name: Name,
        /// To this directory.
        new_parent: InodeId,
        /// The name that the inode gets.
        new_name: Name,
        /// Whether the new name may be there: as renameat2(2).
        mode: RenameMode,
    },
    /// Target of a symbolic link. Answer: `Reply::Target`.
    ReadLink {
        /// The link.
        ino: InodeId,
    },
    /// A page of a directory. Answer: `Reply::Directory`.
    ReadDir {
        /// The directory.
        ino: InodeId,
        /// Entries whose cookie is greater; 0 from the start. "." has cookie 1, ".." has 2.
        after: u64,
        /// At most this many entries (the service may send fewer).
        limit: u32,
    },
    /// Open a regular file; the session counts one open. Answer: `Reply::Opened`.
    Open {
        /// The file.
        ino: InodeId,
        /// What the file is opened for.
        access: OpenAccess,
    },
    /// Give back opens. Answer: `Reply::Done`.
    Release {
        /// The file.
        ino: InodeId,
        /// How many opens.
        opens: u32,
    },
    /// Take a lock, in the place of what its owner has of these bytes. Asking again under the same ticket asks how it stands.
    /// Answer: `Reply::LockIs`, held or waiting.
    Lock {
        /// The file; the session has it open.
        ino: InodeId,
        /// Names this asking.
        ticket: LockTicket,
        /// The lock.
        lock: Lock,
        /// Wait in the queue, and be told by `Notice::Granted`; else `MetaError::Locked` when somebody has it.
        wait: bool,
    },
    /// Give locks back. Harmless to repeat. Answer: `Reply::Done`.
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
    /// Wait no longer. Answer: `Reply::LockIs`, held if it was granted before and is kept.
    CancelLock {
        /// Which asking.
        ticket: LockTicket,
        /// Give it back if it was granted before, and its owner has asked for nothing since.
        give_back: bool,
    },
    /// The lock that would be in the way of this one (F_GETLK). Answer: `Reply::LockedBy`.
    GetLock {
        /// The file; the session has it open.
        ino: InodeId,
        /// The lock.
        lock: Lock,
    },
    /// Where bytes are; the session holds the layout from then on. Answer: `Reply::Layout`.
    Layout {
        /// The file; the session has it open.
        ino: InodeId,
        /// The first byte of the range, counted from the beginning of the file.
        start: u64,
        /// One past the last byte wanted; the answer may cover less, never nothing, and more when a file grows at its
        /// end: that space is filled ahead, and trimmed when nobody has the file open any more.
        end: u64,
        /// Fill holes with extents; the session has the file open for writing. What lies in lost extents stays there
        /// and is shown as lost.
        allocate: bool,
    },
    /// Give the range space, as far as one call goes: zeroed where there was a hole, and with `zero` everywhere. Nothing is taken when
    /// the pool has not enough for all of it. Answer: `Reply::Spaced`; the size grows with the call that reaches the end.
    Allocate {
        /// The file; the session has it open for writing.
        ino: InodeId,
        /// The first byte of the range, counted from the beginning of the file.
        start: u64,
        /// One past the last byte.
        end: u64,
        /// The size stays, also when the range ends past it.
        keep_size: bool,
        /// What is there becomes zeros.
        zero: bool,
    },
    /// Make the range zeros and give up its space, as far as one call goes; the size stays. Answer: `Reply::Spaced`.
    Punch {
        /// The file; the session has it open for writing.
        ino: InodeId,
        /// The first byte of the range, counted from the beginning of the file.
        start: u64,
        /// One past the last byte.
        end: u64,
    },
    /// Where the next hole, or the next byte that is none, is. Answer: `Reply::Sought`.
    Seek {
        /// The file; the session has it open.
        ino: InodeId,
        /// From here on.
        offset: u64,
        /// A hole; else data.
        hole: bool,
    },
    /// Copy bytes within the pool, as far as one call goes. Holes over holes stay holes. Answer: `Reply::Copied`.
    Copy {
        /// The file to copy from; the session has it open.
        from: InodeId,
        /// Where the bytes that are copied begin.
        from_offset: u64,
        /// The file to copy to; the session has it open for writing. It may be the same, when the ranges do not overlap.
        to: InodeId,
        /// Where the copied bytes go.
        to_offset: u64,
        /// Bytes, above 0.
        len: u64,
    },
    /// Reserve the next `len` bytes at the end of the file for O_APPEND: the size grows at once. Answer: `Reply::Appended`.
    Append {
        /// The file; the session has it open for writing.
        ino: InodeId,
        /// Bytes, 1 to 1 MiB.
        len: u32,
    },
    /// Change 8 bytes of the file, of which nothing else is seen meanwhile. Answer: `Reply::Atomic`.
    Atomic {
        /// The file; the session has it open for writing.
        ino: InodeId,
        /// First of the bytes, a multiple of 8; all of them lie within the size.
        offset: u64,
        /// The operation on the 8 bytes.
        op: AtomicOp,
    },
    /// Make what was written part of the file; the version rises. Who wrote nothing sends [`Request::Sync`] instead.
    /// Answer: `Reply::Attr`.
    Commit {
        /// The file; the session has it open for writing.
        ino: InodeId,
        /// The file is at least this long, unless it has shrunk since `truncate_seq`.
        size: u64,
        /// `Attr::truncate_seq` as it was when the bytes were written.
        truncate_seq: u64,
        /// Time of the last write.
        mtime: Timestamp,
        /// A caller without CAP_FSETID wrote: clear set-id bits, as `Call::caller` is of the file's group or not.
        clear_set_id: bool,
        /// Answer only when the store has it (fsync).
        sync: bool,
    },
    /// Wait until everything answered so far is in the store (fsync of a directory). Answer: `Reply::Done`.
    Sync,
    /// Space of the pool. Answer: `Reply::Space`.
    StatFs,
    /// What an earlier request of this session, whose answer was lost, was answered with; `MetaError::NotDone` if it was not served,
    /// is idempotent, or is long past.
    Outcome {
        /// The request.
        of: RequestId,
    },
    /// After `Notice::Drain`: everything written is committed. Answer: `Reply::Done`.
    Drained,
    /// What is wrong with the namespace. Needs no session; root only. Answer: `Reply::Examined`.
    Examine {
        /// Leave so many problems out, which earlier answers told.
        skip: u64,
    },
    /// A page of the value of an extended attribute. Answer: `Reply::Xattr`.
    GetXattr {
        /// The inode.
        ino: InodeId,
        /// The attribute's name, with its namespace (`user.` and so on).
        name: XattrName,
        /// The first byte of the value that is wanted.
        from: u32,
        /// At most this many bytes (the service sends no more than [`MAX_XATTR_PART`]).
        limit: u32,
    },
    /// The names of an inode's extended attributes, those that the caller may see. Answer: `Reply::XattrNames`.
    ListXattr {
        /// The inode.
        ino: InodeId,
    },
    /// Keep this, the first part of a value, for a [`Request::SetXattr`] that follows; no longer than the session, and no more than
    /// [`MAX_STAGED`] of them. Answer: `Reply::Done`.
    StageXattr {
        /// Names it within the session; the same one again replaces it.
        token: u64,
        /// At most [`MAX_XATTR_PART`].
        part: Vec<u8>,
    },
    /// Set an extended attribute. Answer: `Reply::Attr`, or `MetaError::NotStaged`.
    SetXattr {
        /// The inode.
        ino: InodeId,
        /// The attribute's name, with its namespace (`user.` and so on).
        name: XattrName,
        /// The first part of the value, staged before; it is used up.
        staged: Option<u64>,
        /// The value, or what follows that part; at most [`MAX_XATTR_PART`].
        value: Vec<u8>,
        /// Whether the attribute may, must or must not be there: as setxattr(2).
        mode: XattrMode,
    },
    /// Remove an extended attribute. Answer: `Reply::Attr`.
    RemoveXattr {
        /// The inode.
        ino: InodeId,
        /// The attribute's name, with its namespace (`user.` and so on).
        name: XattrName,
    },
    /// Give a file or directory these inode flags, and no others. Answer: `Reply::Attr`.
    SetFlags {
        /// The inode.
        ino: InodeId,
        /// All flags that the inode is to have.
        flags: InodeFlags,
    },
    /// `take`: from now on the session believes what it is told of attributes and names, and gives it up when [`Notice::Forget`]
    /// asks for it; else it believes nothing any more. Whatever it believed before, it has forgotten. Answer: `Reply::Done`.
    ///
    /// [`Notice::Forget`]: super::Notice::Forget
    Leases {
        /// It takes leases.
        take: bool,
    },
    /// What a [`Notice::Forget`] named is forgotten: nothing of it is shown to any program any more. Answer: `Reply::Done`.
    ///
    /// [`Notice::Forget`]: super::Notice::Forget
    Forgotten {
        /// The recall that is acknowledged.
        recall: RecallId,
    },
    /// This session made the file as a [`NewInode::OpenFile`] and has written nothing to its first bytes: their space goes back, unless the file has
    /// a size, or another session has had it open, which may have written there (version 4). Answer: `Reply::Attr`.
    TakeRoomBack {
        /// The file; the session has it open.
        ino: InodeId,
    },
    /// What changed in a directory of which the session knew all names once (version 5). Answer: `Reply::CaughtUp`; `Reply::Attr` for who may
    /// not search the directory.
    CatchUp {
        /// The directory.
        ino: InodeId,
        /// The session knew all names as they were then: the stamp of an answer of this term.
        since: Stamp,
    },
    /// Space for who makes or writes files in a directory: that of the pool, and names (version 6). Answer: `Reply::Room`.
    StatFsAt {
        /// The directory, or a file in it.
        ino: InodeId,
    },
}
