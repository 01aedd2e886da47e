//! Work that is done whether or not somebody waits for it.

use crate::errno::Error;
use crate::executor::Executor;
use std::pin::Pin;
use std::task::{Context, Poll};

type Pending<T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>;

/// A future that is run to its end even when the operation that waits for it is given up: what it gives is dropped then.
pub(in crate::handler) struct ToTheEnd<T: Send + 'static> {
    executor: Executor,
    future: Option<Pending<T>>,
}

impl<T: Send + 'static> ToTheEnd<T> {
    pub(in crate::handler) fn new(
        executor: &Executor,
        future: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Self {
        Self {
            executor: executor.clone(),
            future: Some(Box::pin(future)),
        }
    }
}

impl<T: Send + 'static> Future for ToTheEnd<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(future) = self.future.as_mut() else {
            return Poll::Pending;
        };
        let polled = future.as_mut().poll(context);
        if polled.is_ready() {
            self.future = None;
        }
        polled
    }
}

impl<T: Send + 'static> Drop for ToTheEnd<T> {
    fn drop(&mut self) {
        if let Some(future) = self.future.take() {
            self.executor.run(0, future, drop);
        }
    }
}
