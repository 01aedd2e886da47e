//! Tells the kernel of a mount what changed behind its back.
//!
//! Three threads per mount, because dropping cached pages may have to wait for dirty ones to be written back - by requests to this
//! very mount - while the news of an attribute waits for nothing; an open that waits for the news of an attribute therefore never
//! waits for a page, and a write that waits for its own range never for a whole file. What is said twice about one inode, or range of
//! it, before the kernel heard it is said once.

use crate::handler::{KernelNotify, WHOLE_FILE};
use fuser::INodeNo;
use parking_lot::{Condvar, Mutex};
use rdmafs_meta::id::InodeId;
use std::collections::{HashMap, VecDeque};
use std::fmt::Debug;
use std::hash::Hash;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::thread;

type Done = Box<dyn FnOnce() + Send>;

/// The sending half: never blocks, may be used by any thread. After [`Notify::stop`] nothing is sent, and every `done` is
/// called at once.
pub(super) struct Notify {
    attributes: Arc<NotifyQueue<InodeId>>,
    data: Arc<NotifyQueue<InodeId>>,
    ranges: Arc<NotifyQueue<(InodeId, Range<u64>)>>,
}

impl Notify {
    /// Starts the threads for the kernel at the other end of `notifier`, whose root is `root`.
    pub(super) fn start(notifier: fuser::Notifier, root: InodeId) -> io::Result<Self> {
        let node = move |ino| node(ino, root);
        let notify = Self {
            attributes: Arc::default(),
            data: Arc::default(),
            ranges: Arc::default(),
        };
        let (kernel, dropper) = (notifier.clone(), notifier.clone());
        // A negative offset means: attributes only.
        notify
            .attributes
            .clone()
            .serve("notify-attr", move |ino| kernel.inval_inode(node(*ino), -1, 0))?;
        notify
            .data
            .clone()
            .serve("notify-data", move |ino| notifier.inval_inode(node(*ino), 0, 0))?;
        notify.ranges.clone().serve("notify-range", move |(ino, range)| {
            let (offset, len) = offset_and_len(range);
            dropper.inval_inode(node(*ino), offset, len)
        })?;
        Ok(notify)
    }

    /// The mount is gone.
    pub(super) fn stop(&self) {
        self.attributes.stop();
        self.data.stop();
        self.ranges.stop();
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

    fn drop_range(&self, ino: InodeId, range: Range<u64>, done: Done) {
        match range == WHOLE_FILE {
            true => self.data.push(ino, Some(done)),
            false => self.ranges.push((ino, range), Some(done)),
        }
    }
}

/// What the kernel calls the inode.
fn node(ino: InodeId, root: InodeId) -> INodeNo {
    if ino == root {
        INodeNo::ROOT
    } else {
        INodeNo(ino.0)
    }
}

/// As the kernel takes it: a length of 0 is all the rest, and no file is longer than an `i64` says.
fn offset_and_len(range: &Range<u64>) -> (i64, i64) {
    let offset = i64::try_from(range.start).unwrap_or(i64::MAX);
    (offset, i64::try_from(range.end - range.start).unwrap_or(0))
}

/// Inodes, or ranges of them, that the kernel has not heard of yet, each once, in the order in which they came. The lock is never held while the kernel
/// is called, nor while a `done` runs.
struct NotifyQueue<What> {
    state: Mutex<NotifyState<What>>,
    filled: Condvar,
}

struct NotifyState<What> {
    order: VecDeque<What>,
    waiting: HashMap<What, Vec<Done>>,
    stopped: bool,
}

impl<What> Default for NotifyQueue<What> {
    fn default() -> Self {
        let state = NotifyState {
            order: VecDeque::new(),
            waiting: HashMap::new(),
            stopped: false,
        };
        Self {
            state: Mutex::new(state),
            filled: Condvar::new(),
        }
    }
}

impl<What: Clone + Debug + Eq + Hash + Send + 'static> NotifyQueue<What> {
    fn push(&self, what: What, done: Option<Done>) {
        let mut state = self.state.lock();
        if state.stopped {
            drop(state);
            done.into_iter().for_each(|done| done());
            return;
        }
        let state = &mut *state;
        let order = &mut state.order;
        let waiting = state.waiting.entry(what).or_insert_with_key(|what| {
            order.push_back(what.clone());
            Vec::new()
        });
        waiting.extend(done);
        self.filled.notify_one();
    }

    /// The next one and who waits for it; `None` once stopped and empty. Blocking.
    fn pop(&self) -> Option<(What, Vec<Done>)> {
        let mut state = self.state.lock();
        loop {
            if let Some(what) = state.order.pop_front() {
                let waiting = state.waiting.remove(&what).unwrap_or_default();
                return Some((what, waiting));
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
        tell: impl Fn(&What) -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        let serve = move || {
            while let Some((what, waiting)) = self.pop() {
                if let Err(error) = tell(&what) {
                    tracing::debug!(?what, "kernel not notified: {error}");
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
    fn what_is_said_twice_is_notified_once_and_everyone_who_waited_hears() {
        let queue = Arc::new(NotifyQueue::default());
        let heard = Arc::new(AtomicU32::new(0));
        for ino in [1, 2, 1, 1] {
            queue.push(InodeId(ino), counting(&heard));
        }
        let (tell, notified) = mpsc::channel();
        queue
            .clone()
            .serve("test", move |ino| tell.send(ino.0).map_err(io::Error::other))
            .unwrap();
        assert_eq!((notified.recv().unwrap(), notified.recv().unwrap()), (1, 2));
        let (all, done) = mpsc::channel();
        queue.push(InodeId(3), Some(Box::new(move || all.send(()).unwrap())));
        done.recv().unwrap();
        assert_eq!(notified.recv().unwrap(), 3);
        assert_eq!(heard.load(SeqCst), 4);
    }

    #[test]
    fn a_range_is_notified_with_its_offset_and_length() {
        assert_eq!(offset_and_len(&(4096..4100)), (4096, 4));
        assert_eq!(offset_and_len(&(1..i64::MAX.unsigned_abs())), (1, i64::MAX - 1));
    }

    #[test]
    fn an_inode_is_notified_anew_when_it_changes_while_the_kernel_is_being_notified() {
        let queue = Arc::new(NotifyQueue::default());
        queue.push(InodeId(1), None);
        let (ino, _) = queue.pop().unwrap();
        queue.push(ino, None);
        assert_eq!(queue.pop().unwrap().0, ino);
    }

    #[test]
    fn an_error_of_the_kernel_still_wakes_the_waiter() {
        let queue = Arc::new(NotifyQueue::<InodeId>::default());
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
        let queue = NotifyQueue::<InodeId>::default();
        let heard = Arc::new(AtomicU32::new(0));
        queue.push(InodeId(1), counting(&heard));
        queue.stop();
        assert_eq!(heard.load(SeqCst), 1);
        queue.push(InodeId(2), counting(&heard));
        assert_eq!(heard.load(SeqCst), 2);
        assert!(queue.pop().is_none());
    }
}
