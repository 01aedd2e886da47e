//! Where woken operations wait for a thread.
//!
//! A thread that is running operations ("a runner") keeps what it wakes for itself and runs it after the present step: a
//! wake-up across threads costs more than most steps. What other threads wake goes to the spare runner, and so does what a
//! runner did not get to in [`STEPS`] steps: operations that keep waking each other must not keep a poller from the
//! completion that they all wait for.

use crate::sync::{Condvar, Mutex, thread_local};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;

/// Steps that a runner does at a time.
const STEPS: usize = 1024;

/// Something that can be run for a step.
pub(super) trait Runnable: Send + Sync {
    /// Polls it once; replies when it is done.
    fn step(self: Arc<Self>);
}

/// A woken operation and the queue it belongs to.
type Ready = (Arc<RunQueue>, Arc<dyn Runnable>);

/// Operations for the spare runner.
#[derive(Default)]
pub(super) struct RunQueue {
    shared: Mutex<Shared>,
    arrived: Condvar,
    /// No thread serves it: everything waits here until `RunQueue::step`.
    stepped: bool,
}

#[derive(Default)]
struct Shared {
    ready: VecDeque<Arc<dyn Runnable>>,
    closed: bool,
}

/// What this thread woke while it was running operations.
#[derive(Default)]
struct Local {
    /// Above 0 while an operation is being run here, or for ever on a poller thread.
    running: u32,
    draining: bool,
    ready: VecDeque<Ready>,
}

impl Local {
    /// Gives what is left to the spare runner.
    fn hand_on(&mut self) {
        for (queue, task) in self.ready.drain(..) {
            queue.push_shared(task);
        }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.hand_on();
    }
}

thread_local! {
    static LOCAL: RefCell<Local> = RefCell::default();
}

fn with_local<T>(act: impl FnOnce(&mut Local) -> T) -> T {
    LOCAL.with(|local| act(&mut local.borrow_mut()))
}

impl RunQueue {
    /// Takes a woken operation: to this thread if it is a runner, else to the spare one.
    pub(super) fn push(self: &Arc<Self>, task: Arc<dyn Runnable>) {
        if self.stepped {
            return self.push_shared(task);
        }
        let mut task = Some(task);
        let _ended = LOCAL.try_with(|local| {
            let mut local = local.borrow_mut();
            let runner = local.running > 0;
            if runner && let Some(task) = task.take() {
                local.ready.push_back((self.clone(), task));
            }
        });
        if let Some(task) = task {
            self.push_shared(task);
        }
    }

    /// A queue that is closed takes it as well: it must not be dropped here, because who wakes may hold a lock that the operation takes
    /// when it is dropped (`event_listener` wakes under its own).
    fn push_shared(&self, task: Arc<dyn Runnable>) {
        self.shared.lock().ready.push_back(task);
        self.arrived.notify_one();
    }

    /// The spare runner's life.
    pub(super) fn serve(&self) {
        become_runner();
        loop {
            let mut shared = self.shared.lock();
            let task = loop {
                if shared.closed {
                    return;
                }
                if let Some(task) = shared.ready.pop_front() {
                    break task;
                }
                self.arrived.wait(&mut shared);
            };
            drop(shared);
            task.step();
            drain();
        }
    }

    /// Ends [`RunQueue::serve`] and drops what is ready. What is woken later waits for another call.
    pub(super) fn close(&self) {
        let mut shared = self.shared.lock();
        shared.closed = true;
        let left = std::mem::take(&mut shared.ready);
        drop(shared);
        drop(left);
        self.arrived.notify_all();
    }
}

#[cfg(any(test, feature = "testing"))]
impl RunQueue {
    /// A queue without threads.
    pub(super) fn stepped() -> Self {
        Self {
            stepped: true,
            ..Self::default()
        }
    }

    /// Does one step of what is ready, in the order of the wakes. False when nothing was.
    pub(super) fn step(&self) -> bool {
        let task = self.shared.lock().ready.pop_front();
        task.is_some_and(|task| {
            task.step();
            true
        })
    }
}

/// Makes this thread keep what it wakes from now on; it must call [`drain`] again and again.
pub(super) fn become_runner() {
    with_local(|local| local.running = local.running.max(1));
}

/// Runs `first`, then what became ready on this thread.
pub(super) fn run_here(first: Arc<dyn Runnable>) {
    with_local(|local| local.running += 1);
    first.step();
    drain();
    with_local(|local| local.running -= 1);
}

/// Runs what became ready on this thread. Nested calls leave it to the outermost.
pub(super) fn drain() {
    let nested = with_local(|local| std::mem::replace(&mut local.draining, true));
    if nested {
        return;
    }
    for _ in 0..STEPS {
        let Some((_, task)) = with_local(|local| local.ready.pop_front()) else {
            break;
        };
        task.step();
    }
    with_local(|local| {
        local.hand_on();
        local.draining = false;
    });
}
