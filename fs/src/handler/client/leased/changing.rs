//! What calls that are under way may be changing at this moment.
//!
//! From when such a call is sent until its answer is taken in, what it changes is answered by the service only: another host may see
//! the change before its answer is here. A call whose answer never comes may be carried out at any time as long as the connection lives; what it changes
//! stays so until then.

use super::named::{Named, Place};
use rdmafs_meta::id::{InodeId, Stamp};
use rdmafs_meta::name::Name;
use rdmafs_meta::wire::Request;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// What a request changes, as far as it says so itself.
#[derive(Debug, Default)]
pub(super) struct Target<'a> {
    /// Attributes of these.
    pub(super) inodes: [Option<InodeId>; 2],
    /// What these names lead to.
    pub(super) names: [Option<(InodeId, &'a Name)>; 2],
    /// Also the attributes of the inodes that the names lead to.
    pub(super) named: bool,
    /// Its answer reports all that it changes of these: what that does not bring is as it was.
    pub(super) reported: bool,
}

impl<'a> Target<'a> {
    /// `None`: the request changes nothing that is held.
    pub(super) fn of(request: &'a Request) -> Option<Self> {
        match request {
            Request::SetAttr { ino, .. } | Request::SetFlags { ino, .. } => Some(Self::inode(*ino)),
            Request::SetXattr { ino, .. } | Request::RemoveXattr { ino, .. } => Some(Self::inode(*ino)),
            // Reading renews access times.
            Request::ReadLink { ino } | Request::ReadDir { ino, .. } => Some(Self::reported(*ino)),
            Request::Open { ino, .. } | Request::Release { ino, .. } => Some(Self::reported(*ino)),
            Request::Layout { ino, allocate, .. } => allocate.then(|| Self::reported(*ino)),
            Request::Allocate { ino, .. } | Request::Punch { ino, .. } => Some(Self::inode(*ino)),
            Request::Append { ino, .. } | Request::Atomic { ino, .. } => Some(Self::inode(*ino)),
            Request::TakeRoomBack { ino } => Some(Self::inode(*ino)),
            Request::Commit { ino, .. } => Some(Self::inode(*ino)),
            Request::Copy { from, to, .. } => Some(Self {
                inodes: [Some(*from), Some(*to)],
                ..Self::default()
            }),
            Request::Make { parent, name, .. } => Some(Self::name(*parent, name, None)),
            Request::Link { ino, parent, name } => Some(Self::name(*parent, name, Some(*ino))),
            Request::Unlink { parent, name } | Request::RemoveDir { parent, name } => Some(Self {
                named: true,
                ..Self::name(*parent, name, None)
            }),
            Request::Rename {
                parent,
                name,
                new_parent,
                new_name,
                ..
            } => Some(Self {
                inodes: [Some(*parent), Some(*new_parent)],
                names: [Some((*parent, name)), Some((*new_parent, new_name))],
                named: true,
                reported: false,
            }),
            Request::Begin { .. } | Request::Renew | Request::Reopen { .. } => None,
            Request::Recalled { .. } | Request::Leases { .. } | Request::Forgotten { .. } => None,
            Request::Lookup { .. } | Request::Parent { .. } | Request::GetAttr { .. } => None,
            Request::CatchUp { .. } => None,
            Request::Lock { .. } | Request::Unlock { .. } => None,
            Request::CancelLock { .. } | Request::GetLock { .. } => None,
            Request::Seek { .. }
            | Request::Sync
            | Request::StatFs
            | Request::StatFsAt { .. }
            | Request::Outcome { .. } => None,
            Request::Drained | Request::Examine { .. } | Request::StageXattr { .. } => None,
            Request::GetXattr { .. } | Request::ListXattr { .. } => None,
        }
    }

    fn inode(ino: InodeId) -> Self {
        Self {
            inodes: [Some(ino), None],
            ..Self::default()
        }
    }

    fn name(parent: InodeId, name: &'a Name, ino: Option<InodeId>) -> Self {
        Self {
            inodes: [Some(parent), ino],
            names: [Some((parent, name)), None],
            ..Self::default()
        }
    }

    fn reported(ino: InodeId) -> Self {
        Self {
            reported: true,
            ..Self::inode(ino)
        }
    }
}

/// What one call may be changing, which may be nothing.
#[derive(Debug, Default)]
pub(in crate::handler) struct Change {
    /// Of what was held when it was sent.
    pub(super) generation: u64,
    /// Attributes of these.
    pub(super) inodes: Vec<InodeId>,
    /// What these names lead to.
    pub(super) names: Vec<Place>,
    /// What was held of those names, each since when: from that it is known which inodes change with them.
    pub(super) relies_on: Vec<(Stamp, Named)>,
    /// Attributes of an inode of which it is not known which one it is.
    pub(super) any: bool,
    /// What its answer does not bring is as it was.
    pub(super) reported: bool,
    /// Extended attributes of these inodes change too: file capabilities go with a change of bytes.
    pub(super) extras: bool,
}

impl Change {
    /// It changes something that may be held.
    pub(in crate::handler) fn is_some(&self) -> bool {
        !self.inodes.is_empty()
    }
}

/// A name that calls may be changing.
#[derive(Debug, Default)]
struct NameInFlight {
    calls: u32,
    /// More than these calls may have changed it since the first of them was sent: what it led to then says nothing any more.
    contested: bool,
}

/// What all calls under way may be changing; as many entries as there are calls.
#[derive(Debug, Default)]
pub(super) struct Changing {
    inodes: HashMap<InodeId, u32>,
    names: HashMap<Place, NameInFlight>,
    /// Calls that change some inode, and contested names: each may change the attributes of any inode.
    any: u32,
}

impl Changing {
    /// A call is sent.
    pub(super) fn begins(&mut self, change: &Change) {
        for ino in &change.inodes {
            *self.inodes.entry(*ino).or_default() += 1;
        }
        for place in &change.names {
            let name = self.names.entry(place.clone()).or_default();
            name.calls += 1;
            if name.calls > 1 {
                self.any += u32::from(!std::mem::replace(&mut name.contested, true));
            }
        }
        self.any += u32::from(change.any);
    }

    /// Another session changes something in the directory.
    pub(super) fn contest(&mut self, directory: InodeId) {
        if !self.inodes.contains_key(&directory) {
            return;
        }
        for (place, name) in &mut self.names {
            if place.0 == directory {
                self.any += u32::from(!std::mem::replace(&mut name.contested, true));
            }
        }
    }

    /// Its answer is taken in.
    pub(super) fn ends(&mut self, change: &Change) {
        for ino in &change.inodes {
            if let Entry::Occupied(mut calls) = self.inodes.entry(*ino) {
                *calls.get_mut() -= 1;
                let _last = (*calls.get() == 0).then(|| calls.remove());
            }
        }
        for place in &change.names {
            if let Entry::Occupied(mut name) = self.names.entry(place.clone()) {
                name.get_mut().calls -= 1;
                let last = (name.get().calls == 0).then(|| name.remove());
                self.any -= u32::from(last.is_some_and(|name| name.contested));
            }
        }
        self.any -= u32::from(change.any);
    }

    /// True when the attributes of the inode may be changing.
    pub(super) fn has_inode(&self, ino: InodeId) -> bool {
        self.any > 0 || self.inodes.contains_key(&ino)
    }

    /// True when what the name leads to may be changing.
    pub(super) fn has_name(&self, place: &Place) -> bool {
        self.names.contains_key(place)
    }

    /// True when others than one call may have changed what the name leads to.
    pub(super) fn is_contested(&self, place: &Place) -> bool {
        self.names.get(place).is_some_and(|name| name.contested)
    }
}
