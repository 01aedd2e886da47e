//! In which order the kernel's requests for pages of a file, and changes that pass its page cache by, are done.
//!
//! A page that a fault brought in before a direct write is old after it, and comes back whole when a program stores a byte to it: the
//! bytes of the write, which has returned, would be gone. So of what overlaps and comes from one mount, a change waits for fills and
//! write-backs that came before it, and those that come while it is pending wait for it. A write-back that comes after the change was
//! done, and before its mount's kernel has dropped the range, leaves out what the change wrote: the program that changes has no answer
//! yet, so both happen at once and the change may be the later one. Pages that the kernel asked for after the change have its bytes,
//! and stores to them may follow from them: those are written back whole.
//!
//! Nobody waits for one who came later, so nobody waits for ever. The lock is a leaf.

use crate::handler::lock_order::Mutex;
use crate::handler::values::MountId;
use event_listener::Event;
use rdmafs_meta::extent::{granule_ceil, granule_floor};
use std::ops::Range;
use std::sync::Arc;

/// Ranges that one change remembers as brought in after it; where there are more, a store to them counts as done before it.
const FRESH: usize = 256;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The kernel reads pages into its cache.
    Fill,
    /// The kernel writes pages of its cache.
    WriteBack,
    /// Bytes are changed past its cache, and are not all changed yet.
    Pending,
    /// All bytes are changed past the kernel's cache, which may have old pages still.
    Done,
}

/// The requests of one file that are in flight.
#[derive(Debug, Default)]
pub(in crate::handler) struct PageOrder {
    state: Mutex<PageState>,
    moved: Event,
}

#[derive(Debug, Default)]
struct PageState {
    next: u64,
    /// Mounts whose kernels may have pages.
    filled: Vec<MountId>,
    /// In the order in which they came.
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    id: u64,
    mount: MountId,
    kind: Kind,
    range: Range<u64>,
    /// Of a change: pages that were asked for after it was done.
    fresh: Vec<Range<u64>>,
}

/// A place among the requests; given back when it is dropped.
#[derive(Debug)]
pub(in crate::handler) struct Turn {
    order: Arc<PageOrder>,
    id: u64,
}

impl PageOrder {
    /// A mount's kernel asks for pages. Ready when they may be read.
    pub(in crate::handler) async fn fill(self: &Arc<Self>, mount: MountId, range: Range<u64>) -> Turn {
        let pages = granule_floor(range.start)..granule_ceil(range.end);
        self.enter(mount, Kind::Fill, pages).await
    }

    /// A mount's kernel writes pages back. Ready when they may be written: [`Turn::left`] of them.
    pub(in crate::handler) async fn write_back(self: &Arc<Self>, mount: MountId, range: Range<u64>) -> Turn {
        self.enter(mount, Kind::WriteBack, range).await
    }

    /// A program of the mount changes bytes past the kernel's cache. Ready when it may.
    pub(in crate::handler) async fn change(self: &Arc<Self>, mount: MountId, range: Range<u64>) -> Turn {
        self.enter(mount, Kind::Pending, range).await
    }

    /// Whether the mount's kernel ever asked for a page.
    pub(in crate::handler) fn has_pages(&self, mount: MountId) -> bool {
        self.state.lock().filled.contains(&mount)
    }

    async fn enter(self: &Arc<Self>, mount: MountId, kind: Kind, range: Range<u64>) -> Turn {
        let (id, mut free) = self.state.lock().enter(mount, kind, range);
        let order = self.clone();
        let turn = Turn { order, id };
        while !free {
            let moved = self.moved.listen();
            free = self.state.lock().is_free(id);
            if !free {
                moved.await;
            }
        }
        turn
    }
}

impl Turn {
    /// The first `len` bytes of the change are changed. Says of which range the mount's kernel must drop its pages before the program
    /// that changes has its answer; this place is kept until it has.
    pub(in crate::handler) fn done(&self, len: u64) -> Option<Range<u64>> {
        let range = self.order.state.lock().done(self.id, len);
        self.order.moved.notify(usize::MAX);
        range
    }

    /// What is to be written of a write-back.
    pub(in crate::handler) fn left(&self) -> Vec<Range<u64>> {
        self.order.state.lock().left(self.id)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.order
            .state
            .lock()
            .entries
            .retain(|entry| entry.id != self.id);
        self.order.moved.notify(usize::MAX);
    }
}

impl PageState {
    /// Its id, and whether it may go on at once.
    fn enter(&mut self, mount: MountId, kind: Kind, range: Range<u64>) -> (u64, bool) {
        self.next += 1;
        let id = self.next;
        if kind == Kind::Fill {
            if !self.filled.contains(&mount) {
                self.filled.push(mount);
            }
            let changes = self.entries.iter_mut().filter(|entry| entry.kind == Kind::Done);
            for change in changes.filter(|entry| entry.mount == mount && overlap(&entry.range, &range)) {
                change.brought_in(&range);
            }
        }
        self.entries.push(Entry {
            id,
            mount,
            kind,
            range,
            fresh: Vec::new(),
        });
        (id, self.is_free(id))
    }

    fn is_free(&self, id: u64) -> bool {
        let Some(at) = self.place(id) else {
            return true;
        };
        let own = &self.entries[at];
        !self.entries[..at].iter().any(|earlier| {
            let waits = match earlier.kind {
                Kind::Fill | Kind::WriteBack => own.kind == Kind::Pending,
                Kind::Pending => own.kind != Kind::Pending,
                Kind::Done => false,
            };
            waits && earlier.mount == own.mount && overlap(&earlier.range, &own.range)
        })
    }

    fn done(&mut self, id: u64, len: u64) -> Option<Range<u64>> {
        let at = self.place(id)?;
        let (before, after) = self.entries.split_at_mut(at + 1);
        let change = before.last_mut()?;
        let range = change.range.start..change.range.end.min(change.range.start.saturating_add(len));
        (change.kind, change.range) = (Kind::Done, range.clone());
        // Those waited for this: they read what it wrote.
        for fill in after.iter().filter(|entry| entry.kind == Kind::Fill) {
            if fill.mount == change.mount && overlap(&fill.range, &range) {
                change.brought_in(&fill.range);
            }
        }
        (range.start < range.end && self.filled.contains(&self.entries[at].mount)).then_some(range)
    }

    fn left(&self, id: u64) -> Vec<Range<u64>> {
        let Some(own) = self.place(id).map(|at| &self.entries[at]) else {
            return Vec::new();
        };
        let changes = self.entries.iter().filter(|entry| entry.kind == Kind::Done);
        let old = changes
            .filter(|change| change.mount == own.mount && overlap(&change.range, &own.range))
            .flat_map(Entry::old);
        old.fold(vec![own.range.clone()], |left, gone| without(left, &gone))
    }

    /// Ids only rise.
    fn place(&self, id: u64) -> Option<usize> {
        self.entries.binary_search_by_key(&id, |entry| entry.id).ok()
    }
}

impl Entry {
    fn brought_in(&mut self, pages: &Range<u64>) {
        if self.fresh.len() < FRESH {
            self.fresh.push(pages.clone());
        }
    }

    /// Where pages may be that do not have what the change wrote.
    fn old(&self) -> Vec<Range<u64>> {
        let whole = vec![self.range.clone()];
        self.fresh.iter().fold(whole, without)
    }
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}

fn without(parts: Vec<Range<u64>>, gone: &Range<u64>) -> Vec<Range<u64>> {
    let cut = |part: Range<u64>| {
        [
            part.start..part.end.min(gone.start),
            part.start.max(gone.end)..part.end,
        ]
    };
    let left = parts.into_iter().flat_map(cut);
    left.filter(|part| part.start < part.end).collect()
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "lists of one range are meant")]
mod tests {
    use super::*;
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    fn poll<T>(future: &mut Pin<&mut impl Future<Output = T>>) -> Option<T> {
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(turn) => Some(turn),
            Poll::Pending => None,
        }
    }

    fn now(future: impl Future<Output = Turn>) -> Turn {
        poll(&mut pin!(future)).expect("it need not wait")
    }

    #[test]
    fn a_page_that_was_there_before_a_change_does_not_write_over_it() {
        let order = Arc::new(PageOrder::default());
        drop(now(order.fill(MountId(1), 0..4096)));
        let change = now(order.change(MountId(1), 8..16));
        let mut early = pin!(order.write_back(MountId(1), 0..4096));
        assert!(poll(&mut early).is_none(), "nobody knows yet what was changed");
        assert_eq!(change.done(8), Some(8..16));
        assert_eq!(poll(&mut early).unwrap().left(), [0..8, 16..4096]);
        let late = now(order.write_back(MountId(1), 0..4096));
        assert_eq!(late.left(), [0..8, 16..4096]);
        let elsewhere = now(order.write_back(MountId(2), 0..4096));
        assert_eq!(elsewhere.left(), [0..4096], "another kernel's pages");
        drop(change);
        assert_eq!(now(order.write_back(MountId(1), 0..4096)).left(), [0..4096]);
    }

    #[test]
    fn a_change_waits_for_the_pages_before_it_and_those_after_it_have_its_bytes() {
        let order = Arc::new(PageOrder::default());
        let fill = now(order.fill(MountId(1), 0..8192));
        let mut change = pin!(order.change(MountId(1), 4000..5000));
        let mut after = pin!(order.fill(MountId(1), 4096..8192));
        assert!(poll(&mut change).is_none() && poll(&mut after).is_none());
        drop(fill);
        assert!(poll(&mut after).is_none(), "the change goes first");
        let change = poll(&mut change).unwrap();
        assert_eq!(change.done(1000), Some(4000..5000));
        drop(poll(&mut after).unwrap());
        let back = now(order.write_back(MountId(1), 0..8192));
        assert_eq!(back.left(), [0..4000, 4096..8192], "the second page is new");
        drop(now(order.fill(MountId(1), 0..4096)));
        assert_eq!(back.left(), [0..8192]);
    }

    #[test]
    fn a_change_that_failed_hides_nothing_and_one_without_pages_tells_nobody() {
        let order = Arc::new(PageOrder::default());
        let change = now(order.change(MountId(1), 0..10));
        assert_eq!(change.done(10), None, "no page was ever asked for");
        drop(change);
        drop(now(order.fill(MountId(1), 0..10)));
        assert!(order.has_pages(MountId(1)) && !order.has_pages(MountId(2)));
        let change = now(order.change(MountId(1), 0..10));
        let mut back = pin!(order.write_back(MountId(1), 0..10));
        assert!(poll(&mut back).is_none());
        drop(change);
        assert_eq!(poll(&mut back).unwrap().left(), [0..10]);
        let half = now(order.change(MountId(1), 0..10));
        assert_eq!(half.done(5), Some(0..5));
        assert_eq!(now(order.write_back(MountId(1), 0..10)).left(), [5..10]);
        assert_eq!(half.done(0), None);
    }

    #[test]
    fn what_does_not_overlap_waits_for_nobody() {
        let order = Arc::new(PageOrder::default());
        let _change = now(order.change(MountId(1), 0..4096));
        let _other = now(order.change(MountId(1), 0..4096));
        let _fill = now(order.fill(MountId(1), 4096..8192));
        let _elsewhere = now(order.fill(MountId(2), 0..4096));
        let _back = now(order.write_back(MountId(1), 4096..8192));
    }
}
