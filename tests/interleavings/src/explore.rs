//! Running a play in all interleavings, and what plays wait by.

use crate::sync::{Condvar, Mutex};
use loom::thread::JoinHandle;
use std::io::Write;
use std::pin::pin;
use std::sync::{Arc, Once};
use std::task::{Context, Poll, Wake, Waker};

/// Preemptions in one run of a play, unless `LOOM_MAX_PREEMPTIONS` says another number: most bugs need two.
const PREEMPTIONS: usize = 3;
/// Steps of one run: far above what any takes, so whoever reaches them runs in a circle.
const STEPS: usize = 10_000;

/// Runs a play in all its interleavings.
pub(crate) fn explore(play: impl Fn() + Send + Sync + 'static) {
    static HOOK: Once = Once::new();
    HOOK.call_once(name_failures);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(PREEMPTIONS));
    builder.max_branches = STEPS;
    builder.check(play);
}

/// Has each failure said at once: where a play fails, what it holds is dropped outside of loom, which may end the process, and what the
/// test had printed is lost with it.
fn name_failures() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current();
        let play = thread.name().unwrap_or_default();
        // Whoever cannot write has the test's own output.
        let _written = writeln!(std::io::stderr(), "in {play}: {panic}");
        before(panic);
    }));
}

/// Waits until the threads have ended.
pub(crate) fn join(threads: impl IntoIterator<Item = JoinHandle<()>>) {
    for thread in threads {
        thread.join().expect("no thread of a play panics");
    }
}

/// A flag that a thread can wait for.
#[derive(Default)]
pub(crate) struct Latch {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Latch {
    pub(crate) fn open(&self) {
        *self.open.lock() = true;
        self.opened.notify_all();
    }

    /// Waits until it is open, and shuts it.
    pub(crate) fn pass(&self) {
        let mut open = self.open.lock();
        while !*open {
            self.opened.wait(&mut open);
        }
        *open = false;
    }
}

impl Wake for Latch {
    fn wake(self: Arc<Self>) {
        self.open();
    }
}

/// The result of a future; it is polled only when it was woken.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let latch = Arc::new(Latch::default());
    let waker = Waker::from(Arc::clone(&latch));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(result) => return result,
            Poll::Pending => latch.pass(),
        }
    }
}
