//! What the service answers.

use crate::attr::Attr;
use crate::id::{Incarnation, InodeId, NodeId, PoolId, SessionId, Term};
use crate::layout::LayoutSlice;
use crate::lock::{Lock, LockState};
use crate::name::Name;
use crate::problem::Examination;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// What the service answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The request was carried out; there is nothing more to say.
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
        /// The attributes of the opened file.
        attr: Attr,
        /// The first part of its layout, read access granted.
        layout: LayoutSlice,
        /// It has no file capabilities; when it gets some from another session, `Notice::Capabilities` says so.
        plain: bool,
    },
    /// Target bytes of a symbolic link.
    Target(Vec<u8>),
    /// A page of a directory.
    Directory {
        /// Entries of the directory in the order of their cookies.
        entries: Vec<DirEntry>,
        /// No entries stand after these.
        end: bool,
        /// Above the place of each entry there is: a name that is made later gets this one or a higher one.
        next: u64,
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
    /// 8 bytes were changed, or, unlike what was expected, left alone.
    Atomic {
        /// What the 8 bytes were before.
        before: u64,
        /// Where they lie, write access granted.
        layout: LayoutSlice,
    },
    /// A change of a range's space.
    Spaced {
        /// Done up to here; go on from here.
        end: u64,
        /// The file's attributes now.
        attr: Attr,
    },
    /// What a seek found.
    Sought(Sought),
    /// Bytes were copied.
    Copied {
        /// So many; 0 at the end of the source only.
        len: u64,
        /// The target's attributes now.
        attr: Attr,
    },
    /// How much space the pool has.
    Space(Space),
    /// What was found wrong, or a page of it.
    Examined(Examination),
    /// A page of the value of an extended attribute.
    Xattr {
        /// Bytes of the whole value.
        total: u32,
        /// No two values that the attribute has ever had have the same one: pages with different ones do not fit together.
        edition: u64,
        /// One page of the value.
        page: Vec<u8>,
    },
    /// Names of extended attributes, a NUL after each.
    XattrNames(Vec<u8>),
    /// How it stands with a lock.
    LockIs(LockState),
    /// The lock that is in the way: the one that starts first. Its process is 0 when it is one of another session.
    LockedBy(Option<Lock>),
    /// The lease was renewed.
    Renewed {
        /// The service's wall clock: all times of a pool are of it.
        wall: Timestamp,
    },
    /// What changed in a directory (version 5).
    CaughtUp {
        /// The directory's attributes.
        attr: Attr,
        /// No other name changed since then. Else nobody knows what did, and nothing is said of names.
        complete: bool,
        /// The names that changed, as they are now.
        names: Vec<ChangedName>,
    },
    /// Space for bytes and for names (version 6).
    Room(Room),
}

/// What a seek for a hole or for data found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sought {
    /// What was sought begins at this offset.
    At(u64),
    /// Not before here: ask again from here.
    From(u64),
    /// Nowhere before the end of the file, or the offset is not before it.
    Nowhere,
}

/// A session's terms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// The session's id.
    pub session: SessionId,
    /// The pool that is served.
    pub pool: PoolId,
    /// The service's term.
    pub term: Term,
    /// The lease runs this long without renewal, in milliseconds.
    pub lease_ms: u64,
    /// The arenas of the pool, first that of the node which says so: over the link that carries this no other one is reached.
    pub arenas: Vec<Arena>,
    /// The service's wall clock: all times of a pool are of it.
    pub wall: Timestamp,
}

/// An arena as clients know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arena {
    /// The node.
    pub node: NodeId,
    /// The present incarnation of the node's arena.
    pub incarnation: Incarnation,
    /// Size of the arena in bytes.
    pub len: u64,
}

/// One directory entry with the attributes of its inode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirEntry {
    /// Name; "." and ".." are plain bytes here.
    pub name: Vec<u8>,
    /// Position: the next page starts after it. Stable while the entry exists.
    pub cookie: u64,
    /// The attributes of what the entry names.
    pub attr: Attr,
}

/// A name that changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedName {
    /// The name.
    pub name: Name,
    /// The attributes of what it names now; `None`: it is not there.
    pub attr: Option<Attr>,
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
    /// Files that have lost bytes.
    pub lost_files: u64,
    /// Bytes that files have lost, in units of memory.
    pub lost_bytes: u64,
}

/// What `statfs(2)` shows, with room for names: each inode takes one, each further name of it another, and extended attributes and link
/// targets take one for each KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// Of bytes.
    pub space: Space,
    /// Names that there may be.
    pub names: u64,
    /// Names that can be added by who may use all of it.
    pub names_free: u64,
}

impl Reply {
    /// The attributes in it, in their order.
    #[must_use]
    pub fn attributes(&self) -> Vec<&Attr> {
        match self {
            Self::Attr(attr)
            | Self::Opened { attr, .. }
            | Self::Appended { attr, .. }
            | Self::Spaced { attr, .. }
            | Self::Copied { attr, .. } => vec![attr],
            Self::Directory { entries, .. } => entries.iter().map(|entry| &entry.attr).collect(),
            Self::CaughtUp { attr, names, .. } => {
                let named = names.iter().filter_map(|name| name.attr.as_ref());
                named.chain([attr]).collect()
            }
            Self::Done | Self::Begun(_) | Self::Reopened { .. } | Self::Target(_) => Vec::new(),
            Self::Layout(_) | Self::Atomic { .. } | Self::Sought(_) | Self::Space(_) => Vec::new(),
            Self::Examined(_) | Self::Xattr { .. } | Self::XattrNames(_) => Vec::new(),
            Self::LockIs(_) | Self::LockedBy(_) | Self::Renewed { .. } | Self::Room(_) => Vec::new(),
        }
    }

    /// The same, to be completed.
    pub(super) fn attributes_mut(&mut self) -> Vec<&mut Attr> {
        match self {
            Self::Attr(attr)
            | Self::Opened { attr, .. }
            | Self::Appended { attr, .. }
            | Self::Spaced { attr, .. }
            | Self::Copied { attr, .. } => vec![attr],
            Self::Directory { entries, .. } => entries.iter_mut().map(|entry| &mut entry.attr).collect(),
            Self::CaughtUp { attr, names, .. } => {
                let named = names.iter_mut().filter_map(|name| name.attr.as_mut());
                named.chain([attr]).collect()
            }
            Self::Done | Self::Begun(_) | Self::Reopened { .. } | Self::Target(_) => Vec::new(),
            Self::Layout(_) | Self::Atomic { .. } | Self::Sought(_) | Self::Space(_) => Vec::new(),
            Self::Examined(_) | Self::Xattr { .. } | Self::XattrNames(_) => Vec::new(),
            Self::LockIs(_) | Self::LockedBy(_) | Self::Renewed { .. } | Self::Room(_) => Vec::new(),
        }
    }
}
