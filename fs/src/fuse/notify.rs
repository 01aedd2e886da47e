//! Tells the kernel of a mount what changed behind its back.
//!
//! Two threads per mount, because dropping cached pages may have to wait for dirty ones to be written back - by requests to this
//! very mount - while the news of an attribute waits for nothing; an open that waits for the news of an attribute therefore never
//! waits for a page. What is said twice about one inode before the kernel heard it is said once.

use crate::handler::KernelNotify;
use fuser::INodeNo;
use parking_lot::{Condvar, Mutex};
use rdmafs_meta::id::InodeId;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::thread;

type Done = Box<dyn FnOnce() + Send>;

/// The sending half: never blocks, may be used by any thread. After [`Notify::stop`] nothing is sent, and every `done` is
/// called at once.
pub(super) struct Notify {
    attributes: Arc<Queue>,
    data: Arc<Queue>,
}

impl Notify {
    /// Starts the two threads for the kernel at the other end of `notifier`.
    pub(super) fn start(notifier: fuser::Notifier) -> io::Result<Self> {
        let notify = Self {
            attributes: Arc::default(),
            data: Arc::default(),
        };
        let kernel = notifier.clone();
        // A negative offset means: attributes only.
        notify
            .attributes
            .clone()
            .serve("notify-attr", move |ino| kernel.inval_inode(ino, -1, 0))?;
        notify
            .data
            .clone()
            .serve("notify-data", move |ino| notifier.inval_inode(ino, 0, 0))?;
        Ok(notify)
    }

    /// The mount is gone.
    pub(super) fn stop(&self) {
        self.attributes.stop();
        self.data.stop();
    }
}

impl KernelNotify for Notify {
    fn attributes_changed(&self, ino: InodeId, done: Option<Done>) {
        self.attributes.push(ino, done);
    }

    fn data_changed(&self, ino: InodeId) {
        self.data.push(ino, None);
    }

    fn write_back(&self, ino: InodeId, done: Done) {
        self.data.push(ino, Some(done));
    }
}

/// Inodes that the kernel has not heard of yet, each once, in the order in which they came. The lock is never held while the kernel
/// is called, nor while a `done` runs.
#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    filled: Condvar,
}

#[derive(Default)]
struct State {
    order: VecDeque<InodeId>,
    waiting: HashMap<InodeId, Vec<Done>>,
    stopped: bool,
}

impl Queue {
    fn push(&self, ino: InodeId, done: Option<Done>) {
        let mut state = self.state.lock();
        if state.stopped {
            drop(state);
            done.into_iter().for_each(|done| done());
            return;
        }
        let state = &mut *state;
        let waiting = state.waiting.entry(ino).or_insert_with(|| {
            state.order.push_back(ino);
            Vec::new()
        });
        waiting.extend(done);
        self.filled.notify_one();
    }

    /// The next inode and who waits for it; `None` once stopped and empty. Blocking.
    fn pop(&self) -> Option<(InodeId, Vec<Done>)> {
        let mut state = self.state.lock();
        loop {
            if let Some(ino) = state.order.pop_front() {
                let waiting = state.waiting.remove(&ino).unwrap_or_default();
                return Some((ino, waiting));
            }
            if state.stopped {
                return None;
            }
            self.filled.wait(&mut state);
        }
    }

    fn stop(&self) {
        let mut state = self.state.lock();
        state.stopped = true;
        state.order.clear();
        let waiting = std::mem::take(&mut state.waiting);
        self.filled.notify_all();
        drop(state);
        waiting.into_values().flatten().for_each(|done| done());
    }

    fn serve(
        self: Arc<Self>,
        name: &str,
        tell: impl Fn(INodeNo) -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        let serve = move || {
            while let Some((ino, waiting)) = self.pop() {
                if let Err(error) = tell(INodeNo(ino.0)) {
                    tracing::debug!(%ino, "kernel not notified: {error}");
                }
                waiting.into_iter().for_each(|done| done());
            }
        };
        thread::Builder::new().name(name.into()).spawn(serve).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
    use std::sync::mpsc;

    fn counting(counter: &Arc<AtomicU32>) -> Option<Done> {
        let counter = counter.clone();
        Some(Box::new(move || {
            counter.fetch_add(1, SeqCst);
        }))
    }

    #[test]
    fn what_is_said_twice_is_told_once_and_everyone_who_waited_hears() {
        let queue = Arc::new(Queue::default());
        let heard = Arc::new(AtomicU32::new(0));
        for ino in [1, 2, 1, 1] {
            queue.push(InodeId(ino), counting(&heard));
        }
        let (tell, told) = mpsc::channel();
        queue
            .clone()
            .serve("test", move |ino| tell.send(ino.0).map_err(io::Error::other))
            .unwrap();
        assert_eq!((told.recv().unwrap(), told.recv().unwrap()), (1, 2));
        let (all, done) = mpsc::channel();
        queue.push(InodeId(3), Some(Box::new(move || all.send(()).unwrap())));
        done.recv().unwrap();
        assert_eq!(told.recv().unwrap(), 3);
        assert_eq!(heard.load(SeqCst), 4);
    }

    #[test]
    fn an_inode_is_told_again_when_it_changes_while_the_kernel_is_being_told() {
        let queue = Arc::new(Queue::default());
        queue.push(InodeId(1), None);
        let (ino, _) = queue.pop().unwrap();
        queue.push(ino, None);
        assert_eq!(queue.pop().unwrap().0, ino);
    }

    #[test]
    fn an_error_of_the_kernel_still_wakes_the_waiter() {
        let queue = Arc::new(Queue::default());
        queue
            .clone()
            .serve("test", |_| Err(io::ErrorKind::NotConnected.into()))
            .unwrap();
        let (all, done) = mpsc::channel();
        queue.push(InodeId(1), Some(Box::new(move || all.send(()).unwrap())));
        done.recv().unwrap();
    }

    #[test]
    fn a_mount_that_ends_leaves_nobody_waiting() {
        let queue = Queue::default();
        let heard = Arc::new(AtomicU32::new(0));
        queue.push(InodeId(1), counting(&heard));
        queue.stop();
        assert_eq!(heard.load(SeqCst), 1);
        queue.push(InodeId(2), counting(&heard));
        assert_eq!(heard.load(SeqCst), 2);
        assert!(queue.pop().is_none());
    }
}
