//! The two threads that work without being asked: one zeroes freed memory, one lets time pass.

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
        let slices = extents.iter().flat_map(slices);
        for slice in slices {
            if service.is_stopping() {
                return;
            }
            service.zero(&slice);
            std::thread::yield_now();
        }
        service.cleaned(&extents);
    }
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
