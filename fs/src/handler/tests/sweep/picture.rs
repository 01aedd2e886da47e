//! What a host sees of a whole pool, and what it may see after a fault.

use super::lab::{Did, Lab, ROOT};
use crate::handler::{ReadData, XattrData};
use rdmafs_meta::attr::FileKind;
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::extent::{GRANULE, granule_ceil};
use rdmafs_meta::flags::InodeFlags;
use rdmafs_meta::id::InodeId;
use std::collections::BTreeMap;

/// A name and what it leads to, without bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    ino: InodeId,
    kind: FileKind,
    nlink: u32,
    mode: u16,
    owner: u32,
    flags: InodeFlags,
    target: Vec<u8>,
    xattrs: BTreeMap<Vec<u8>, XattrData>,
}

/// A file's bytes, a granule at a time; `Err` where reading is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Content {
    size: u64,
    allocated: u64,
    granules: Vec<Did<Vec<u8>>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Picture {
    names: BTreeMap<Vec<u8>, Named>,
    files: BTreeMap<InodeId, Content>,
}

/// How much a fault may have undone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowed {
    /// Names are those after at least so many acts, and at most one more than were answered.
    pub(super) names: (usize, usize),
    /// Bytes likewise.
    pub(super) bytes: (usize, usize),
    /// The arena was lost: what had bytes is refused.
    pub(super) lost: bool,
}

impl Picture {
    /// What the second host sees.
    pub(super) fn take(lab: &mut Lab) -> Self {
        let host = lab.b;
        let root = Credentials::root;
        let listing = lab
            .call(host, |mount| Box::pin(mount.opendir(root(), ROOT)))
            .unwrap();
        let entries = lab
            .call(host, |mount| Box::pin(mount.readdir(listing, 0, 1000)))
            .unwrap();
        lab.call(host, |mount| Box::pin(mount.releasedir(listing)))
            .unwrap();
        let mut picture = Self::default();
        for entry in entries.into_iter().skip(2) {
            let attr = entry.attr;
            let target = match attr.kind {
                FileKind::Symlink => lab
                    .call(host, |mount| Box::pin(mount.readlink(root(), attr.ino)))
                    .unwrap(),
                _ => Vec::new(),
            };
            let named = Named {
                ino: attr.ino,
                kind: attr.kind,
                nlink: attr.nlink,
                mode: attr.mode,
                owner: attr.uid,
                flags: attr.flags,
                target,
                xattrs: xattrs(lab, attr.ino),
            };
            picture.names.insert(entry.name, named);
            if attr.kind == FileKind::Regular {
                let content = Content::take(lab, attr.ino);
                picture.files.insert(attr.ino, content);
            }
        }
        picture
    }

    /// Names, to remove them.
    pub(super) fn names(&self) -> impl Iterator<Item = (&str, bool)> {
        let names = self.names.iter();
        names.map(|(name, named)| {
            (
                std::str::from_utf8(name).unwrap(),
                named.kind == FileKind::Directory,
            )
        })
    }

    /// Bytes that the files hold.
    pub(super) fn allocated(&self) -> u64 {
        self.files.values().map(|content| content.allocated).sum()
    }

    /// # Panics
    /// It is none of the pictures after each number of acts, as far as `allowed` lets it be.
    pub(super) fn check(&self, states: &[Picture], allowed: Allowed) {
        let (least, most) = allowed.names;
        let most = most.min(states.len() - 1);
        let fits = (least..=most).any(|at| states[at].names == self.names);
        let names: Vec<_> = states[least..=most].iter().map(|state| &state.names).collect();
        assert!(fits, "{:?} is none of {names:?}", self.names);
        let (least, most) = allowed.bytes;
        let states = &states[least..=most.min(states.len() - 1)];
        for (ino, content) in &self.files {
            let known: Vec<_> = states.iter().filter_map(|state| state.files.get(ino)).collect();
            content.check(&known, allowed.lost);
        }
    }
}

/// Extended attributes with their values.
pub(super) fn xattrs(lab: &mut Lab, ino: InodeId) -> BTreeMap<Vec<u8>, XattrData> {
    const ROOM: u32 = 1 << 16;
    // What the host holds by lease is for whom the kernel has judged.
    let judged = || Credentials {
        kernel_decides: true,
        ..Credentials::root()
    };
    let host = lab.b;
    let listed = lab
        .call(host, |mount| Box::pin(mount.listxattr(judged(), ino, ROOM)))
        .unwrap();
    let XattrData::Bytes(names) = listed else {
        panic!("{listed:?}")
    };
    let mut found = BTreeMap::new();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let asked = name.to_vec();
        let value = lab.call(host, |mount| Box::pin(mount.getxattr(judged(), ino, asked, ROOM)));
        found.insert(name.to_vec(), value.unwrap());
    }
    found
}

impl Content {
    fn take(lab: &mut Lab, ino: InodeId) -> Self {
        let host = lab.b;
        let root = Credentials::root;
        let attr = lab
            .call(host, |mount| Box::pin(mount.getattr(root(), ino)))
            .unwrap()
            .attr;
        assert!(attr.allocated <= granule_ceil(attr.size), "space past the end");
        let mode = super::lab::RW;
        let opened = lab
            .call(host, |mount| Box::pin(mount.open(root(), ino, mode)))
            .unwrap();
        let mut granules = Vec::new();
        for at in 0..attr.size.div_ceil(GRANULE) {
            let read = lab.call(host, |mount| {
                Box::pin(mount.read(opened.handle, at * GRANULE, 4096))
            });
            granules.push(read.map(|data| match data {
                ReadData::Bytes(buffer) => buffer.to_vec(),
                ReadData::Zeros(len) => vec![0; len],
                ReadData::End => panic!("an end before the size"),
            }));
        }
        lab.call(host, |mount| Box::pin(mount.release(opened.handle)))
            .unwrap();
        Self {
            size: attr.size,
            allocated: attr.allocated,
            granules,
        }
    }

    fn at(&self, granule: usize, byte: usize) -> u8 {
        let Some(Ok(bytes)) = self.granules.get(granule) else {
            return 0;
        };
        bytes.get(byte).copied().unwrap_or(0)
    }

    /// Every byte is what it was after some number of acts; what was lost is refused and never shown as zeros.
    fn check(&self, states: &[&Content], lost: bool) {
        let sizes = || states.iter().map(|state| state.size);
        let (least, most) = (sizes().min().unwrap(), sizes().max().unwrap());
        assert!(
            (least..=most).contains(&self.size),
            "size {} of {least}..={most}",
            self.size
        );
        for (at, granule) in self.granules.iter().enumerate() {
            match granule {
                Err(failure) => {
                    assert!(lost, "granule {at}: {failure:?}");
                    assert_eq!(*failure, super::lab::Failure::Errno(libc::EIO));
                }
                Ok(bytes) => {
                    let whole = self.size.saturating_sub(at as u64 * GRANULE).min(GRANULE);
                    assert_eq!(bytes.len() as u64, whole, "a short read of granule {at}");
                    let strange = |(byte, value): &(usize, &u8)| {
                        states.iter().all(|state| state.at(at, *byte) != **value)
                    };
                    let found = bytes.iter().enumerate().find(strange);
                    assert!(found.is_none(), "byte and value {found:?} of granule {at}");
                }
            }
        }
    }
}
