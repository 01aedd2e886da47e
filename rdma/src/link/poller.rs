//! The link's one thread: waits for the endpoint, dispatches what came, posts what became possible, watches the time.
//!
//! A turn has two halves, so that a simulation can take turns with many links on one thread and wait by itself.

use super::core::Core;
use super::table::Deferred;
use super::types::LinkEvents;
use crate::fabric::{Event, FabricError};
use std::sync::Arc;
use std::time::Duration;

/// Serves one link until its endpoint is down.
pub struct Poller {
    core: Arc<Core>,
    events: Arc<dyn LinkEvents>,
    batch: Vec<Event>,
    after: Deferred,
    check_at: Duration,
}

impl Poller {
    pub(super) fn new(core: Arc<Core>, events: Arc<dyn LinkEvents>) -> Self {
        let check_at = core.now();
        Self {
            core,
            events,
            batch: Vec::new(),
            after: Deferred::default(),
            check_at,
        }
    }

    /// Runs until the endpoint is down. Blocking.
    pub fn run(mut self) {
        loop {
            let until = self.rest();
            self.core.endpoint.wait(until.saturating_sub(self.core.now()));
            if !self.hear() {
                return;
            }
        }
    }

    /// Posts what may be posted, and lets run what became ready. Says until when there is nothing to do, unless the endpoint has
    /// something. Never blocks.
    pub fn rest(&mut self) -> Duration {
        if self.core.looks_sooner() {
            self.check_at = self.core.now();
        }
        let until = self.core.pump_and_rest(self.check_at, &mut self.after);
        self.after.run();
        // Before it rests, also for what ended just now: an endpoint may complete what is posted at once.
        self.events.idle();
        until
    }

    /// Takes what the endpoint has, and tells what the node left unanswered. False when the link is over. Never blocks.
    pub fn hear(&mut self) -> bool {
        self.core.endpoint.poll(&mut self.batch);
        self.core.rouse(!self.batch.is_empty());
        let down = self.dispatch();
        if self.core.now() >= self.check_at {
            self.check_at = self.core.expire(&mut self.after);
        }
        let Some(error) = down else {
            self.after.run();
            return true;
        };
        let error = self.core.end(error, &mut self.after);
        self.after.run();
        self.events.down(error);
        self.events.idle();
        false
    }

    /// Completions first, at one go; then messages in their order.
    fn dispatch(&mut self) -> Option<FabricError> {
        let mut down = None;
        let mut completions = Vec::new();
        let mut messages = Vec::new();
        for event in self.batch.drain(..) {
            match event {
                Event::Done(completion) => completions.push(completion),
                Event::Message(message) => messages.push(message),
                Event::Down(error) => down = Some(error),
            }
        }
        if !completions.is_empty() {
            self.core.completed(completions, &mut self.after);
        }
        for message in messages {
            if let Some(notice) = self.core.hear(message, &mut self.after) {
                self.events.notice(notice);
            }
        }
        down
    }
}

impl std::fmt::Debug for Poller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Poller").finish_non_exhaustive()
    }
}
