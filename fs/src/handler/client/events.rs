//! What a session tells the floors above it: the one way up from the client floor.

use super::session::ClientSession;
use crate::errno::Error;
use crate::handler::values::Connection;
use rdmafs_meta::id::{InodeId, LockTicket};
use std::pin::Pin;
use std::sync::Arc;

/// Work that an event asks for.
pub(in crate::handler) type Task<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What begins to be true for all files and mounts of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::handler) enum Reset {
    /// There is a new connection: notices may have been missed over the one before, and its grants ended with it.
    Connected,
    /// Operations can use the session again.
    Up,
    /// Another pool is served in the place of this one.
    Replaced,
}

/// Who hears what happens to a pool's session. Notices come on the thread that polls the link: nothing here blocks, and what takes time is
/// in the task that is given back.
pub(in crate::handler) trait SessionEvents: Send + Sync {
    /// The service takes the layout of an inode back, from a byte on; `truncate_seq` is how often its file was cut so far. Known of it is
    /// nothing once this returns; the task ends when nothing uses what was known. `None`: nothing does.
    fn recalled(&self, ino: InodeId, from: u64, truncate_seq: u64) -> Option<Task<()>>;

    /// Another session changed the layout of an inode.
    fn layout_changed(&self, ino: InodeId);

    /// What was held of an inode by lease is forgotten, since another session changes it.
    fn forgotten(&self, ino: InodeId);

    /// A file may have been given file capabilities.
    fn capabilities_given(&self, ino: InodeId);

    /// A lock that was waited for is held now, in the session that began over `origin`.
    fn lock_granted(&self, ticket: LockTicket, origin: Connection);

    /// The node ends soon. The task commits all that was written.
    fn drain(&self) -> Task<Result<(), Error>>;

    /// Another session has begun, which nobody but this event uses yet. The task tells it what is open; what it does not find is gone, and
    /// what was written and not committed is lost.
    fn begins_anew(&self, session: Arc<ClientSession>) -> Task<Result<(), Error>>;

    /// Something begins to be true for all files and mounts.
    fn reset(&self, what: Reset);
}
