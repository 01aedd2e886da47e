//! The two threads that work without being asked: one zeroes freed memory, one lets time pass.

use super::arena_access::ArenaError;
use super::service::Service;
use rdmafs_meta::extent::Extent;
use rdmafs_meta::namespace::Namespace;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

/// Bytes zeroed between two looks at whether the node ends, about 0.1 ms: other threads get their turn in between.
const SLICE: u64 = 1 << 20;

/// Time between two ticks while nothing is left to do at once, at most.
const TICK: Duration = Duration::from_millis(250);

/// Zeroes extents that nobody can touch any more and gives them back for reuse, until nobody can send more of them.
pub(super) fn clean(service: &Service, dirty: &Receiver<Vec<Extent>>) {
    for extents in dirty {
        if clean_all(service, &extents).is_none() {
            return;
        }
    }
}

/// Zeroes these extents and gives them back for reuse, but for those that cannot be zeroed: nobody else may see what is in them, so they stay in
/// quarantine. `None` when the node ends before all is done.
pub(super) fn clean_all(service: &Service, extents: &[Extent]) -> Option<()> {
    let mut clean = Vec::with_capacity(extents.len());
    for extent in extents {
        match zero(service, extent)? {
            Ok(()) => clean.push(*extent),
            Err(error) => tracing::error!(
                ?extent,
                %error,
                "freed memory was not zeroed: it stays in quarantine and is not used again"
            ),
        }
    }
    service.cleaned(&clean);
    Some(())
}

/// Zeroes an extent bit by bit. `None` when the node ends before it is done.
fn zero(service: &Service, extent: &Extent) -> Option<Result<(), ArenaError>> {
    for slice in slices(extent) {
        if service.is_stopping() {
            return None;
        }
        if let Err(error) = service.arena.zero(&slice) {
            return Some(Err(error));
        }
        std::thread::yield_now();
    }
    Some(Ok(()))
}

/// Ticks until the other end of `stop` is dropped.
pub(super) fn tick(service: &Service, stop: &Receiver<()>) {
    let longest = TICK.min(service.look(Namespace::tick_time));
    let mut pause = longest;
    while stop.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
        let more = service.tick();
        pause = if more { Duration::ZERO } else { longest };
    }
}

fn slices(extent: &Extent) -> impl Iterator<Item = Extent> {
    let mut skip = 0;
    std::iter::from_fn(move || {
        let slice = extent.part(skip, SLICE)?;
        skip += slice.len;
        Some(slice)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdmafs_meta::id::{Incarnation, NodeId};

    #[test]
    fn slices_cover_an_extent_once() {
        for len in [1, SLICE - 1, SLICE, SLICE + 1, 5 * SLICE] {
            let whole = Extent {
                node: NodeId(1),
                incarnation: Incarnation(2),
                offset: 4096,
                len,
            };
            let mut next = whole.offset;
            for slice in slices(&whole) {
                assert_eq!(slice.offset, next);
                assert!((1..=SLICE).contains(&slice.len));
                next = slice.end();
            }
            assert_eq!(next, whole.end());
        }
    }
}
