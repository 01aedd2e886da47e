//! Looking up where a range lies, asking the service for what is not known.

use super::inode::{Inode, Plan, PlannedTransfer};
use crate::errno::Error;
use crate::handler::client::ClientSession;
use rdmafs_meta::wire::{Reply, Request};
use std::time::Duration;

/// The layout of `[start, end)` as `session` knows it, granted for writing if `write`. `timeout` bounds each call. No epoch is held while the service
/// is asked: it may be waiting for this very session to give a layout up.
///
/// # Errors
/// As [`ClientSession::send`]; `Cleaning` when space is still being freed.
pub(in crate::handler) async fn resolve(
    inode: &Inode,
    session: &ClientSession,
    (start, end): (u64, u64),
    write: bool,
    timeout: Duration,
) -> Result<PlannedTransfer, Error> {
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
        let Reply::Layout(slice) = session.call_as_root(request, timeout).await? else {
            return Err(Error::Protocol);
        };
        if slice.start > missing.start || slice.end <= missing.start {
            return Err(Error::Protocol);
        }
        inode.learn(session, generation, &slice, missing.allocate)?;
    }
}
