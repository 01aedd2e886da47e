//! Opening what gives rights to who runs it: programs with set-id bits or file capabilities. Nobody runs bytes with rights that were given to other bytes.
//!
//! The kernel decides by the mode that it was given last, when it has opened the program. So a program whose bits are gone since then is looked up anew first (ESTALE
//! makes execve(2) do that), and one that has them is not opened to be run while somebody else may write it, nor the other way round.

use super::state::Mount;
use super::types::OpenMode;
use crate::errno::Error;
use crate::handler::file::{Inode, TextUse};
use rdmafs_meta::attr::Attr;
use rdmafs_meta::error::MetaError;
use rdmafs_meta::permission::has_set_id;
use std::time::Duration;

/// For how long who opens waits for others to close the file, and how long at first and at the most from try to try.
const BUSY: Duration = Duration::from_millis(200);
const BUSY_STEPS: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(50));

/// Waiting for those who have a program's file open elsewhere and may be about to close it.
pub(super) struct BusyWait {
    next: Duration,
    left: Duration,
}

impl BusyWait {
    pub(super) fn new() -> Self {
        Self {
            next: BUSY_STEPS.0,
            left: BUSY,
        }
    }

    /// Waits when `error` says that trying again may help.
    pub(super) async fn wait_or(&mut self, mount: &Mount, error: Error) -> Result<(), Error> {
        if error != Error::Meta(MetaError::TextBusy) || self.left.is_zero() {
            return Err(error);
        }
        let step = self.next.min(self.left);
        mount.executor().sleep(step).await;
        self.left -= step;
        self.next = (self.next * 2).min(BUSY_STEPS.1);
        Ok(())
    }
}

impl Mount {
    /// Whether a file that was opened so may be used, by its attributes of now.
    ///
    /// # Errors
    /// ETXTBSY; ESTALE where the kernel believes in set-id bits that are gone.
    pub(super) fn check_text(
        &self,
        text: &mut TextUse,
        inode: &Inode,
        attr: &Attr,
        mode: OpenMode,
    ) -> Result<(), Error> {
        if mode.execute && !has_set_id(attr.mode) && self.set_id.has(attr.ino) {
            return Err(match inode.text.is_written() {
                true => MetaError::TextBusy.into(),
                false => MetaError::Stale.into(),
            });
        }
        let gives_rights = has_set_id(attr.mode) || !inode.is_plain();
        match text.is_at_odds(gives_rights) {
            true => Err(MetaError::TextBusy.into()),
            false => Ok(()),
        }
    }

    /// Whether the file may be cut by a use that writes: the service does not know of the other mounts of this host. No call where nobody runs the file here.
    ///
    /// # Errors
    /// ETXTBSY; those of asking for its attributes.
    pub(super) async fn check_cut(&self, text: &mut TextUse, inode: &Inode) -> Result<(), Error> {
        if !text.is_at_odds(true) {
            return Ok(());
        }
        let attr = self.files.attributes(self.itself(), inode.ino).await?;
        self.check_text(text, inode, &attr, OpenMode::default())
    }
}
