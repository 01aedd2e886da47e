//! Deficit round-robin over the window of a link.
//!
//! Flows with work stand in a ring. A round gives each flow credit in proportion to its weight; a turn posts one slice and
//! uses credit up, so that turns of a heavy flow interleave with those of the others and a small request waits for about
//! one slice. A flow may overdraw by less than a slice and starts the next rounds with that debt, so shares are exact over time.
//! A flow out of credit stands in the second ring until no flow of the first one is left; then a new round begins.
//!
//! A flow whose token buckets are empty leaves the rings until they have refilled: it blocks nobody. Requests are cut at the
//! moment of posting, so a changed share is felt by work that is already queued. A request counts once against `iops`, with
//! its first slice. Pure: no clock, no lock, no I/O. A decision costs O(1), amortised over a round, plus O(log flows) for
//! each flow that is throttled or released.

use super::bucket::Bucket;
use super::share::{GRANULE, Share};
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// What is shared by all flows of a link.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most bytes in flight; one slice is always allowed.
    pub window: u64,
    /// Largest slice, in bytes.
    pub slice: usize,
    /// Bytes per second of the whole link; 0 for no limit.
    pub rate: u64,
}

/// A flow of one scheduler; given out again after [`Scheduler::remove_flow`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlowId(usize);

/// Names a request; chosen by the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token(pub u64);

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Post the next `bytes` of this request; tell [`Scheduler::completed`] when they are done.
    Post {
        /// The request.
        token: Token,
        /// Bytes of this slice.
        bytes: usize,
    },
    /// Nothing may be posted before this time, unless something changes.
    WaitUntil(Duration),
    /// Nothing to do until work is queued or completes.
    Idle,
}

/// Decides which slice of which flow is posted next.
#[derive(Debug)]
pub struct Scheduler {
    limits: Limits,
    link: Bucket,
    in_flight: u64,
    flows: Vec<Option<Flow>>,
    free: Vec<usize>,
    /// Flows with work and credit. May hold a flow whose work was cancelled, until its turn.
    ring: VecDeque<FlowId>,
    /// Flows with work whose credit is used up.
    spent: VecDeque<FlowId>,
    /// Flows whose buckets are empty, by the time at which they are ready.
    throttled: BTreeSet<(Duration, FlowId)>,
    round: i128,
}

impl Scheduler {
    /// No flows. A slice is at least a granule, and never larger than the window.
    #[must_use]
    pub fn new(limits: Limits, now: Duration) -> Self {
        let window = limits.window.max(GRANULE);
        let granule = usize::try_from(GRANULE).unwrap_or(usize::MAX);
        let largest = usize::try_from(window).unwrap_or(usize::MAX);
        let slice = limits.slice.clamp(granule, largest);
        let depth = (limits.rate / 10).max(slice as u64);
        Self {
            limits: Limits {
                window,
                slice,
                rate: limits.rate,
            },
            link: Bucket::new(limits.rate, depth, now),
            in_flight: 0,
            flows: Vec::new(),
            free: Vec::new(),
            ring: VecDeque::new(),
            spent: VecDeque::new(),
            throttled: BTreeSet::new(),
            round: 1,
        }
    }

    /// A place for a flow.
    pub fn add_flow(&mut self, share: Share, now: Duration) -> FlowId {
        let flow = Flow::new(share, self.limits.slice, self.round - 1, now);
        if let Some(index) = self.free.pop() {
            self.flows[index] = Some(flow);
            return FlowId(index);
        }
        self.flows.push(Some(flow));
        FlowId(self.flows.len() - 1)
    }

    /// Takes a flow's place away; answers with its requests of which something is not yet posted, in order.
    pub fn remove_flow(&mut self, id: FlowId) -> Vec<Token> {
        let Some(flow) = self.flows.get_mut(id.0).and_then(Option::take) else {
            return Vec::new();
        };
        self.ring.retain(|&other| other != id);
        self.spent.retain(|&other| other != id);
        if let QueuePosition::Throttled(until) = flow.place {
            self.throttled.remove(&(until, id));
        }
        self.free.push(id.0);
        flow.queue.iter().map(|request| request.token).collect()
    }

    /// Changes a flow's share; work that is queued already feels it.
    pub fn set_share(&mut self, id: FlowId, share: Share, now: Duration) {
        let slice = self.limits.slice;
        if let Some(flow) = self.flow(id) {
            flow.set_share(share, slice, now);
            self.reconsider(id);
        }
    }

    /// Whether the flow's share has a limit.
    #[must_use]
    pub fn is_limited(&self, id: FlowId) -> bool {
        let flow = self.flows.get(id.0).and_then(Option::as_ref);
        flow.is_some_and(|flow| flow.limited)
    }

    /// Queues a request of `bytes` behind the others of its flow.
    pub fn enqueue(&mut self, id: FlowId, bytes: usize, token: Token) {
        let Some(flow) = self.flow(id) else { return };
        flow.queue.push_back(Waiting {
            token,
            left: bytes,
            started: false,
        });
        if flow.place == QueuePosition::Idle {
            self.join(id);
        }
    }

    /// Forgets what is not yet posted of a request.
    pub fn cancel(&mut self, id: FlowId, token: Token) {
        if let Some(flow) = self.flow(id) {
            flow.queue.retain(|request| request.token != token);
            self.reconsider(id);
        }
    }

    /// A posted slice is done, well or badly.
    pub fn completed(&mut self, bytes: usize) {
        self.in_flight = self.in_flight.saturating_sub(bytes as u64);
    }

    /// Bytes posted and not completed.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// What to do now.
    pub fn next(&mut self, now: Duration) -> Next {
        self.release(now);
        while let Some((id, bytes)) = self.turn() {
            if self.in_flight > 0 && self.in_flight + bytes as u64 > self.limits.window {
                return Next::Idle;
            }
            let link_ready = self.link.ready_at(bytes as u64, now);
            if link_ready > now {
                return Next::WaitUntil(link_ready);
            }
            match self.flow(id).and_then(|flow| flow.admit(bytes, now).err()) {
                Some(ready) => self.throttle(id, ready),
                None => return self.post(id, bytes),
            }
        }
        match self.throttled.first() {
            Some((ready, _)) => Next::WaitUntil(*ready),
            None => Next::Idle,
        }
    }

    /// The flow whose turn it is and the size of its slice. Begins a new round when the first ring is empty.
    fn turn(&mut self) -> Option<(FlowId, usize)> {
        loop {
            if self.ring.is_empty() {
                self.new_round()?;
            }
            let id = *self.ring.front()?;
            let flow = self.flow(id)?;
            match flow.slice() {
                Some(bytes) => return Some((id, bytes)),
                None => flow.place = QueuePosition::Idle,
            }
            self.ring.pop_front();
        }
    }

    /// Gives credit for as many rounds as the first flow needs to have some. `None` when no flow waits for a round.
    fn new_round(&mut self) -> Option<()> {
        let rounds = self
            .spent
            .iter()
            .filter_map(|id| self.flows[id.0].as_ref())
            .map(Flow::rounds_needed)
            .min()?;
        self.round += rounds;
        for id in std::mem::take(&mut self.spent) {
            let round = self.round;
            let Some(flow) = self.flow(id) else { continue };
            flow.begin_round(round);
            if flow.credit > 0 {
                self.ring.push_back(id);
            } else {
                self.spent.push_back(id);
            }
        }
        Some(())
    }

    /// Puts a flow with work in a ring. The first work of a round goes to the front: the flow has sent nothing in this round, and
    /// its credit bounds what it can send before the round ends.
    fn join(&mut self, id: FlowId) {
        let round = self.round;
        let Some(flow) = self.flow(id) else { return };
        let fresh = flow.begin_round(round);
        flow.place = QueuePosition::Ring;
        match (flow.credit > 0, fresh) {
            (true, true) => self.ring.push_front(id),
            (true, false) => self.ring.push_back(id),
            (false, _) => self.spent.push_back(id),
        }
    }

    fn throttle(&mut self, id: FlowId, ready: Duration) {
        self.ring.pop_front();
        self.throttled.insert((ready, id));
        if let Some(flow) = self.flow(id) {
            flow.place = QueuePosition::Throttled(ready);
        }
    }

    /// Brings back the flows whose buckets have refilled.
    fn release(&mut self, now: Duration) {
        while let Some(&(ready, id)) = self.throttled.first() {
            if ready > now {
                return;
            }
            self.throttled.pop_first();
            self.join(id);
        }
    }

    /// What throttled this flow has changed: let its next turn find out anew.
    fn reconsider(&mut self, id: FlowId) {
        if let Some(QueuePosition::Throttled(ready)) = self.flow(id).map(|flow| flow.place) {
            self.throttled.remove(&(ready, id));
            self.join(id);
        }
    }

    fn post(&mut self, id: FlowId, bytes: usize) -> Next {
        self.ring.pop_front();
        self.in_flight += bytes as u64;
        self.link.take(bytes as u64);
        let Some(flow) = self.flow(id) else {
            return Next::Idle;
        };
        let token = flow.charge(bytes);
        if flow.queue.is_empty() {
            flow.place = QueuePosition::Idle;
        } else if flow.credit > 0 {
            self.ring.push_back(id);
        } else {
            self.spent.push_back(id);
        }
        token.map_or(Next::Idle, |token| Next::Post { token, bytes })
    }

    fn flow(&mut self, id: FlowId) -> Option<&mut Flow> {
        self.flows.get_mut(id.0)?.as_mut()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum QueuePosition {
    Idle,
    Ring,
    Throttled(Duration),
}

#[derive(Debug)]
struct Waiting {
    token: Token,
    left: usize,
    started: bool,
}

#[derive(Debug)]
struct Flow {
    queue: VecDeque<Waiting>,
    bytes: Bucket,
    operations: Bucket,
    limited: bool,
    slice: usize,
    /// Credit per round, in bytes: one slice for weight 100.
    quantum: i128,
    credit: i128,
    /// The last round that gave credit.
    round: i128,
    place: QueuePosition,
}

impl Flow {
    fn new(share: Share, slice: usize, round: i128, now: Duration) -> Self {
        let mut flow = Self {
            queue: VecDeque::new(),
            bytes: Bucket::new(0, 1, now),
            operations: Bucket::new(0, 1, now),
            limited: false,
            slice,
            quantum: 1,
            credit: 0,
            round,
            place: QueuePosition::Idle,
        };
        flow.set_share(share, slice, now);
        flow
    }

    fn set_share(&mut self, share: Share, slice: usize, now: Duration) {
        self.bytes.change(share.bw, share.burst_bytes(), now);
        self.operations.change(share.iops, share.iops / 10, now);
        self.limited = share.bw > 0 || share.iops > 0;
        // Half a burst: while a slice waits for its tokens, those of the next are not lost over the brim.
        let capped = (self.bytes.depth() / 2).max(GRANULE);
        self.slice = match share.bw {
            0 => slice,
            _ => slice.min(usize::try_from(capped).unwrap_or(usize::MAX)),
        };
        let weight = i128::from(share.weight.clamp(1, 10_000));
        let largest = i128::try_from(slice).unwrap_or(i128::MAX);
        self.quantum = (weight * largest / 100).max(1);
        self.credit = self.credit.min(self.quantum);
    }

    /// Size of the next slice; `None` without work.
    fn slice(&self) -> Option<usize> {
        self.queue.front().map(|request| request.left.min(self.slice))
    }

    /// Takes the tokens of the next slice, or says when they are there.
    fn admit(&mut self, bytes: usize, now: Duration) -> Result<(), Duration> {
        let operations = u64::from(self.queue.front().is_some_and(|request| !request.started));
        let ready = self
            .bytes
            .ready_at(bytes as u64, now)
            .max(self.operations.ready_at(operations, now));
        if ready > now {
            return Err(ready);
        }
        self.bytes.take(bytes as u64);
        self.operations.take(operations);
        Ok(())
    }

    /// Accounts for a slice of the first request.
    fn charge(&mut self, bytes: usize) -> Option<Token> {
        self.credit -= i128::try_from(bytes).unwrap_or(i128::MAX);
        let request = self.queue.front_mut()?;
        request.started = true;
        request.left -= bytes;
        let token = request.token;
        if request.left == 0 {
            self.queue.pop_front();
        }
        Some(token)
    }

    /// Credit for the rounds since the last one: debts are paid off, savings are not carried over. True if there was one.
    fn begin_round(&mut self, round: i128) -> bool {
        let rounds = round - self.round;
        if rounds > 0 {
            self.round = round;
            self.credit = self
                .credit
                .min(0)
                .saturating_add(self.quantum.saturating_mul(rounds))
                .min(self.quantum);
        }
        rounds > 0
    }

    /// Rounds until there is credit, at least 1.
    fn rounds_needed(&self) -> i128 {
        (-self.credit).max(0) / self.quantum + 1
    }
}

#[cfg(test)]
mod tests;
