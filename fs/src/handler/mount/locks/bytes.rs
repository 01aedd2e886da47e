//! What a lock promises of bytes. Who gets one sees what was part of the file when it was given up elsewhere: the service is asked how the
//! file is, unless that is held by lease, and a kernel whose pages are of another version drops them. What was written under a lock is part of the file before the
//! lock is given up.
//!
//! No lock of the kernel is held by a program that asks for a lock, so its kernel can drop pages meanwhile. Only who reads or writes a page
//! holds that up, and the mount's timeout ends it.

use super::notes::FileOwner;
use crate::errno::Error;
use crate::handler::mount::{Mount, OpenFile, WHOLE_FILE};
use rdmafs_meta::lock::Span;
use std::time::Duration;

impl Mount {
    /// Ready when this mount's kernel shows no byte, and no size, that the file had before this was asked. An unchanged file keeps its pages.
    ///
    /// # Errors
    /// EIO when the node does not answer, or the kernel does not drop its pages, within the mount's timeout.
    pub(super) async fn revalidate(&self, file: &OpenFile) -> Result<(), Error> {
        let inode = file.inode();
        let attr = self.files.attributes(self.itself(), inode.ino).await?;
        let foreign = inode.written_elsewhere(self.id);
        let (validity, fresh) = self.kernel_cache.lock().opens(&attr, foreign);
        if validity.keep_cache {
            return Ok(());
        }
        // The news that holes were filled may still be on its way.
        inode.forget_layout();
        let dropped = self.notified(|done| self.drop_range(inode.ino, WHOLE_FILE, done));
        if !dropped.await {
            return Err(Error::Internal("the kernel does not drop old pages of a file"));
        }
        if let Some(fresh) = fresh {
            self.kernel_cache.lock().used(fresh);
        }
        Ok(())
    }

    /// Commits what was written under a lock that is about to be given up, and gives what is left of the mount's timeout for that. A lock
    /// is given up whatever comes of the commit: what it could not do, the next fsync or close tries again, and says so.
    pub(super) async fn commit_under_lock(&self, file: &OpenFile) -> Duration {
        let (limit, began) = (self.timeout(), self.client.charged());
        let commit = self.files.commit(file.inode(), self.by(), false);
        match self.client.within(limit, commit).await {
            Some(Ok(())) => {}
            Some(Err(error)) => {
                tracing::debug!("a lock is given up before what was written is committed: {error}")
            }
            None => tracing::debug!("a lock is given up before what was written is committed"),
        }
        let took = self.client.charged().saturating_sub(began);
        limit.saturating_sub(took).max(limit / 10)
    }

    /// The same where a lock is asked for that may let others in: what a shared one replaces may be exclusive.
    pub(super) async fn commit_before_sharing(&self, file: &OpenFile, by: FileOwner, span: Span) {
        if self.locks.lock().holds(by, span) {
            self.commit_under_lock(file).await;
        }
    }
}
