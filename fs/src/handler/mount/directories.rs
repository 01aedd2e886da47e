//! The directories that programs have open at a mount.
//!
//! A pass over a directory, from its start to its end, shows no name that was made after it began: a program that renames what it meets
//! would go on for ever. And a directory that is removed while it is open keeps its attributes for those who have it open at this mount, as
//! a removed file keeps its bytes; the service has forgotten it.

use super::types::HandleId;
use crate::errno::Error;
use crate::handler::fair::FairPart;
use crate::handler::lock_order::Mutex;
use rdmafs_meta::attr::{Attr, FileKind};
use rdmafs_meta::id::InodeId;
use std::collections::HashMap;

/// The end of a pass that has not begun.
pub(in crate::handler) const UNKNOWN_END: u64 = u64::MAX;

/// One open directory.
#[derive(Debug)]
struct OpenDirectory {
    ino: InodeId,
    /// Of those of its user.
    _place: FairPart,
    /// The pass shows the places below this one; [`UNKNOWN_END`] before its first page.
    end: u64,
}

/// All of a mount.
#[derive(Debug, Default)]
pub(in crate::handler) struct Directories {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    handles: HashMap<HandleId, OpenDirectory>,
    /// By inode: how many handles, and the latest attributes.
    attrs: HashMap<InodeId, (u32, Attr)>,
}

impl Directories {
    /// A directory was opened, in which the next name gets the place `end`, or [`UNKNOWN_END`].
    pub(in crate::handler) fn opened(&self, handle: HandleId, (attr, end): (Attr, u64), place: FairPart) {
        let mut inner = self.inner.lock();
        let ino = attr.ino;
        let open = OpenDirectory {
            ino,
            _place: place,
            end,
        };
        inner.handles.insert(handle, open);
        let known = inner.attrs.entry(ino).or_insert((0, attr.clone()));
        *known = (known.0 + 1, attr);
    }

    /// The directory, and where its pass ends.
    ///
    /// # Errors
    /// [`Error::BadHandle`].
    pub(in crate::handler) fn get(&self, handle: HandleId) -> Result<(InodeId, u64), Error> {
        let inner = self.inner.lock();
        let open = inner.handles.get(&handle).ok_or(Error::BadHandle)?;
        Ok((open.ino, open.end))
    }

    /// The inodes of all that are open.
    pub(in crate::handler) fn inodes(&self) -> Vec<InodeId> {
        self.inner.lock().attrs.keys().copied().collect()
    }

    /// A new pass begins.
    pub(in crate::handler) fn begins(&self, handle: HandleId, end: u64) {
        if let Some(open) = self.inner.lock().handles.get_mut(&handle) {
            open.end = end;
        }
    }

    /// # Errors
    /// [`Error::BadHandle`].
    pub(in crate::handler) fn closed(&self, handle: HandleId) -> Result<(), Error> {
        let mut inner = self.inner.lock();
        let open = inner.handles.remove(&handle).ok_or(Error::BadHandle)?;
        if let Some(known) = inner.attrs.get_mut(&open.ino) {
            known.0 -= 1;
            if known.0 == 0 {
                inner.attrs.remove(&open.ino);
            }
        }
        // The place is given back after the lock.
        drop(inner);
        drop(open);
        Ok(())
    }

    /// The service's attributes of an inode, or those that a removed directory was left with.
    pub(in crate::handler) fn saw(&self, attr: &Attr) {
        if attr.kind == FileKind::Directory
            && let Some((_, known)) = self.inner.lock().attrs.get_mut(&attr.ino)
        {
            *known = attr.clone();
        }
    }

    /// The attributes of a directory that the service does not know any more; `None` when nobody has it open here, and for the root, which
    /// nobody removes.
    pub(in crate::handler) fn removed(&self, ino: InodeId) -> Option<Attr> {
        let inner = self.inner.lock();
        let known = inner.attrs.get(&ino).filter(|_| ino != InodeId::ROOT);
        known.map(|(_, attr)| Attr {
            nlink: 0,
            ..attr.clone()
        })
    }
}
