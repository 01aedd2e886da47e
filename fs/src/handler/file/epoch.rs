//! Knowing when the last transfer on a recalled layout has ended.
//!
//! Whoever uses an inode's layout holds its present epoch: an operation from the moment it looked the layout up, then the
//! link for as long as the transfer really runs, even when nobody waits for it any more. A recall retires the epoch; later
//! work holds the next one, so a recall ends however busy the file is.

use crate::sync::{Arc, Event, Ordering, fence};
use std::sync::OnceLock;

/// A guard of the layout as it was known for a while.
#[derive(Debug)]
pub(in crate::handler) struct Epoch {
    ended: Arc<Event>,
    /// An epoch has not ended before those that went before it: they hold it.
    next: OnceLock<Arc<Epoch>>,
}

impl Epoch {
    pub(in crate::handler) fn new() -> Arc<Self> {
        Arc::new(Self {
            ended: Arc::new(Event::new()),
            next: OnceLock::new(),
        })
    }

    /// Puts a new epoch in the place of `present`; the answer is ready when nobody holds the old one or an earlier one.
    pub(in crate::handler) fn retire(present: &mut Arc<Self>) -> impl Future<Output = ()> + Send + use<> {
        let new = Self::new();
        let old = std::mem::replace(present, new.clone());
        let ended = old.ended.clone();
        let weak = Arc::downgrade(&old);
        // Set once: only the present epoch is retired, under its inode's lock.
        let _set = old.next.set(new);
        drop(old);
        async move {
            while weak.strong_count() > 0 {
                let listener = ended.listen();
                if weak.strong_count() == 0 {
                    break;
                }
                listener.await;
            }
            // Reading the count orders nothing: what the holders did to the arena has happened before whoever waits goes on.
            fence(Ordering::Acquire);
        }
    }
}

impl Drop for Epoch {
    fn drop(&mut self) {
        self.ended.notify(usize::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Waker};

    fn is_ready(future: &mut std::pin::Pin<&mut impl Future<Output = ()>>) -> bool {
        future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_ready()
    }

    #[test]
    fn an_epoch_ends_with_its_last_holder_and_not_before_its_forerunners() {
        let mut present = Epoch::new();
        let first = present.clone();
        let mut one = pin!(Epoch::retire(&mut present));
        let second = present.clone();
        let mut two = pin!(Epoch::retire(&mut present));
        let _third = present.clone();
        assert!(!is_ready(&mut one) && !is_ready(&mut two));
        drop(second);
        assert!(!is_ready(&mut two), "the first epoch still runs");
        drop(first);
        assert!(is_ready(&mut one) && is_ready(&mut two));
        assert!(is_ready(&mut pin!(Epoch::retire(&mut Epoch::new()))));
    }
}
