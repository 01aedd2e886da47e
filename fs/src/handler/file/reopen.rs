//! What becomes of files when their session's connection, or the session, is another one.

use super::inode::Inode;
use super::table::Files;
use crate::errno::Error;
use crate::handler::client::ClientSession;
use rdmafs_meta::id::InodeId;
use rdmafs_meta::wire::{Reply, Request};
use std::sync::Arc;

/// Inodes in one [`Request::Reopen`]: each takes at most 15 bytes.
const REOPEN: usize = 2048;

impl Files {
    /// Tells a new session which of the inodes are open. What it does not find is gone for ever.
    ///
    /// # Errors
    /// The link's or the service's.
    pub(in crate::handler) async fn reopen(
        &self,
        session: &ClientSession,
        inodes: &[Arc<Inode>],
    ) -> Result<(), Error> {
        let notified = inodes
            .iter()
            .map(|inode| (inode.ino, inode.notified(session.origin)));
        let opens: Vec<(InodeId, u32)> = notified.filter(|(_, opens)| *opens > 0).collect();
        for some in opens.chunks(REOPEN) {
            let opens = some.to_vec();
            let asked = session.call_as_root(Request::Reopen { opens }, self.client.timeout());
            let Reply::Reopened { gone } = asked.await? else {
                return Err(Error::Protocol);
            };
            for inode in gone.into_iter().filter_map(|ino| self.find(ino)) {
                inode.mark_gone();
            }
        }
        Ok(())
    }

    /// Another session has begun: what was written to the inodes and not committed is lost.
    pub(in crate::handler) fn begin_anew(&self, inodes: &[Arc<Inode>]) {
        for inode in inodes {
            if inode.begins_anew() {
                tracing::error!(pool = %self.client.name, ino = %inode.ino, "bytes that were written and not synced are lost");
            }
        }
    }

    /// There is a new connection: notices may have been missed.
    pub(in crate::handler) fn reconnected(&self) {
        self.missed_notices();
        self.inodes().iter().for_each(|inode| inode.reconnected());
    }
}
