//! The link's one thread: waits for the endpoint, dispatches what came, posts what became possible, watches the time.

use super::core::Core;
use super::table::Aftermath;
use super::types::LinkEvents;
use crate::fabric::{Event, FabricError};
use std::sync::Arc;

/// Runs until the endpoint is down.
pub(super) fn run(core: &Core, events: &Arc<dyn LinkEvents>) {
    let mut batch = Vec::new();
    let mut after = Aftermath::default();
    let mut check_at = core.now();
    loop {
        if core.looks_sooner() {
            check_at = core.now();
        }
        let until = core.pump_and_rest(check_at, &mut after);
        after.run();
        // Before it rests, also for what ended just now: an endpoint may complete what is posted at once.
        events.idle();
        core.endpoint.wait(until.saturating_sub(core.now()));
        core.endpoint.poll(&mut batch);
        core.rouse(!batch.is_empty());
        let down = dispatch(core, &mut batch, &**events, &mut after);
        if core.now() >= check_at {
            check_at = core.expire(&mut after);
        }
        if let Some(error) = down {
            let error = core.end(error, &mut after);
            after.run();
            events.down(error);
            events.idle();
            return;
        }
        after.run();
    }
}

/// Completions first, at one go; then messages in their order.
fn dispatch(
    core: &Core,
    batch: &mut Vec<Event>,
    events: &dyn LinkEvents,
    after: &mut Aftermath,
) -> Option<FabricError> {
    let mut down = None;
    let mut completions = Vec::new();
    let mut messages = Vec::new();
    for event in batch.drain(..) {
        match event {
            Event::Done(completion) => completions.push(completion),
            Event::Message(message) => messages.push(message),
            Event::Down(error) => down = Some(error),
        }
    }
    if !completions.is_empty() {
        core.completed(completions, after);
    }
    for message in messages {
        if let Some(notice) = core.hear(message, after) {
            events.notice(notice);
        }
    }
    down
}
