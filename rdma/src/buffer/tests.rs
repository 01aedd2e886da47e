//! Slabs, parts, and who waits for them.

use super::*;
use proptest::prelude::*;
use std::sync::atomic::AtomicUsize;
use std::task::{Wake, Waker};

#[derive(Default)]
struct Count(AtomicUsize);
impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn poll(future: &mut Pin<Box<impl Future<Output = Buffer>>>, count: &Arc<Count>) -> Poll<Buffer> {
    let waker = Waker::from(Arc::clone(count));
    future.as_mut().poll(&mut Context::from_waker(&waker))
}

#[test]
fn small_ones_fall_back_to_large_ones_and_not_the_other_way() {
    let pool = BufferPool::new(1, 1).unwrap();
    let small = pool.try_get(1).unwrap();
    let large = pool.try_get(BufferPool::SMALL).unwrap();
    assert!(pool.try_get(1).is_none());
    drop(small);
    assert!(pool.try_get(BufferPool::SMALL + 1).is_none());
    drop(large);
    assert_eq!(pool.try_get(BufferPool::LARGE).unwrap().len(), BufferPool::LARGE);
}

#[test]
fn a_pool_without_a_large_buffer_is_refused() {
    assert!(BufferPool::new(4, 0).is_err());
    assert!(BufferPool::new(usize::MAX, 1).is_err());
}

#[test]
#[should_panic(expected = "no buffer has")]
fn nothing_is_longer_than_a_large_buffer() {
    let pool = BufferPool::new(0, 1).unwrap();
    drop(pool.try_get(BufferPool::LARGE + 1));
}

#[test]
fn the_last_slot_freed_is_used_first() {
    let pool = BufferPool::new(3, 1).unwrap();
    let (a, b) = (pool.try_get(10).unwrap(), pool.try_get(10).unwrap());
    let address = b.as_ptr();
    drop(a);
    drop(b);
    assert_eq!(pool.try_get(10).unwrap().as_ptr(), address);
}

#[test]
fn parts_are_disjoint_and_return_together() {
    let pool = BufferPool::new(0, 1).unwrap();
    let mut head = pool.try_get(100).unwrap();
    let mut tail = head.split_off(40);
    head.fill(1);
    tail.fill(2);
    assert_eq!((head.len(), tail.len()), (40, 60));
    drop(tail);
    assert!(pool.try_get(1).is_none());
    assert!(head.iter().all(|byte| *byte == 1));
    drop(head);
    assert!(pool.try_get(1).is_some());
}

#[test]
fn a_spare_gives_the_bytes_back_when_all_parts_are_gone_and_not_before() {
    let pool = BufferPool::new(0, 1).unwrap();
    let mut head = pool.try_get(100).unwrap();
    head.fill(7);
    let (early, spare) = (head.spare(), head.spare());
    let tail = head.split_off(40);
    drop(head);
    assert!(early.reclaim().is_none(), "a part is still there");
    drop(tail);
    assert!(pool.try_get(1).is_none(), "the spare holds the memory");
    let whole = spare.reclaim().unwrap();
    assert!(whole.len() == 100 && whole.iter().all(|byte| *byte == 7));
    drop(whole);
    assert!(pool.try_get(1).is_some());
}

#[test]
fn only_the_direct_successor_rejoins() {
    let pool = BufferPool::new(0, 2).unwrap();
    let mut a = pool.try_get(30).unwrap();
    let mut b = a.split_off(10);
    let c = b.split_off(10);
    let c = a.rejoin(c).unwrap_err();
    let half_open = pool.try_get(10).unwrap();
    assert!(a.rejoin(half_open).is_err());
    a.rejoin(b).unwrap();
    a.rejoin(c).unwrap();
    assert_eq!(a.len(), 30);
    drop(a);
    let both = (pool.try_get(1), pool.try_get(1));
    assert!(both.0.is_some() && both.1.is_some());
}

#[test]
fn waiters_are_served_in_order_and_a_dropped_one_loses_no_slot() {
    let pool = BufferPool::new(0, 1).unwrap();
    let held = pool.try_get(1).unwrap();
    let wakes: Vec<_> = (0..3).map(|_| Arc::new(Count::default())).collect();
    let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(pool.get(1))).collect();
    for (future, count) in waiting.iter_mut().zip(&wakes) {
        assert!(poll(future, count).is_pending());
    }
    drop(held);
    let woken = |at: usize| wakes[at].0.load(Ordering::SeqCst);
    assert_eq!((woken(0), woken(1), woken(2)), (1, 0, 0));
    assert!(pool.try_get(1).is_none(), "the slot belongs to the first waiter");
    drop(waiting.remove(0));
    assert_eq!((woken(1), woken(2)), (1, 0));
    assert!(poll(&mut waiting[1], &wakes[2]).is_pending());
    let Poll::Ready(second) = poll(&mut waiting[0], &wakes[1]) else {
        panic!("it was granted a slot")
    };
    drop(waiting);
    drop(second);
    assert!(pool.try_get(1).is_some());
}

#[test]
fn a_small_slot_skips_those_who_need_a_large_one() {
    let pool = BufferPool::new(1, 1).unwrap();
    let (small, large) = (pool.try_get(1).unwrap(), pool.try_get(BufferPool::LARGE).unwrap());
    let count = Arc::new(Count::default());
    let mut first = Box::pin(pool.get(BufferPool::LARGE));
    let mut second = Box::pin(pool.get(1));
    assert!(poll(&mut first, &count).is_pending());
    assert!(poll(&mut second, &count).is_pending());
    drop(small);
    assert!(poll(&mut second, &count).is_ready());
    drop(large);
    assert!(poll(&mut first, &count).is_ready());
}

/// Takes buffers of that length until the share is refused.
fn fill(share: &BufferShare, len: usize) -> Vec<Buffer> {
    std::iter::from_fn(|| share.try_get(len)).collect()
}

#[test]
fn one_share_has_half_two_have_a_third_and_each_has_one() {
    let pool = BufferPool::new(0, 32).unwrap();
    let shares: Vec<_> = (0..8).map(|_| pool.share()).collect();
    let held: Vec<_> = shares
        .iter()
        .map(|share| fill(share, BufferPool::LARGE))
        .collect();
    let counts: Vec<_> = held.iter().map(Vec::len).collect();
    assert_eq!(counts, [16, 8, 4, 2, 1, 1, 0, 0], "each has as many as are left");
    drop(held);
    let (a, b) = (&shares[0], &shares[1]);
    let (mut of_a, mut of_b) = (vec![], vec![]);
    for _ in 0..32 {
        of_a.extend(a.try_get(BufferPool::LARGE));
        of_b.extend(b.try_get(BufferPool::LARGE));
    }
    assert_eq!((of_a.len(), of_b.len()), (11, 11), "10 are left");
}

#[test]
fn small_ones_of_a_share_are_bounded_too() {
    let pool = BufferPool::new(8, 4).unwrap();
    let (greedy, other) = (pool.share(), pool.share());
    let held = fill(&greedy, 1);
    assert_eq!(held.len(), 4 + 2);
    assert!(other.try_get(1).is_some() && other.try_get(BufferPool::LARGE).is_some());
}

#[test]
fn what_comes_free_goes_to_who_holds_the_fewest() {
    let pool = BufferPool::new(0, 2).unwrap();
    let (greedy, late) = (pool.share(), pool.share());
    let first = greedy.try_get(1).unwrap();
    let last = pool.try_get(1).unwrap();
    let wakes: Vec<_> = (0..3).map(|_| Arc::new(Count::default())).collect();
    let mut early = Box::pin(greedy.get(1));
    let mut second = Box::pin(greedy.get(1));
    let mut victim = Box::pin(late.get(1));
    assert!(poll(&mut early, &wakes[0]).is_pending());
    assert!(poll(&mut second, &wakes[1]).is_pending());
    assert!(poll(&mut victim, &wakes[2]).is_pending());
    drop(last);
    let Poll::Ready(got) = poll(&mut victim, &wakes[2]) else {
        panic!("it holds none")
    };
    assert!(poll(&mut early, &wakes[0]).is_pending());
    drop(got);
    assert!(
        poll(&mut early, &wakes[0]).is_pending(),
        "it holds as many as are free"
    );
    drop(first);
    assert!(poll(&mut early, &wakes[0]).is_ready());
    assert!(poll(&mut second, &wakes[1]).is_ready(), "and again");
}

#[test]
fn a_share_that_is_gone_leaves_nothing_taken() {
    let pool = BufferPool::new(0, 4).unwrap();
    let share = pool.share();
    let held = fill(&share, 1);
    drop(share);
    let next = pool.share();
    assert_eq!(held.len(), 2);
    drop(held);
    assert_eq!(fill(&next, 1).len(), 2);
    let held: Vec<_> = (0..5).map(|_| pool.try_get(1)).collect();
    assert_eq!(held.iter().flatten().count(), 4);
}

#[test]
#[expect(
    clippy::excessive_nesting,
    reason = "threads, rounds and a wait stand in one another"
)]
fn threads_never_share_a_byte() {
    let pool = BufferPool::new(2, 2).unwrap();
    std::thread::scope(|scope| {
        for mark in 1..=8u8 {
            let pool = pool.clone();
            scope.spawn(move || {
                for round in 0..500usize {
                    let Some(mut buffer) = pool.try_get(1 + (round * 977) % 4096) else {
                        continue;
                    };
                    buffer.fill(mark);
                    std::thread::yield_now();
                    assert!(buffer.iter().all(|byte| *byte == mark));
                }
            });
        }
    });
    let all: Vec<_> = (0..4).map(|_| pool.try_get(1)).collect();
    assert!(all.iter().all(Option::is_some));
}

proptest! {
    #[test]
    fn any_splits_rejoin(cuts in proptest::collection::btree_set(1usize..4999, 0..20)) {
        let pool = BufferPool::new(0, 1).unwrap();
        let mut whole = pool.try_get(5000).unwrap();
        for (at, byte) in whole.iter_mut().enumerate() {
            *byte = u8::try_from(at % 251).unwrap();
        }
        let mut parts: Vec<Buffer> = cuts.iter().rev().map(|cut| whole.split_off(*cut)).collect();
        while let Some(next) = parts.pop() {
            prop_assert!(whole.rejoin(next).is_ok());
        }
        prop_assert!(whole.iter().enumerate().all(|(at, byte)| usize::from(*byte) == at % 251));
    }
}
