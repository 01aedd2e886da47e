//! All records of a store, in the order in which they make sense.

use super::reader::{Reader, Reading};
use crate::id::InodeId;
use crate::namespace::{format, record};
use crate::problem::ProblemKind;
use crate::store::{Store, StoreError};
use crate::time::Timestamp;
use std::collections::BTreeSet;

/// Reads all records. Blocking.
///
/// # Errors
/// The store's; [`StoreError::NewerFormat`]. Damage is none.
pub(in crate::namespace) fn read(store: &dyn Store, now: Timestamp) -> Result<Reading, StoreError> {
    format::refuse_newer(store)?;
    let mut reader = Reader::new(now);
    let mut each = |prefix: &[u8], take: fn(&mut Reader, &[u8], &[u8])| {
        store.scan(prefix, &mut |key, value| {
            take(&mut reader, key, value);
            Ok(())
        })
    };
    each(record::HEAD, Reader::head)?;
    each(record::INODES, Reader::inode)?;
    each(record::ENTRIES, Reader::entry)?;
    each(record::SEGMENTS, Reader::segment)?;
    each(record::XATTRS, Reader::xattr)?;
    each(record::HOLDERS, Reader::holder)?;
    let ours = [
        record::HEAD,
        record::INODES,
        record::ENTRIES,
        record::SEGMENTS,
        record::XATTRS,
        record::HOLDERS,
    ];
    for first in 0..=u8::MAX {
        if !ours.contains(&&[first][..]) {
            each(&[first], Reader::unknown)?;
        }
    }
    Ok(reader.finish())
}

impl Reader {
    fn finish(mut self) -> Reading {
        for (parent, name, ino) in std::mem::take(&mut self.displaced) {
            // It is a directory: asked before.
            let _there = self.reading.tree.put_entry(parent, &name, ino);
        }
        for ino in std::mem::take(&mut self.relaid) {
            self.touch(ino);
            let _there = self.reading.tree.edit_layout(ino, |_| ((), BTreeSet::new()));
        }
        let without_root = !self.reading.is_new && self.reading.tree.get(InodeId::ROOT).is_err();
        if without_root && !self.said_no_root() {
            let remedy = "make it anew, with mode 0700 and owned by root";
            let what = "there is no root directory";
            self.report(ProblemKind::NoRoot, InodeId::ROOT, what, remedy);
        }
        if without_root {
            let (root, now) = (InodeId::ROOT, self.now);
            self.reading.tree.make_directory(root, root, now);
        }
        self.check_head();
        self.reading
    }

    pub(super) fn said_no_root(&self) -> bool {
        self.reading
            .found
            .iter()
            .any(|found| found.kind == ProblemKind::NoRoot)
    }
}
