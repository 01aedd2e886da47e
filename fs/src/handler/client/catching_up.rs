//! Having the service say what changed in a directory of which this handler knew all names, or all names of one in which names are looked for in vain.

use super::holder::Client;
use super::missed::ENTRIES;
use crate::errno::Error;
use crate::handler::values::CallContext;
use rdmafs_meta::attr::Attr;
use rdmafs_meta::id::{InodeId, Stamp};
use rdmafs_meta::wire::{Reply, Request, WireVersion};

impl Client {
    /// Has the names of the directory learned that changed after `since`. Gives its attributes; `None`: nothing was learned, and what is wanted to be
    /// known is to be asked for by itself.
    ///
    /// # Errors
    /// The link's.
    pub(in crate::handler) async fn catch_up(
        &self,
        context: CallContext,
        (ino, since): (InodeId, Stamp),
    ) -> Result<Option<Attr>, Error> {
        let session = self.session_now();
        if !session.is_some_and(|session| session.spoken().covers(WireVersion::FIFTH)) {
            return Ok(None);
        }
        match self.call(context, Request::CatchUp { ino, since }).await {
            Ok(Reply::CaughtUp { attr, .. } | Reply::Attr(attr)) => Ok(Some(attr)),
            Ok(_) => Err(Error::Protocol),
            Err(Error::Meta(_) | Error::NotSpoken { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The service said of a name that the directory does not have it. Reads the directory where that is worth a call; what comes of that is no
    /// matter of who looked for the name.
    pub(in crate::handler) async fn missed(&self, itself: CallContext, directory: InodeId) {
        if !self.leases.are_taken() || !self.missed.is_due(directory) {
            return;
        }
        let request = Request::ReadDir {
            ino: directory,
            after: 0,
            limit: ENTRIES,
        };
        match self.call(itself, request).await {
            Ok(Reply::Directory { end: true, .. }) => self.missed.is_known(directory),
            Ok(_) => {}
            Err(error) => tracing::debug!(ino = %directory, "a directory is not read: {error}"),
        }
    }
}
