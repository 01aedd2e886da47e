//! What files tell the kernels behind the mounts of their pool: the one way up from the file floor.

use crate::handler::values::MountId;
use rdmafs_meta::attr::Attr;
use rdmafs_meta::id::InodeId;

/// A commit that the service has answered.
pub(in crate::handler) struct Committed<'a> {
    /// The mount that asked for it.
    pub(in crate::handler) mount: MountId,
    /// The mounts that wrote.
    pub(in crate::handler) writers: &'a [MountId],
    /// The file's attributes as they were known before it, and as they are.
    pub(in crate::handler) before: Option<&'a Attr>,
    pub(in crate::handler) after: &'a Attr,
}

/// The caches of the kernels behind a pool's mounts. Nothing here waits for a kernel.
pub(in crate::handler) trait KernelCaches: Send + Sync {
    /// Bytes of the inode were changed by these mounts: the kernels behind all others drop what they cached.
    fn invalidate(&self, ino: InodeId, writers: &[MountId]);

    /// Attributes of the inode are not what any kernel may believe.
    fn invalidate_attributes(&self, ino: InodeId);

    /// What was written is part of the file: what that means for the caches is theirs to say.
    fn committed(&self, commit: &Committed<'_>);
}
