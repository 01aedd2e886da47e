//! An event with the interface and the orders of `event-listener` 5: one lock around all listeners, under which wakers are called too, and a
//! sequentially consistent fence before a notification.

use super::{Mutex, Ordering, fence};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// What can be waited for.
#[derive(Debug, Default)]
pub(crate) struct Event(Arc<Listeners>);

/// Who listens, by number.
type Listeners = Mutex<Vec<Option<Listening>>>;

#[derive(Debug)]
enum Listening {
    Waiting(Option<Waker>),
    Notified,
}

/// Ready when it was notified after it began to listen.
pub(crate) struct Listener {
    listeners: Arc<Listeners>,
    number: usize,
}

impl Event {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn listen(&self) -> Listener {
        let mut all = self.0.lock();
        let number = all.len();
        all.push(Some(Listening::Waiting(None)));
        drop(all);
        let listeners = Arc::clone(&self.0);
        Listener { listeners, number }
    }

    /// Wakes all that listen.
    pub(crate) fn notify(&self, count: usize) {
        assert_eq!(count, usize::MAX, "plays only know notifying all");
        fence(Ordering::SeqCst);
        for listening in self.0.lock().iter_mut().flatten() {
            if let Listening::Waiting(Some(waker)) = std::mem::replace(listening, Listening::Notified) {
                waker.wake();
            }
        }
    }
}

impl Future for Listener {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut all = self.listeners.lock();
        match &mut all[self.number] {
            Some(Listening::Waiting(waker)) => {
                *waker = Some(context.waker().clone());
                Poll::Pending
            }
            Some(Listening::Notified) | None => Poll::Ready(()),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let gone = self.listeners.lock()[self.number].take();
        drop(gone);
    }
}
