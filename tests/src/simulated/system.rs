//! The mounts, the open files, and how the kernel walks paths.

use crate::ops::{CALLERS, FilePath, How, Outcome, SLOTS};
use nix::libc::{EBADF, ELOOP, ENOENT, ENOTDIR};
use rdmafs_fs::errno::Error;
use rdmafs_fs::handler::testing::{SimPool, mount_on_sim};
use rdmafs_fs::handler::{HandleId, Mount};
use rdmafs_fs::options::CacheMode;
use rdmafs_meta::attr::{Attr, FileKind, SetAttr};
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::id::InodeId;
use std::collections::VecDeque;
use std::sync::Arc;

const ARENA: u64 = 64 << 20;

pub(super) type Result<T> = std::result::Result<T, i32>;

/// Mounts of one simulated pool.
pub struct Simulated {
    mounts: Vec<Arc<Mount>>,
    pub(super) slots: [Option<Slot>; SLOTS],
    pub(super) pool: SimPool,
}

#[derive(Clone, Copy)]
pub(super) struct Slot {
    pub(super) handle: HandleId,
    pub(super) mount: usize,
    pub(super) ino: InodeId,
    pub(super) how: How,
}

/// Where a path leads.
pub(super) struct OpenedAt {
    pub(super) dir: InodeId,
    pub(super) name: Vec<u8>,
    pub(super) found: Option<Attr>,
}

/// Somebody at one of the mounts.
pub(super) struct SimCaller {
    pub(super) mount: Arc<Mount>,
    pub(super) who: Credentials,
}

impl Simulated {
    /// A pool with `mounts` mounts, of which the first and every other one has `cache=none`.
    #[must_use]
    pub fn new(seed: u64, mounts: usize, root_mode: u16) -> Self {
        let (first, pool) = mount_on_sim(ARENA, seed);
        let mode = |i| {
            if i % 2 == 1 {
                CacheMode::Auto
            } else {
                CacheMode::None
            }
        };
        let others = (1..mounts).map(|i| pool.mount(mode(i)));
        let mounts = std::iter::once(first).chain(others).collect();
        let slots = [None; SLOTS];
        let system = Self { mounts, slots, pool };
        let (root, change) = (system.caller(0, 0), mode_change(root_mode));
        let changed = system.run(root.mount.setattr(root.who, InodeId::ROOT, change, None));
        assert!(changed.is_ok(), "the mode of the root: {changed:?}");
        system
    }

    pub(super) fn caller(&self, mount: usize, caller: usize) -> SimCaller {
        let (uid, gid) = CALLERS[caller];
        let mount = self.mounts[mount].clone();
        SimCaller {
            mount,
            who: Credentials::new(uid, gid, Vec::new()),
        }
    }

    pub(super) fn run<T>(&self, operation: impl Future<Output = std::result::Result<T, Error>>) -> Result<T> {
        self.pool.run(operation).map_err(|error| error.errno())
    }

    fn lookup(&self, caller: &SimCaller, dir: InodeId, name: &[u8]) -> Result<Option<Attr>> {
        let found = self.run(
            caller
                .mount
                .clone()
                .lookup(caller.who.clone(), dir, name.to_vec()),
        );
        match found {
            Ok(entry) => Ok(Some(entry.attr)),
            Err(ENOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    pub(super) fn walk(&self, caller: &SimCaller, path: &FilePath, follow: bool) -> Result<OpenedAt> {
        let mut left: VecDeque<Vec<u8>> = path.0.iter().map(|name| name.to_vec()).collect();
        let (mut dir, mut hops) = (InodeId::ROOT, 0);
        while let Some(name) = left.pop_front() {
            let found = self.lookup(caller, dir, &name)?;
            let last = left.is_empty();
            match found {
                Some(link) if link.kind == FileKind::Symlink && (!last || follow) => {
                    hops += 1;
                    if hops > 40 {
                        return Err(ELOOP);
                    }
                    let target = self.run(caller.mount.clone().readlink(caller.who.clone(), link.ino))?;
                    target
                        .split(|b| *b == b'/')
                        .rev()
                        .for_each(|part| left.push_front(part.to_vec()));
                }
                found if last => return Ok(OpenedAt { dir, name, found }),
                Some(next) if next.kind == FileKind::Directory => dir = next.ino,
                Some(_) => return Err(ENOTDIR),
                None => return Err(ENOENT),
            }
        }
        Err(ENOENT)
    }

    pub(super) fn find(&self, caller: &SimCaller, path: &FilePath, follow: bool) -> Result<Attr> {
        self.walk(caller, path, follow)?.found.ok_or(ENOENT)
    }

    pub(super) fn slot(&self, slot: usize) -> Result<Slot> {
        self.slots[slot].ok_or(EBADF)
    }

    pub(super) fn at(&self, slot: &Slot) -> Arc<Mount> {
        self.mounts[slot.mount].clone()
    }
}

impl Drop for Simulated {
    fn drop(&mut self) {
        self.mounts.iter().for_each(|mount| mount.close());
    }
}

/// The kernel refuses with `errno` where `refused`; the handler, which was asked all the same, must refuse as well.
pub(super) fn refused_if<T: std::fmt::Debug>(
    refused: bool,
    errno: i32,
    answer: Result<T>,
) -> Result<Outcome> {
    if !refused {
        return done(answer);
    }
    assert!(
        answer.is_err(),
        "the kernel refuses with {errno}, the handler answered {answer:?}"
    );
    Err(errno)
}

pub(super) fn done<T>(answer: Result<T>) -> Result<Outcome> {
    answer.map(|_| Outcome::Done)
}

pub(super) fn mode_change(mode: u16) -> SetAttr {
    let (mode, rest) = (Some(mode), SetAttr::default());
    SetAttr { mode, ..rest }
}
