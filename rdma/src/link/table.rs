//! All transfers of a link, and whose turn it is: a pure state machine under the link's first lock.
//!
//! Methods are short and run no foreign code. What they free or wake is put into an [`Deferred`], which the caller
//! lets happen after unlocking.

use super::counters::HeldBy;
use super::record::{Record, Transmission, slot_of};
use super::silence::silence_ends;
use super::types::{Keep, LinkError};
use crate::buffer::Buffer;
use crate::fabric::{Completion, FabricError, Work};
use crate::qos::scheduler::{FlowId, Limits, Next, Scheduler, Token};
use std::task::Waker;
use std::time::Duration;

/// What to drop and whom to wake once no lock is held.
#[derive(Default)]
pub(super) struct Deferred {
    wakers: Vec<Waker>,
    keeps: Vec<Keep>,
    buffers: Vec<Buffer>,
    records: Vec<Record>,
    /// Wakers that were replaced: a waker's drop may drop a task.
    stale: Vec<Waker>,
}

impl Deferred {
    /// Drops first, so that who is woken finds buffers free and keeps gone.
    pub(super) fn run(&mut self) {
        self.records.clear();
        self.buffers.clear();
        self.keeps.clear();
        self.stale.clear();
        self.wakers.drain(..).for_each(Waker::wake);
    }

    pub(super) fn wakers(&mut self) -> &mut Vec<Waker> {
        &mut self.wakers
    }

    pub(super) fn wake(&mut self, waker: Option<Waker>) {
        self.wakers.extend(waker);
    }
}

/// What the scheduler allows now.
pub(super) enum Step {
    /// Post this on that queue.
    Post { slot: u32, queue: usize, work: Work },
    /// Nothing, before that time unless something changes.
    Wait(Duration),
}

pub(super) struct Table {
    pub(super) scheduler: Scheduler,
    slots: Vec<Option<Record>>,
    free: Vec<u32>,
    /// Why nothing works any more.
    pub(super) down: Option<FabricError>,
    /// When the endpoint last said anything.
    pub(super) last_event: Duration,
    /// When a slice of any transfer was last done: messages are no sign that transfers go on.
    last_done: Duration,
    /// The poller sleeps until then; zero while it runs and will look at the scheduler before it sleeps.
    pub(super) poller_until: Duration,
}

impl Table {
    pub(super) fn new(limits: Limits, now: Duration) -> Self {
        Self {
            scheduler: Scheduler::new(limits, now),
            slots: Vec::new(),
            free: Vec::new(),
            down: None,
            last_event: now,
            last_done: now,
            poller_until: Duration::ZERO,
        }
    }

    /// Queues a transfer.
    // Its one caller stands in another file, and every transfer passes here.
    #[inline]
    pub(super) fn admit(&mut self, request: Transmission, now: Duration) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        self.scheduler
            .enqueue(request.flow, request.buffer.len(), token(slot));
        self.slots[slot as usize] = Some(Record::new(request, now));
        slot
    }

    /// The next slice to post.
    pub(super) fn next(&mut self, now: Duration) -> Step {
        loop {
            let (slot, bytes) = match self.scheduler.next(now) {
                Next::Post { token, bytes } => (slot_of_token(token), bytes),
                Next::WaitUntil(time) => return Step::Wait(time),
                Next::Idle => return Step::Wait(Duration::MAX),
            };
            let record = self.record(slot);
            match record.and_then(|r| Some((r.queue, r.cut(slot, bytes, now)?))) {
                Some((queue, work)) => return Step::Post { slot, queue, work },
                None => self.scheduler.completed(bytes),
            }
        }
    }

    /// A slice is done. Answers with the whole record when its transfer ended and is `own`.
    pub(super) fn complete(
        &mut self,
        completion: Completion,
        own: Option<u32>,
        now: Duration,
        after: &mut Deferred,
    ) -> Option<Record> {
        self.last_done = now;
        self.scheduler.completed(completion.buffer.len());
        let slot = slot_of(completion.id);
        let Some(record) = self.record(slot) else {
            after.buffers.push(completion.buffer);
            return None;
        };
        record.take_back(completion, now);
        if record.error.is_some() {
            self.cancel(slot, after);
        }
        if own == Some(slot) && self.record(slot).is_some_and(|r| r.ended()) {
            return self.retire(slot);
        }
        self.settle(slot, after);
        None
    }

    /// The caller could not post all at once: it waits for the share or the window.
    pub(super) fn note_wait(&mut self, slot: u32) {
        let Some(flow) = self.record(slot).map(|record| record.flow) else {
            return;
        };
        let by = match self.scheduler.is_limited(flow) {
            true => HeldBy::Share,
            false => HeldBy::Window,
        };
        if let Some(record) = self.record(slot).filter(|record| record.rest.is_some()) {
            record.held_by = Some(by);
            record.counters.waits(by);
        }
    }

    /// A future asks for its outcome.
    pub(super) fn poll(
        &mut self,
        slot: u32,
        waker: &Waker,
        after: &mut Deferred,
    ) -> Option<Result<Buffer, LinkError>> {
        let record = self.record(slot)?;
        let Some(outcome) = record.outcome.take() else {
            let same = record.waker.as_ref().is_some_and(|old| old.will_wake(waker));
            if !same {
                after.stale.extend(record.waker.replace(waker.clone()));
            }
            return None;
        };
        record.awaited = false;
        self.settle(slot, after);
        Some(outcome)
    }

    /// A future was dropped: what is posted goes on, the rest is not.
    pub(super) fn abandon(&mut self, slot: u32, after: &mut Deferred) {
        let Some(record) = self.record(slot) else { return };
        record.awaited = false;
        after.stale.extend(record.waker.take());
        record.error.get_or_insert(FabricError::Flushed.into());
        self.cancel(slot, after);
        self.settle(slot, after);
    }

    /// Removes a flow and fails what it had queued.
    pub(super) fn close_flow(&mut self, flow: FlowId, after: &mut Deferred) {
        for token in self.scheduler.remove_flow(flow) {
            self.fail(slot_of_token(token), FabricError::Flushed.into(), after);
        }
    }

    /// Fails everything, now and later.
    pub(super) fn go_down(&mut self, error: &FabricError, after: &mut Deferred) {
        self.down = Some(error.clone());
        for slot in self.occupied() {
            self.fail(slot, error.clone().into(), after);
        }
    }

    /// Tells the futures of transfers that the node left unanswered for their timeout. Answers with when to ask again, and when the
    /// node is dead if nothing comes.
    pub(super) fn expire(&mut self, now: Duration, after: &mut Deferred) -> (Duration, Duration) {
        let last_event = self.last_event;
        let in_flight = || self.records().filter(|record| record.in_flight());
        let quiet_since = in_flight().map(|r| r.since).min();
        let quiet_since = quiet_since.map(|oldest| oldest.max(last_event));
        let dead_at = in_flight().map(|r| silence_ends(r.since, self.last_done, r.timeout));
        let dead_at = dead_at.min().unwrap_or(Duration::MAX);
        let mut next = Duration::MAX;
        for slot in self.occupied() {
            let Some((since, timeout)) = self.due(slot, quiet_since) else {
                continue;
            };
            let due = since.saturating_add(timeout);
            if due > now {
                next = next.min(due);
                continue;
            }
            self.time_out(slot, timeout, after);
        }
        (next, dead_at)
    }

    /// The timeout of a transfer, and from when on it counts; `None` when it does not count. What is only queued is owed nothing by
    /// the node, unless the node leaves everything unanswered.
    fn due(&self, slot: u32, quiet_since: Option<Duration>) -> Option<(Duration, Duration)> {
        let record = self.slots.get(slot as usize)?.as_ref()?;
        if record.outcome.is_some() || !record.awaited {
            return None;
        }
        if record.in_flight() {
            return Some((record.since, record.timeout));
        }
        quiet_since.map(|since| (since.max(record.queued_at), record.timeout))
    }

    fn time_out(&mut self, slot: u32, timeout: Duration, after: &mut Deferred) {
        let error = LinkError::TimedOut(timeout);
        if let Some(record) = self.record(slot) {
            record.outcome = Some(Err(error.clone()));
            after.wake(record.waker.take());
        }
        self.fail(slot, error, after);
    }

    /// Sets a transfer's error and drops what it has not posted.
    fn fail(&mut self, slot: u32, error: LinkError, after: &mut Deferred) {
        if let Some(record) = self.record(slot) {
            record.error.get_or_insert(error);
        }
        self.cancel(slot, after);
        self.settle(slot, after);
    }

    fn cancel(&mut self, slot: u32, after: &mut Deferred) {
        let Some(record) = self.record(slot) else { return };
        let Some(rest) = record.rest.take() else { return };
        after.buffers.push(rest);
        let flow = record.flow;
        self.scheduler.cancel(flow, token(slot));
    }

    /// If the transfer has ended, hands its outcome to its future, or frees the slot when nobody waits.
    fn settle(&mut self, slot: u32, after: &mut Deferred) {
        let Some(record) = self.record(slot).filter(|record| record.ended()) else {
            return;
        };
        if !record.awaited {
            after.records.extend(self.retire(slot));
            return;
        }
        if record.outcome.is_none() {
            record.outcome = Some(record.result());
        }
        after.keeps.extend(record.keep.take());
        after.wake(record.waker.take());
    }

    fn retire(&mut self, slot: u32) -> Option<Record> {
        let record = self.slots.get_mut(slot as usize)?.take();
        if record.is_some() {
            self.free.push(slot);
        }
        record
    }

    fn record(&mut self, slot: u32) -> Option<&mut Record> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    fn records(&self) -> impl Iterator<Item = &Record> {
        self.slots.iter().flatten()
    }

    fn occupied(&self) -> Vec<u32> {
        let occupied = |(slot, record): (usize, &Option<Record>)| {
            record.as_ref()?;
            u32::try_from(slot).ok()
        };
        self.slots.iter().enumerate().filter_map(occupied).collect()
    }
}

fn token(slot: u32) -> Token {
    Token(u64::from(slot))
}

fn slot_of_token(token: Token) -> u32 {
    u32::try_from(token.0).unwrap_or(u32::MAX)
}
