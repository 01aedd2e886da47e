//! Having the service say what changed in a directory of which this handler knew all names.

use super::holder::Client;
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
}
