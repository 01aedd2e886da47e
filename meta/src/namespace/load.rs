//! Reading a namespace back from its store.
//!
//! Names and attributes are all there. Bytes are not: until an arena is added every copy is lost, and a new incarnation
//! leaves it so. Space past a file's size was never committed, so the load drops it; files without names go too.

use super::output::Config;
use super::persist::ID_BLOCK;
use super::record::{self, EntryRecord, InodeRecord, PieceRecord, decode, number, split_key};
use super::service::Namespace;
use crate::alloc::Allocator;
use crate::id::{InodeId, Term};
use crate::layout::CopyState;
use crate::name::Name;
use crate::session::Sessions;
use crate::store::{Batch, Store, StoreError};
use crate::time::Now;
use crate::tree::{Body, Inode, Tree};
use std::collections::{BTreeMap, BTreeSet};

type Inodes = BTreeMap<InodeId, Inode>;

impl Namespace {
    /// Loads what the store holds, or makes a root directory in an empty one. The new [`Term`] and a fresh block of
    /// inode ids are committed before this returns. Blocking: call it before serving.
    ///
    /// # Errors
    /// The store's, or that what it holds is no namespace.
    pub fn load(store: &mut dyn Store, config: Config, now: Now) -> Result<Self, StoreError> {
        let term = Term(store.term()?.0 + 1);
        store.take_over(term)?;
        let next = check_head(store, config.ids_after)?;
        let mut inodes = read_inodes(store)?;
        read_entries(store, &mut inodes)?;
        let stray = read_pieces(store, &mut inodes)?;
        let doomed = inodes
            .values()
            .filter(|inode| inode.attr.nlink == 0)
            .map(|inode| inode.attr.ino)
            .collect();
        let mut loaded = Namespace {
            term,
            sessions: Sessions::new(term, config.lease),
            tree: Tree::new(inodes, next),
            alloc: Allocator::default(),
            doomed,
            ceiling: InodeId(next.0 + ID_BLOCK / 2),
            config,
        };
        loaded.make_sound(now);
        loaded.check().map_err(StoreError::Damaged)?;
        let head = (record::FORMAT_KEY.to_vec(), Some(vec![record::FORMAT]));
        let removals = stray.into_iter().map(|key| (key, None));
        let changes: Vec<_> = [head]
            .into_iter()
            .chain(loaded.take_changes())
            .chain(removals)
            .collect();
        store.commit(&Batch::split(changes), term)?;
        Ok(loaded)
    }

    fn make_sound(&mut self, now: Now) {
        if self.tree.len() == 0 {
            let (owner, mode) = (self.config.root_owner, self.config.root_mode);
            self.tree.make_root(owner, mode, now.wall);
        }
        let loose = self.tree.iter().filter(|inode| match &inode.body {
            Body::File { layout, .. } => layout.end() > crate::extent::granule_ceil(inode.attr.size),
            _ => false,
        });
        let loose: Vec<(InodeId, u64)> = loose.map(|inode| (inode.attr.ino, inode.attr.size)).collect();
        for (ino, size) in loose {
            // Nothing is freed: the extents are of no arena that is known yet.
            let _lost = self.tree.edit_layout(ino, |layout| layout.cut(size));
        }
    }
}

/// The format must be ours; gives the first inode id that was never used.
fn check_head(store: &dyn Store, ids_after: InodeId) -> Result<InodeId, StoreError> {
    let mut next = InodeId(ids_after.max(InodeId::ROOT).0 + 1);
    store.scan(b"M", &mut |key, value| match key {
        record::FORMAT_KEY if value == [record::FORMAT] => Ok(()),
        record::FORMAT_KEY => Err(StoreError::Damaged(format!("format {value:?} is not known here"))),
        record::CEILING_KEY => number(value).map(|ceiling| next = InodeId(ceiling)),
        _ => Ok(()),
    })?;
    if next.0 > u64::MAX / 2 {
        return Err(StoreError::Damaged("the inode ids are used up".into()));
    }
    Ok(next)
}

fn read_inodes(store: &dyn Store) -> Result<Inodes, StoreError> {
    let mut inodes = Inodes::new();
    store.scan(record::INODES, &mut |key, value| {
        let (ino, _) = split_key(key)?;
        let mut inode = decode::<InodeRecord>(key, value)?.into_inode();
        inode.attr.allocated = 0;
        if inode.attr.ino != ino {
            return Err(StoreError::Damaged(format!(
                "inode {ino} says that it is {}",
                inode.attr.ino
            )));
        }
        inodes.insert(ino, inode);
        Ok(())
    })?;
    Ok(inodes)
}

fn read_entries(store: &dyn Store, inodes: &mut Inodes) -> Result<(), StoreError> {
    store.scan(record::ENTRIES, &mut |key, value| {
        let (parent, name) = split_key(key)?;
        let (cookie, ino): EntryRecord = decode(key, value)?;
        let name = Name::new(name).ok();
        let directory = inodes.get_mut(&parent).map(|inode| &mut inode.body);
        let restored = match (directory, name) {
            (Some(Body::Directory(directory)), Some(name)) => directory.restore(&name, cookie, ino),
            _ => false,
        };
        if !restored {
            return Err(StoreError::Damaged(format!(
                "directory {parent} has an impossible entry"
            )));
        }
        Ok(())
    })
}

/// Restores the layouts. Gives the keys of pieces that belong to no file any more.
fn read_pieces(store: &dyn Store, inodes: &mut Inodes) -> Result<BTreeSet<Vec<u8>>, StoreError> {
    let mut stray = BTreeSet::new();
    store.scan(record::PIECES, &mut |key, value| {
        let (ino, _) = split_key(key)?;
        let Some(Inode {
            attr,
            body: Body::File { layout, .. },
        }) = inodes.get_mut(&ino)
        else {
            stray.insert(key.to_vec());
            return Ok(());
        };
        for mut run in decode::<PieceRecord>(key, value)? {
            if layout.overlapping(run.start, run.end()).next().is_some() {
                return Err(StoreError::Damaged(format!(
                    "inode {ino} has two places for one byte"
                )));
            }
            run.copies
                .iter_mut()
                .for_each(|copy| copy.state = CopyState::Lost);
            layout.insert(run);
        }
        attr.allocated = layout.allocated();
        Ok(())
    })?;
    Ok(stray)
}
