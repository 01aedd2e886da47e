//! An operation of a play, and what is noted of it.

use super::kill_watch::{KillWatch, WatchedTask};
use super::queue::RunQueue;
use super::task::Task;
use crate::errno::Error;
use crate::explore::Latch;
use crate::sync::{AtomicBool, Memory, Mutex, Ordering};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// What became of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Done,
    Interrupted,
    /// It was dropped without an answer: a reply of FUSE then answers EIO itself.
    Dropped,
}

/// What is noted of an operation.
#[derive(Default)]
pub(super) struct Notes {
    polls: Mutex<usize>,
    drops: Mutex<usize>,
    answers: Mutex<Vec<Answer>>,
}

impl Notes {
    pub(super) fn polls(&self) -> usize {
        *self.polls.lock()
    }

    /// The only answer; the operation was dropped, once.
    pub(super) fn answer(&self) -> Answer {
        assert_eq!(*self.drops.lock(), 1, "an operation is dropped once");
        let answers = self.answers.lock();
        assert_eq!(answers.len(), 1, "an operation is answered once: {:?}", *answers);
        answers[0]
    }
}

/// What an operation waits for: all flags. Raising one is not ordered with the poll that reads it but by the wake.
pub(super) struct Condition {
    flags: Vec<AtomicBool>,
    waker: Mutex<Option<Waker>>,
    /// The operation was polled, for each thread that raises a flag.
    polled: Vec<Latch>,
}

impl Condition {
    pub(super) fn of_flags(count: usize) -> Arc<Self> {
        Arc::new(Self {
            flags: (0..count).map(|_| AtomicBool::new(false)).collect(),
            waker: Mutex::default(),
            polled: (0..count).map(|_| Latch::default()).collect(),
        })
    }

    /// On the thread that raises this flag: waits until the operation is being polled for the first time, raises the flag, wakes.
    pub(super) fn raise(&self, flag: usize) {
        self.polled[flag].pass();
        let waker = self.waker.lock().clone().expect("it was polled");
        self.flags[flag].store(true, Ordering::Relaxed);
        waker.wake();
    }

    /// Forgets the operation.
    pub(super) fn forget(&self) {
        let waker = self.waker.lock().take();
        drop(waker);
    }
}

/// Parked by its first poll, and ready when all flags are up.
struct AllRaised {
    condition: Arc<Condition>,
    polled: bool,
}

impl Future for AllRaised {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if !self.polled {
            self.polled = true;
            *self.condition.waker.lock() = Some(context.waker().clone());
            self.condition.polled.iter().for_each(Latch::open);
            return Poll::Pending;
        }
        let mut flags = self.condition.flags.iter();
        match flags.all(|flag| flag.load(Ordering::Relaxed)) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

/// What an operation does, with what is noted of it.
struct Noted<F> {
    waits: Pin<Box<F>>,
    notes: Arc<Notes>,
    body: Memory,
}

impl<F: Future<Output = ()>> Future for Noted<F> {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        *self.notes.polls.lock() += 1;
        let running = self.body.write();
        let polled = self.waits.as_mut().poll(context);
        drop(running);
        polled.map(Ok)
    }
}

impl<F> Drop for Noted<F> {
    fn drop(&mut self) {
        drop(self.body.write());
        *self.notes.drops.lock() += 1;
    }
}

/// Notes the answer, also that there was none.
struct Reply {
    notes: Arc<Notes>,
    answer: Answer,
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.notes.answers.lock().push(self.answer);
    }
}

/// The executor that an operation is run by, without its threads.
#[derive(Clone, Default)]
pub(super) struct Host {
    pub(super) queue: Arc<RunQueue>,
    pub(super) watch: Arc<KillWatch>,
    pub(super) notes: Arc<Notes>,
}

/// An operation as the queue and the kill watch know it.
pub(super) trait Started: super::queue::Runnable + super::kill_watch::Killable {}
impl<T: super::queue::Runnable + super::kill_watch::Killable> Started for T {}

impl Host {
    /// An operation that waits for all flags of the condition.
    pub(super) fn operation(&self, condition: &Arc<Condition>) -> Arc<impl Started + use<>> {
        self.operation_of(AllRaised {
            condition: Arc::clone(condition),
            polled: false,
        })
    }

    /// An operation that is done when `waits` is. Its answer closes the queue, so that a thread that serves it returns.
    pub(super) fn operation_of<F>(&self, waits: F) -> Arc<impl Started + use<F>>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let notes = Arc::clone(&self.notes);
        let mut reply = Reply {
            notes: Arc::clone(&notes),
            answer: Answer::Dropped,
        };
        let operation = Noted {
            waits: Box::pin(waits),
            notes,
            body: Memory::default(),
        };
        let queue = Arc::clone(&self.queue);
        let reply = move |result: Result<(), Error>| {
            let dropped = *reply.notes.drops.lock();
            assert_eq!(dropped, 1, "an operation is dropped before it is answered");
            reply.answer = match result {
                Ok(()) => Answer::Done,
                Err(Error::Interrupted) => Answer::Interrupted,
                Err(error) => panic!("{error:?}"),
            };
            drop(reply);
            queue.close();
        };
        let caller = WatchedTask {
            tid: 1,
            any_signal: false,
        };
        Task::new(self.queue.clone(), self.watch.clone(), caller, operation, reply)
    }
}
