//! Parts of a buffer that end on several threads, and who waits for the buffer. What the parts hold is played by cells, one for each part.

use crate::buffer::{Buffer, BufferPool};
use crate::explore::{Latch, block_on, explore, join};
use crate::sync::Memory;
use loom::thread;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// A pool of one buffer, and what stands for the halves of its memory.
struct OneBuffer {
    pool: BufferPool,
    halves: [Memory; 2],
}

impl OneBuffer {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            pool: BufferPool::new(0, 1).expect("memory for one buffer"),
            halves: Default::default(),
        })
    }

    fn write_all(&self) {
        for half in &self.halves {
            drop(half.write());
        }
    }

    /// At the end of a play: the buffer is there, once.
    fn check_returned(&self) {
        let only = self.pool.try_get(1);
        assert!(only.is_some(), "the buffer is lost");
        assert!(self.pool.try_get(1).is_none(), "the buffer is there twice");
    }

    /// On a thread of its own: uses a half, which `part` is, and gives it up.
    fn end_part(self: &Arc<Self>, half: usize, part: Buffer) -> thread::JoinHandle<()> {
        let shared = Arc::clone(self);
        thread::spawn(move || {
            drop(shared.halves[half].write());
            drop(part);
        })
    }
}

/// Two parts end on two threads while a third one waits for the buffer.
pub fn last_part_returns_the_buffer_whole_to_its_waiter() {
    explore(|| {
        let shared = OneBuffer::new();
        let mut head = shared.pool.try_get(100).expect("the buffer is free");
        let tail = head.split_off(40);
        let ends = [shared.end_part(0, head), shared.end_part(1, tail)];
        let whole = block_on(shared.pool.get(100));
        shared.write_all();
        assert!(shared.pool.try_get(1).is_none(), "the buffer is held and free");
        drop(whole);
        join(ends);
        shared.check_returned();
    });
}

/// A part is split on one thread while another part ends: no thread ever finds the buffer free in between.
pub fn a_buffer_that_is_split_while_another_part_ends_stays_held() {
    explore(|| {
        let shared = OneBuffer::new();
        let mut head = shared.pool.try_get(100).expect("the buffer is free");
        let tail = head.split_off(40);
        let end = shared.end_part(1, tail);
        let rest = head.split_off(20);
        drop(head);
        assert!(shared.pool.try_get(1).is_none(), "a part is still there");
        drop(shared.halves[0].write());
        drop(rest);
        join([end]);
        shared.write_all();
        shared.check_returned();
    });
}

/// Parts rejoin on one thread while another one's end.
pub fn parts_that_rejoin_return_once() {
    explore(|| {
        let shared = OneBuffer::new();
        let mut head = shared.pool.try_get(100).expect("the buffer is free");
        let mut middle = head.split_off(20);
        let tail = middle.split_off(20);
        let end = shared.end_part(1, tail);
        assert!(head.rejoin(middle).is_ok(), "it follows directly");
        drop(shared.halves[0].write());
        drop(head);
        join([end]);
        shared.write_all();
        shared.check_returned();
    });
}

/// A spare is reclaimed while a part ends: the bytes come back only when nobody has a part, and the memory is never lost.
pub fn a_spare_is_reclaimed_only_alone() {
    explore(|| {
        let shared = OneBuffer::new();
        let part = shared.pool.try_get(100).expect("the buffer is free");
        let spare = part.spare();
        let end = shared.end_part(0, part);
        if let Some(whole) = spare.reclaim() {
            drop(shared.halves[0].write());
            assert!(shared.pool.try_get(1).is_none(), "the buffer is held and free");
            drop(whole);
        }
        join([end]);
        shared.check_returned();
    });
}

/// The first waiter gives up while the buffer comes free: whoever waits behind it gets the buffer.
pub fn a_waiter_that_gives_up_loses_no_buffer() {
    explore(|| {
        let shared = OneBuffer::new();
        let part = shared.pool.try_get(100).expect("the buffer is free");
        let mut first = Box::pin(shared.pool.get(1));
        let mut context = Context::from_waker(Waker::noop());
        assert!(first.as_mut().poll(&mut context).is_pending());
        let second = shared.pool.clone();
        let second = thread::spawn(move || drop(block_on(second.get(1))));
        let end = shared.end_part(0, part);
        drop(first);
        join([end, second]);
        shared.write_all();
        shared.check_returned();
    });
}

/// A waiter whose future moves to another task is woken by its newest waker.
pub fn a_waiter_is_woken_by_the_waker_that_it_polled_last_with() {
    explore(|| {
        let shared = OneBuffer::new();
        let part = shared.pool.try_get(100).expect("the buffer is free");
        let mut waits = pin!(shared.pool.get(1));
        let mut unheard = Context::from_waker(Waker::noop());
        assert!(waits.as_mut().poll(&mut unheard).is_pending());
        let end = shared.end_part(0, part);
        let latch = Arc::new(Latch::default());
        let waker = Waker::from(Arc::clone(&latch));
        let mut context = Context::from_waker(&waker);
        let buffer = loop {
            match waits.as_mut().poll(&mut context) {
                Poll::Ready(buffer) => break buffer,
                Poll::Pending => latch.pass(),
            }
        };
        drop(shared.halves[0].write());
        drop(buffer);
        join([end]);
        shared.check_returned();
    });
}
