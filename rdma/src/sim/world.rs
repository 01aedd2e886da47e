//! The state of a simulation: what is on its way, and what becomes of it when its time has come.

use crate::fabric::{Completion, Event, FabricError, Verb, Work};
use std::collections::VecDeque;
use std::time::Duration;

/// The node's side of messages: one in, any number out, in order. Called on the sender's thread with no lock of the
/// simulation held, except the one that keeps this endpoint's messages in order; dropped when the endpoint goes down.
pub type PeerFn = Box<dyn FnMut(&[u8]) -> Vec<Vec<u8>> + Send>;

/// How long things take on an endpoint.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// Work is complete when `post` returns and answers are there when `send` returns; one queue.
    AtOnce,
    /// Work takes `min` to `max`, drawn from the seed, in order on each of the queues; answers likewise.
    Latency {
        /// Least.
        min: Duration,
        /// Most.
        max: Duration,
        /// Queue pairs, at least 1.
        queues: usize,
    },
}

/// What goes wrong at an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A post completes with an error, a send is refused, a completion becomes an error, a message of the node is lost.
    Error,
    /// The work, message or event vanishes; the work's buffer comes back when the endpoint closes.
    Lose,
    /// The connection breaks.
    Disconnect,
}

/// Everything under the simulation's lock.
pub(super) struct World {
    pub(super) now: Duration,
    pub(super) arena: Vec<u8>,
    pub(super) ends: Vec<End>,
    pub(super) advance_on_wait: Option<Duration>,
    random: u64,
    /// Counts down to the fault.
    fault: Option<(u64, Fault)>,
    operations: u64,
}

/// One endpoint.
pub(super) struct End {
    pub(super) pace: Pace,
    /// Work on its way, per queue, in order.
    queues: Vec<VecDeque<(Duration, Work)>>,
    /// Messages of the node on their way.
    messages: VecDeque<(Duration, Vec<u8>)>,
    /// Work whose completion was lost.
    lost: Vec<Work>,
    ready: Vec<Event>,
    pub(super) down: bool,
    pub(super) woken: bool,
    /// While its poller waits: until when.
    pub(super) waiting: Option<Duration>,
    /// Its poller took the end.
    pub(super) finished: bool,
}

impl World {
    pub(super) fn new(arena_len: usize, seed: u64) -> Self {
        Self {
            now: Duration::ZERO,
            arena: vec![0; arena_len],
            ends: Vec::new(),
            advance_on_wait: None,
            random: seed,
            fault: None,
            operations: 0,
        }
    }

    pub(super) fn add_end(&mut self, pace: Pace) -> usize {
        let queues = match pace {
            Pace::AtOnce => 1,
            Pace::Latency { queues, .. } => queues.max(1),
        };
        self.ends.push(End {
            pace,
            queues: (0..queues).map(|_| VecDeque::new()).collect(),
            messages: VecDeque::new(),
            lost: Vec::new(),
            ready: Vec::new(),
            down: false,
            woken: false,
            waiting: None,
            finished: false,
        });
        self.ends.len() - 1
    }

    pub(super) fn set_fault(&mut self, at: u64, fault: Fault) {
        self.fault = Some((at, fault));
    }

    pub(super) fn operations(&self) -> u64 {
        self.operations
    }

    /// Counts an operation; answers with the fault whose turn it is.
    pub(super) fn count(&mut self) -> Option<Fault> {
        self.operations += 1;
        let (left, fault) = self.fault.as_mut()?;
        *left = left.saturating_sub(1);
        let (left, fault) = (*left, *fault);
        if left > 0 {
            return None;
        }
        self.fault = None;
        Some(fault)
    }

    pub(super) fn post(&mut self, end: usize, queue: usize, work: Work) -> Option<Completion> {
        let fault = self.count();
        if fault == Some(Fault::Disconnect) {
            self.break_off(end, &disconnected());
        }
        if self.ends[end].down {
            return Some(completion(work, Err(disconnected())));
        }
        match (fault, self.ends[end].pace) {
            (Some(Fault::Lose), _) => self.ends[end].lost.push(work),
            (Some(_), _) => return Some(completion(work, Err(FabricError::AccessRefused))),
            (None, Pace::AtOnce) => return Some(self.execute(work)),
            (None, Pace::Latency { .. }) => {
                let due = self.due(end);
                let queues = &mut self.ends[end].queues;
                let at = queue % queues.len();
                let due = queues[at].back().map_or(due, |(before, _)| due.max(*before));
                queues[at].push_back((due, work));
            }
        }
        None
    }

    /// Whether a message of the user's side reaches the node.
    pub(super) fn send(&mut self, end: usize) -> Result<bool, FabricError> {
        let fault = self.count();
        if fault == Some(Fault::Disconnect) {
            self.break_off(end, &disconnected());
        }
        if self.ends[end].down {
            return Err(disconnected());
        }
        match fault {
            Some(Fault::Lose) => Ok(false),
            Some(_) => Err(FabricError::Full),
            None => Ok(true),
        }
    }

    /// A message of the node sets out.
    pub(super) fn deliver(&mut self, end: usize, message: Vec<u8>) {
        if self.ends[end].down {
            return;
        }
        let due = self.due(end);
        let messages = &mut self.ends[end].messages;
        let due = messages.back().map_or(due, |(before, _)| due.max(*before));
        messages.push_back((due, message));
    }

    /// Moves what is due to what is ready.
    pub(super) fn ripen(&mut self, end: usize) {
        while let Some(event) = self.take_due(end) {
            let event = match (self.count(), event) {
                (None, event) => event,
                (Some(Fault::Disconnect), event) => {
                    self.spoil(end, event, FabricError::Flushed);
                    self.break_off(end, &disconnected());
                    return;
                }
                (Some(Fault::Lose), event) => {
                    self.lose(end, event);
                    continue;
                }
                (Some(Fault::Error), event) => {
                    self.spoil(end, event, FabricError::AccessRefused);
                    continue;
                }
            };
            self.ends[end].ready.push(event);
        }
    }

    pub(super) fn take_ready(&mut self, end: usize, events: &mut Vec<Event>) {
        self.ripen(end);
        let end = &mut self.ends[end];
        events.append(&mut end.ready);
        end.finished |= end.down;
    }

    pub(super) fn has_ready(&mut self, end: usize) -> bool {
        self.ripen(end);
        !self.ends[end].ready.is_empty()
    }

    /// The earliest thing on its way to this endpoint.
    pub(super) fn next_due(&self, end: usize) -> Option<Duration> {
        let end = &self.ends[end];
        let works = end.queues.iter().filter_map(|queue| queue.front());
        let times = works.map(|(due, _)| *due);
        times.chain(end.messages.front().map(|(due, _)| *due)).min()
    }

    /// Something of this endpoint was lost and will never come.
    pub(super) fn owes(&self, end: usize) -> bool {
        !self.ends[end].lost.is_empty()
    }

    /// Ends the connection: what is outstanding is flushed, not executed.
    pub(super) fn break_off(&mut self, index: usize, error: &FabricError) {
        let end = &mut self.ends[index];
        if end.down {
            return;
        }
        end.down = true;
        end.messages.clear();
        let queued = end.queues.iter_mut().flat_map(|queue| queue.drain(..));
        let queued = queued.map(|(_, work)| work);
        let flushed = queued.chain(end.lost.drain(..));
        let flushed = flushed.map(|work| Event::Done(completion(work, Err(FabricError::Flushed))));
        end.ready.extend(flushed);
        end.ready.push(Event::Down(error.clone()));
    }

    fn take_due(&mut self, index: usize) -> Option<Event> {
        let now = self.now;
        let end = &mut self.ends[index];
        if end.messages.front().is_some_and(|(due, _)| *due <= now) {
            return end
                .messages
                .pop_front()
                .map(|(_, message)| Event::Message(message));
        }
        let fronts = end.queues.iter().enumerate();
        let fronts = fronts.filter_map(|(at, queue)| Some((queue.front()?.0, at)));
        let (due, at) = fronts.min()?;
        if due > now {
            return None;
        }
        let (_, work) = end.queues[at].pop_front()?;
        Some(Event::Done(self.execute(work)))
    }

    fn execute(&mut self, mut work: Work) -> Completion {
        let start = usize::try_from(work.remote).unwrap_or(usize::MAX);
        let range = start..start.saturating_add(work.buffer.len());
        let result = match (self.arena.get_mut(range), work.verb) {
            (None, _) => Err(FabricError::AccessRefused),
            (Some(bytes), Verb::Read) => {
                work.buffer.copy_from_slice(bytes);
                Ok(())
            }
            (Some(bytes), Verb::Write) => {
                bytes.copy_from_slice(&work.buffer);
                Ok(())
            }
        };
        completion(work, result)
    }

    fn spoil(&mut self, end: usize, event: Event, error: FabricError) {
        if let Event::Done(mut done) = event {
            done.result = Err(error);
            self.ends[end].ready.push(Event::Done(done));
        }
    }

    fn lose(&mut self, end: usize, event: Event) {
        if let Event::Done(done) = event {
            self.ends[end].lost.push(Work {
                id: done.id,
                verb: Verb::Read,
                remote: 0,
                buffer: done.buffer,
            });
        }
    }

    fn due(&mut self, end: usize) -> Duration {
        let Pace::Latency { min, max, .. } = self.ends[end].pace else {
            return self.now;
        };
        let span = max.saturating_sub(min).as_nanos().saturating_add(1);
        let extra = u128::from(self.draw()) % span;
        let extra = Duration::from_nanos(u64::try_from(extra).unwrap_or(u64::MAX));
        self.now + min + extra
    }

    /// splitmix64: a test's schedule depends on its seed alone.
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

fn completion(work: Work, result: Result<(), FabricError>) -> Completion {
    Completion {
        id: work.id,
        buffer: work.buffer,
        result,
    }
}

pub(super) fn disconnected() -> FabricError {
    FabricError::Disconnected("simulated".to_owned())
}
