//! The face of a link.

use super::answer::Answer;
use super::core::Core;
use super::counters::Counters;
use super::flow::Flow;
use super::poller::Poller;
use super::record::Transmission;
use super::transfer::LinkTransfer;
use super::types::{Keep, LinkConfig, LinkError, LinkEvents};
use crate::buffer::Buffer;
use crate::fabric::{Endpoint, FabricError, Facts, Verb};
use crate::qos::share::Share;
use std::sync::Arc;
use std::time::Duration;

/// A shared, live connection. Dropping it closes it. It closes itself when an answer is owed by the node and nothing at all came for
/// twice the timeout of the call, or when transfers are and none of them went on for twice theirs: what it owes is never given up by half.
pub struct Link {
    core: Arc<Core>,
}

impl Link {
    /// Takes an endpoint over and starts its poller thread, which ends with the link.
    ///
    /// # Panics
    /// The system has no thread to give.
    pub fn start(endpoint: Arc<dyn Endpoint>, config: LinkConfig, events: Arc<dyn LinkEvents>) -> Arc<Self> {
        let (link, poller) = Self::with_poller(endpoint, config, events);
        std::thread::Builder::new()
            .name("link-poller".to_owned())
            .spawn(move || poller.run())
            .expect("a thread for the link's poller");
        link
    }

    /// Takes an endpoint over without a thread: nothing arrives unless somebody lets the poller work.
    pub fn with_poller(
        endpoint: Arc<dyn Endpoint>,
        config: LinkConfig,
        events: Arc<dyn LinkEvents>,
    ) -> (Arc<Self>, Poller) {
        let core = Arc::new(Core::new(endpoint, config));
        let poller = Poller::new(Arc::clone(&core), events);
        (Arc::new(Self { core }), poller)
    }

    /// What the endpoint is.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        self.core.endpoint.facts()
    }

    /// True until the link has failed or was closed.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.core.is_up()
    }

    /// A place for a mount. Its transfers fail with [`LinkError::TimedOut`] when the node has left them unanswered for `timeout`;
    /// time spent throttled is not counted.
    #[must_use]
    pub fn open_flow(self: &Arc<Self>, share: Share, timeout: Duration) -> Flow {
        self.core.watch_for(timeout);
        let now = self.core.now();
        let id = self.core.table.lock().scheduler.add_flow(share, now);
        Flow {
            core: Arc::clone(&self.core),
            id,
            timeout,
            counters: Arc::new(Counters::default()),
        }
    }

    /// Reads arena bytes `[remote, remote + buffer.len())` into `buffer`. Work with equal `queue_key` uses the same queue.
    /// Posts before it returns when nothing throttles. Dropping the future abandons the transfer: what is not posted is
    /// cancelled; buffer and `keep` live until the rest has ended, also after [`LinkError::TimedOut`].
    ///
    /// # Errors
    /// The first error of its parts. `flow` must be of this link.
    pub fn read(
        self: &Arc<Self>,
        flow: &Flow,
        queue_key: u64,
        remote: u64,
        buffer: Buffer,
        keep: Option<Keep>,
    ) -> impl Future<Output = Result<Buffer, LinkError>> + Send + 'static {
        let request = Transmission {
            verb: Verb::Read,
            queue: queue(queue_key),
            remote,
            buffer,
            keep,
            flow: flow.id,
            timeout: flow.timeout,
            counters: Arc::clone(&flow.counters),
        };
        LinkTransfer::start(&self.core, request)
    }

    /// Writes `buffer` to arena bytes from `remote` on. Otherwise like [`Link::read`].
    ///
    /// # Errors
    /// As [`Link::read`]; then any part of the bytes may have been written.
    pub fn write(
        self: &Arc<Self>,
        flow: &Flow,
        queue_key: u64,
        remote: u64,
        buffer: Buffer,
        keep: Option<Keep>,
    ) -> impl Future<Output = Result<Buffer, LinkError>> + Send + 'static {
        let request = Transmission {
            verb: Verb::Write,
            queue: queue(queue_key),
            remote,
            buffer,
            keep,
            flow: flow.id,
            timeout: flow.timeout,
            counters: Arc::clone(&flow.counters),
        };
        LinkTransfer::start(&self.core, request)
    }

    /// For how long the node has owed an answer to a call and not said anything, zero when it owes none; of a link that is down: when it went.
    #[must_use]
    pub fn silence(&self) -> Duration {
        self.core.silence()
    }

    /// Sends a call before it returns; the future waits (parked) for its answer, at most for `timeout`. While the node does not answer at all,
    /// calls share that time: the first waits for it, later ones for what is left of it, or a tenth.
    /// Messages are framed `id: u64 little-endian, payload`: the node answers with the same id; id 0 is a notice.
    ///
    /// # Errors
    /// Not sent, not answered in time, or the link went down: the call may have been executed.
    pub fn call(
        self: &Arc<Self>,
        payload: &[u8],
        timeout: Duration,
    ) -> impl Future<Output = Result<Vec<u8>, LinkError>> + Send + 'static {
        Answer::to_call(&self.core, payload, timeout)
    }

    /// Ends the link: everything outstanding fails with [`FabricError::Flushed`]. Idempotent; does not wait for it.
    pub fn close(&self) {
        self.core.close(FabricError::Flushed);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.close();
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("facts", self.facts()).finish()
    }
}

/// Keys are spread over the queues by their low bits.
fn queue(key: u64) -> usize {
    usize::try_from(key & u64::from(u32::MAX)).unwrap_or(0)
}
