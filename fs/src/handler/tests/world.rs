//! What the tests say shortly.

use crate::errno::Error;
use crate::handler::testing::{SimPool, mount_on_sim};
use crate::handler::{HandleId, Mount, OpenMode, ReadData};
use crate::options::CacheMode;
use rdmafs_meta::attr::{Attr, SetAttr};
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::id::InodeId;
use std::sync::Arc;

pub(super) const RW: OpenMode = OpenMode {
    read: true,
    write: true,
    append: false,
    truncate: false,
    execute: false,
    direct: false,
    no_access_time: false,
};

/// A pool and a mount of it, used as root.
pub(super) struct World {
    pub(super) mount: Arc<Mount>,
    pub(super) pool: Arc<SimPool>,
}

pub(super) fn world(arena: u64) -> World {
    let (mount, pool) = mount_on_sim(arena, 7);
    World {
        mount,
        pool: Arc::new(pool),
    }
}

impl World {
    /// Another mount of this pool by this handler.
    pub(super) fn beside(&self, cache: CacheMode) -> World {
        World {
            mount: self.pool.mount(cache),
            pool: self.pool.clone(),
        }
    }

    /// A mount of this pool on another host.
    pub(super) fn elsewhere(&self) -> World {
        World {
            mount: self.pool.mount_elsewhere(CacheMode::None),
            pool: self.pool.clone(),
        }
    }

    pub(super) fn create(&self, name: &str) -> (InodeId, HandleId) {
        let at = (InodeId::ROOT, name.into());
        let making = self
            .mount
            .clone()
            .create(Credentials::root(), at, 0o644, RW, true);
        let (entry, opened) = self.pool.run(making).unwrap();
        (entry.attr.ino, opened.handle)
    }

    pub(super) fn open(&self, ino: InodeId, mode: OpenMode) -> Result<HandleId, Error> {
        let opened = self
            .pool
            .run(self.mount.clone().open(Credentials::root(), ino, mode))?;
        Ok(opened.handle)
    }

    pub(super) fn write(&self, file: HandleId, offset: u64, bytes: &[u8]) -> Result<usize, Error> {
        let buffer = self.pool.buffer(&self.mount, bytes);
        self.pool
            .run(self.mount.clone().write(file, offset, buffer, false))
    }

    pub(super) fn read(&self, file: HandleId, offset: u64, len: usize) -> Result<Vec<u8>, Error> {
        let data = self.pool.run(self.mount.clone().read(file, offset, len))?;
        Ok(match data {
            ReadData::Bytes(buffer) => buffer.to_vec(),
            ReadData::Zeros(len) => vec![0; len],
            ReadData::End => Vec::new(),
        })
    }

    pub(super) fn flush(&self, file: HandleId) {
        self.pool.run(self.mount.clone().flush(file)).unwrap();
    }

    pub(super) fn release(&self, file: HandleId) {
        self.pool.run(self.mount.clone().release(file)).unwrap();
    }

    pub(super) fn attr(&self, ino: InodeId) -> Result<Attr, Error> {
        Ok(self
            .pool
            .run(self.mount.clone().getattr(Credentials::root(), ino))?
            .attr)
    }

    pub(super) fn set(&self, ino: InodeId, change: SetAttr) -> Result<Attr, Error> {
        let setting = self.mount.clone().setattr(Credentials::root(), ino, change, None);
        Ok(self.pool.run(setting)?.attr)
    }

    pub(super) fn truncate(&self, ino: InodeId, size: u64) -> Attr {
        let change = SetAttr {
            size: Some(size),
            ..SetAttr::default()
        };
        self.set(ino, change).unwrap()
    }

    pub(super) fn unlink(&self, name: &str) {
        let removing = self
            .mount
            .clone()
            .unlink(Credentials::root(), InodeId::ROOT, name.into());
        self.pool.run(removing).unwrap();
    }
}

/// Bytes that differ from place to place and from each other's seeds.
pub(super) fn pattern(len: usize, seed: u8) -> Vec<u8> {
    let byte = |i: usize| u8::try_from(i % 251).unwrap().wrapping_mul(seed | 1) | 1;
    (0..len).map(byte).collect()
}
