//! Moving the bytes of a range between buffers and arenas, along the segments of its layout: the one place that decides over which link
//! which part of a range goes.

use super::extent_map::{ExtentLocation, Segment};
use super::inode::PlannedTransfer;
use crate::errno::Error;
use crate::handler::client::{ClientSession, Flows};
use rdmafs_meta::error::MetaError;
use rdmafs_meta::id::NodeId;
use rdmafs_rdma::buffer::Buffer;
use rdmafs_rdma::link::{Flow, Keep, Link};
use std::sync::Arc;

/// Brings all segments, in flight together, into one buffer.
pub(in crate::handler) async fn fetch(
    session: &ClientSession,
    flows: &Flows,
    queue_key: u64,
    transfer: PlannedTransfer,
    buffer: Buffer,
) -> Result<Buffer, Error> {
    let keep: Keep = transfer.epoch.clone();
    let mut started = Vec::with_capacity(transfer.segments.len());
    for (segment, mut part) in cut(&transfer.segments, buffer) {
        started.push(match segment.place {
            ExtentLocation::Hole => {
                part.fill(0);
                Part::There(part)
            }
            ExtentLocation::At { node, remote, .. } => {
                let (link, flow) = way(session, flows, node).ok_or(Error::NoLink(node))?;
                Part::Coming(link.read(flow, queue_key, remote, part, Some(keep.clone())))
            }
            // What is in flight already ends on its own.
            ExtentLocation::Lost => return Err(MetaError::Lost.into()),
        });
    }
    drop((keep, transfer));
    join(started).await
}

/// Sends all segments, in flight together. Gives the length of the prefix that arrived, and why no more did.
pub(in crate::handler) async fn send(
    session: &ClientSession,
    flows: &Flows,
    queue_key: u64,
    transfer: PlannedTransfer,
    data: Buffer,
) -> (usize, Option<Error>) {
    let keep: Keep = transfer.epoch.clone();
    let mut started = Vec::with_capacity(transfer.segments.len());
    let mut failure = None;
    for (segment, part) in cut(&transfer.segments, data) {
        let ExtentLocation::At { node, remote, .. } = segment.place else {
            failure = Some(MetaError::Lost.into());
            break;
        };
        let Some((link, flow)) = way(session, flows, node) else {
            failure = Some(Error::NoLink(node));
            break;
        };
        let write = link.write(flow, queue_key, remote, part, Some(keep.clone()));
        started.push((segment.len, write));
    }
    let mut prefix = 0;
    let mut whole = true;
    for (len, write) in started {
        match write.await {
            Ok(_) if whole => prefix += len,
            Ok(_) => {}
            Err(error) => {
                if whole {
                    failure = Some(error.into());
                }
                whole = false;
            }
        }
    }
    (prefix, failure)
}

/// Link and flow to the node that has the bytes.
fn way<'a>(session: &'a ClientSession, flows: &'a Flows, node: NodeId) -> Option<(&'a Arc<Link>, &'a Flow)> {
    Some((session.links.to(node)?, flows.to(node)?))
}

/// Cuts a buffer along segments, which together are as long as it.
fn cut(segments: &[Segment], buffer: Buffer) -> impl Iterator<Item = (&Segment, Buffer)> {
    let mut segments = segments.iter().peekable();
    let mut left = Some(buffer);
    std::iter::from_fn(move || {
        let (segment, mut part) = (segments.next()?, left.take()?);
        left = segments.peek().map(|_| part.split_off(segment.len));
        Some((segment, part))
    })
}

/// A part of the buffer that is filled, or being filled.
enum Part<F> {
    There(Buffer),
    Coming(F),
}

/// Waits for all parts, even when one fails, and puts the buffer together again.
async fn join<F, E>(parts: Vec<Part<F>>) -> Result<Buffer, Error>
where
    F: Future<Output = Result<Buffer, E>>,
    Error: From<E>,
{
    let mut whole: Result<Option<Buffer>, Error> = Ok(None);
    for part in parts {
        let next = match part {
            Part::There(buffer) => Ok(buffer),
            Part::Coming(read) => read.await.map_err(Error::from),
        };
        whole = match (whole, next) {
            (Err(error), _) | (Ok(_), Err(error)) => Err(error),
            (Ok(None), Ok(next)) => Ok(Some(next)),
            (Ok(Some(mut whole)), Ok(next)) => match whole.rejoin(next) {
                Ok(()) => Ok(Some(whole)),
                Err(_) => Err(Error::Internal("parts of a read do not fit together")),
            },
        };
    }
    whole?.ok_or(Error::Internal("a read without parts"))
}
