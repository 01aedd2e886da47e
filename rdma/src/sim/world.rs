//! The state of a simulation: what is on its way, and what becomes of it when its time has come.

use super::types::{Access, Fault, Operation, Pace, Watcher};
use crate::arena::Arena;
use crate::fabric::{Completion, Event, FabricError, Verb, Work};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Everything under the simulation's lock.
pub(super) struct World {
    pub(super) now: Duration,
    pub(super) arena: Arc<Arena>,
    pub(super) ends: Vec<End>,
    pub(super) advance_on_wait: Option<Duration>,
    random: u64,
    pub(super) watcher: Option<Watcher>,
    /// Counts down to the fault.
    fault: Option<(u64, Fault)>,
    operations: u64,
    /// What they were, from when on somebody wants to know.
    pub(super) noted: Option<Vec<Operation>>,
}

/// Work on its way.
struct Posted {
    due: Duration,
    /// As the poster named it.
    queue: usize,
    work: Work,
}

/// A write whose memory is gone with its poster.
struct LeftBehind {
    due: Duration,
    queue: usize,
    remote: u64,
    bytes: Vec<u8>,
}

/// One endpoint.
pub(super) struct End {
    pub(super) pace: Pace,
    /// Work on its way, per queue, in order.
    queues: Vec<VecDeque<Posted>>,
    /// Messages of the node on their way.
    messages: VecDeque<(Duration, Vec<u8>)>,
    /// Messages to the node on their way.
    outgoing: VecDeque<(Duration, Vec<u8>)>,
    /// Nothing passes before that time, in either direction.
    stalled_until: Duration,
    /// What is delivered first then.
    late: Option<Event>,
    /// The user's side has died: it posts nothing any more.
    dead: bool,
    /// Writes of a user's side that has died, still on their way.
    left_behind: VecDeque<LeftBehind>,
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
    pub(super) fn new(arena: Arc<Arena>, seed: u64) -> Self {
        Self {
            now: Duration::ZERO,
            arena,
            ends: Vec::new(),
            advance_on_wait: None,
            watcher: None,
            random: seed,
            fault: None,
            operations: 0,
            noted: None,
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
            outgoing: VecDeque::new(),
            stalled_until: Duration::ZERO,
            late: None,
            dead: false,
            left_behind: VecDeque::new(),
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

    pub(super) fn fault_is_pending(&self) -> bool {
        self.fault.is_some()
    }

    pub(super) fn operations(&self) -> u64 {
        self.operations
    }

    /// Counts an operation; answers with the fault whose turn it is.
    pub(super) fn count(&mut self, operation: Operation) -> Option<Fault> {
        self.operations += 1;
        if let Some(noted) = &mut self.noted {
            noted.push(operation);
        }
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
        let fault = self.count(Operation::Post);
        self.befall(end, fault);
        if self.ends[end].down || self.ends[end].dead {
            return Some(completion(work, Err(disconnected())));
        }
        let at = queue % self.ends[end].queues.len();
        let free = self.ends[end].queues[at].is_empty() && !self.is_stalled(end);
        match (fault, self.ends[end].pace) {
            (Some(Fault::Lose), _) => self.ends[end].lost.push(work),
            (Some(Fault::Delay(by)), _) => self.set_out(end, at, (self.now + by, queue, work)),
            (Some(Fault::Error | Fault::Disconnect | Fault::Die), _) => {
                return Some(completion(work, Err(FabricError::AccessRefused)));
            }
            (None, Pace::AtOnce) if free => return Some(self.execute(end, queue, work)),
            (None, _) => {
                let due = self.due(end);
                self.set_out(end, at, (due, queue, work));
            }
        }
        None
    }

    fn befall(&mut self, end: usize, fault: Option<Fault>) {
        match fault {
            Some(Fault::Disconnect) => self.break_off(end, &disconnected()),
            Some(Fault::Die) => self.kill(end),
            Some(Fault::Error | Fault::Lose | Fault::Delay(_)) | None => {}
        }
    }

    /// Puts work on its way, behind what is on its queue.
    fn set_out(&mut self, end: usize, at: usize, (due, queue, work): (Duration, usize, Work)) {
        let on_its_way = &mut self.ends[end].queues[at];
        let due = on_its_way.back().map_or(due, |before| due.max(before.due));
        on_its_way.push_back(Posted { due, queue, work });
    }

    /// A message of the user's side sets out. It arrives with [`World::arriving`].
    pub(super) fn send(&mut self, end: usize, message: &[u8]) -> Result<(), FabricError> {
        let fault = self.count(Operation::Send);
        self.befall(end, fault);
        let now = self.now;
        let end = &mut self.ends[end];
        if end.down || end.dead {
            return Err(disconnected());
        }
        let delay = match fault {
            Some(Fault::Lose) => return Ok(()),
            Some(Fault::Error | Fault::Disconnect | Fault::Die) => return Err(FabricError::Full),
            Some(Fault::Delay(by)) => by,
            None => Duration::ZERO,
        };
        let due = end
            .outgoing
            .back()
            .map_or(now + delay, |(before, _)| (now + delay).max(*before));
        end.outgoing.push_back((due, message.to_vec()));
        Ok(())
    }

    /// The next message that has come to the node.
    pub(super) fn arriving(&mut self, end: usize) -> Option<Vec<u8>> {
        if !self.has_arriving(end) {
            return None;
        }
        self.ends[end].outgoing.pop_front().map(|(_, message)| message)
    }

    pub(super) fn has_arriving(&self, end: usize) -> bool {
        let due = self.ends[end].outgoing.front().map(|(due, _)| *due);
        !self.is_stalled(end) && due.is_some_and(|due| due <= self.now)
    }

    /// Nothing passes for so long.
    pub(super) fn stall(&mut self, end: usize, by: Duration) {
        let until = self.now + by;
        let end = &mut self.ends[end];
        end.stalled_until = end.stalled_until.max(until);
    }

    fn is_stalled(&self, end: usize) -> bool {
        self.now < self.ends[end].stalled_until
    }

    pub(super) fn has_heard_all(&self, end: usize) -> bool {
        let end = &self.ends[end];
        end.messages.is_empty() && end.late.is_none() && end.ready.is_empty()
    }

    pub(super) fn is_dead(&self, end: usize) -> bool {
        self.ends[end].dead
    }

    /// The user's side dies: what it posted is still on its way. Whatever tears it down finds the connection gone.
    pub(super) fn kill(&mut self, index: usize) {
        let end = &mut self.ends[index];
        if end.down || end.dead {
            return;
        }
        end.dead = true;
        end.messages.clear();
        end.ready.extend(end.late.take());
        let mut posted: Vec<Posted> = end.queues.iter_mut().flat_map(|queue| queue.drain(..)).collect();
        posted.sort_by_key(|posted| posted.due);
        for Posted { due, queue, work } in posted {
            if work.verb == Verb::Write {
                end.left_behind.push_back(LeftBehind {
                    due,
                    queue,
                    remote: work.remote,
                    bytes: work.buffer.to_vec(),
                });
            }
            end.ready
                .push(Event::Done(completion(work, Err(FabricError::Flushed))));
        }
        self.flush_lost(index);
        self.ends[index].ready.push(Event::Down(disconnected()));
    }

    fn flush_lost(&mut self, index: usize) {
        let end = &mut self.ends[index];
        let lost = end.lost.drain(..);
        let flushed = lost.map(|work| Event::Done(completion(work, Err(FabricError::Flushed))));
        end.ready.extend(flushed);
    }

    /// Writes of the dead arrive.
    fn haunt(&mut self, index: usize) {
        let now = self.now;
        while let Some(front) = self.ends[index].left_behind.front() {
            if front.due > now {
                break;
            }
            let Some(write) = self.ends[index].left_behind.pop_front() else {
                break;
            };
            if self.arena.write(write.remote, &write.bytes).is_some() {
                self.show(index, write.queue, (Verb::Write, write.remote, &write.bytes));
            }
        }
    }

    /// A message of the node sets out.
    pub(super) fn deliver(&mut self, end: usize, message: Vec<u8>) {
        if self.ends[end].down || self.ends[end].dead {
            return;
        }
        let due = self.due(end);
        let messages = &mut self.ends[end].messages;
        let due = messages.back().map_or(due, |(before, _)| due.max(*before));
        messages.push_back((due, message));
    }

    /// Moves what is due to what is ready.
    pub(super) fn ripen(&mut self, end: usize) {
        if self.is_stalled(end) {
            return;
        }
        if self.ends[end].dead {
            return self.haunt(end);
        }
        if let Some(late) = self.ends[end].late.take() {
            self.ends[end].ready.push(late);
        }
        while let Some(event) = self.take_due(end) {
            let event = match (self.count(kind(&event)), event) {
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
                (Some(Fault::Die), _) => return self.kill(end),
                (Some(Fault::Delay(by)), event) => {
                    self.ends[end].late = Some(event);
                    return self.stall(end, by);
                }
            };
            self.ends[end].ready.push(event);
        }
    }

    pub(super) fn take_ready(&mut self, end: usize, events: &mut Vec<Event>) {
        self.ripen(end);
        let end = &mut self.ends[end];
        events.append(&mut end.ready);
        end.finished |= end.down || end.dead;
    }

    pub(super) fn has_ready(&mut self, end: usize) -> bool {
        self.ripen(end);
        !self.ends[end].ready.is_empty() || self.has_arriving(end)
    }

    /// When the earliest thing that is on its way arrives, in either direction.
    pub(super) fn next_due(&self, end: usize) -> Option<Duration> {
        let end = &self.ends[end];
        let works = end.queues.iter().filter_map(|queue| queue.front());
        let times = works.map(|posted| posted.due);
        let times = times.chain(end.messages.front().map(|(due, _)| *due));
        let times = times.chain(end.outgoing.front().map(|(due, _)| *due));
        let times = times.chain(end.left_behind.front().map(|write| write.due));
        let times = times.chain(end.late.as_ref().map(|_| end.stalled_until));
        times.min().map(|due| due.max(end.stalled_until))
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
        end.left_behind.clear();
        end.outgoing.clear();
        end.stalled_until = Duration::ZERO;
        if end.dead {
            return;
        }
        end.messages.clear();
        end.ready.extend(end.late.take());
        let queued = end.queues.iter_mut().flat_map(|queue| queue.drain(..));
        let flushed = queued.map(|posted| Event::Done(completion(posted.work, Err(FabricError::Flushed))));
        end.ready.extend(flushed);
        self.flush_lost(index);
        self.ends[index].ready.push(Event::Down(error.clone()));
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
        let fronts = fronts.filter_map(|(at, queue)| Some((queue.front()?.due, at)));
        let (due, at) = fronts.min()?;
        if due > now {
            return None;
        }
        let posted = end.queues[at].pop_front()?;
        Some(Event::Done(self.execute(index, posted.queue, posted.work)))
    }

    fn execute(&mut self, end: usize, queue: usize, mut work: Work) -> Completion {
        let done = match work.verb {
            Verb::Read => self.arena.read(work.remote, &mut work.buffer),
            Verb::Write => self.arena.write(work.remote, &work.buffer),
        };
        if done.is_none() {
            return completion(work, Err(FabricError::AccessRefused));
        }
        self.show(end, queue, (work.verb, work.remote, &work.buffer));
        completion(work, Ok(()))
    }

    fn show(&mut self, end: usize, queue: usize, (verb, remote, bytes): (Verb, u64, &[u8])) {
        if let Some(watcher) = &mut self.watcher {
            watcher(Access {
                end,
                queue,
                verb,
                remote,
                bytes,
            });
        }
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

fn kind(event: &Event) -> Operation {
    match event {
        Event::Message(message) if message.starts_with(&[0; 8]) => Operation::Notice,
        Event::Message(_) => Operation::Answer,
        Event::Done(_) | Event::Down(_) => Operation::Completion,
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
