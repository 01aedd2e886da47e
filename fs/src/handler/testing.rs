//! A whole handler without sockets: mounts whose memory node, arena and namespace live in this process.
//!
//! For tests of this crate and for the reference-model test. Nothing here is part of the product.

use super::Mount;
use crate::executor::Executor;
use crate::options::CacheMode;
use std::sync::Arc;

/// One simulated memory node, one executor, and the handlers that were made on them.
pub struct SimPool {
    _private: (),
}

/// Makes a node with `arena_len` bytes (a multiple of 4 KiB) and mounts it once, `cache=none`, read-write. `seed` chooses the
/// simulator's latencies. Drive the mount by `pool.run(mount.clone().lookup(...))`. The root directory is InodeId::ROOT,
/// owner 0:0, mode 0755. Dropping everything ends its threads.
#[must_use]
pub fn mount_on_sim(arena_len: u64, seed: u64) -> (Arc<Mount>, SimPool) {
    todo!("{arena_len} {seed}")
}

impl SimPool {
    /// Another mount of the same handler: it shares session, link and inode table with the first.
    #[must_use]
    pub fn mount(&self, cache: CacheMode) -> Arc<Mount> {
        todo!("{cache:?}")
    }

    /// A mount of another handler (another host): a session of its own at the same node.
    #[must_use]
    pub fn mount_elsewhere(&self, cache: CacheMode) -> Arc<Mount> {
        todo!("{cache:?}")
    }

    /// Runs an operation to its end on this thread.
    pub fn run<T>(&self, operation: impl Future<Output = T>) -> T {
        self.executor().block_on(operation)
    }

    /// Runs all mounts.
    #[must_use]
    pub fn executor(&self) -> &Executor {
        todo!()
    }

    /// A buffer for [`Mount::write`] that holds `bytes` (1 byte to 1 MiB).
    #[must_use]
    pub fn buffer(&self, mount: &Arc<Mount>, bytes: &[u8]) -> rdmafs_rdma::buffer::Buffer {
        let mut buffer = self.run(mount.clone().wait_buffer(bytes.len())).expect("a buffer");
        buffer.copy_from_slice(bytes);
        buffer
    }
}
