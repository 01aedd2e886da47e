//! Looking up where a range lies, asking the service for what is not known.

use super::inode::{Inode, Plan, Transfer};
use super::session::Session;
use crate::errno::Error;
use rdmafs_meta::wire::{Reply, Request};

/// The layout of `[start, end)` as `session` knows it, granted for writing if `write`. No epoch is held while the service
/// is asked: it may be waiting for this very session to give a layout up.
///
/// # Errors
/// As [`Session::send`]; `Cleaning` when space is still being freed.
pub(super) async fn resolve(
    inode: &Inode,
    session: &Session,
    (start, end): (u64, u64),
    write: bool,
) -> Result<Transfer, Error> {
    loop {
        let (missing, generation) = match inode.plan(session.connection, start, end, write) {
            Plan::Go(transfer) => return Ok(transfer),
            Plan::Ask { missing, generation } => (missing, generation),
        };
        let request = Request::Layout {
            ino: inode.ino,
            start: missing.start,
            end: missing.end,
            allocate: missing.allocate,
        };
        let Reply::Layout(slice) = session.call_as_root(request).await? else {
            return Err(Error::Protocol);
        };
        if slice.start > missing.start || slice.end <= missing.start {
            return Err(Error::Protocol);
        }
        inode.learn(session, generation, &slice, missing.allocate)?;
    }
}
