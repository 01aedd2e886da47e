//! Calls over the endpoint's messages: `id: u64 little-endian, payload`, answered under the same id; id 0 is a notice.

use super::silence::silence_ends;
use super::types::LinkError;
use crate::fabric::FabricError;
use std::collections::BTreeMap;
use std::task::Waker;
use std::time::Duration;

/// What a message turned out to be.
pub(super) enum Heard {
    /// An answer, or nothing that anybody waits for.
    Answer(Option<Waker>),
    /// A notice, for the owner of the link.
    Notice(Vec<u8>),
    /// Too short to be a message.
    Broken,
}

/// The part of its timeout that a call waits in any case: a node that has been silent for long may be back.
const LEAST: u32 = 10;

struct Call {
    sent_at: Duration,
    timeout: Duration,
    /// It fails when it has waited for so long: at most its timeout.
    patience: Duration,
    /// The node has not answered.
    open: bool,
    /// The future exists and has not taken the outcome.
    awaited: bool,
    outcome: Option<Result<Vec<u8>, LinkError>>,
    waker: Option<Waker>,
}

/// All calls of a link, under its second lock. Runs no foreign code.
#[derive(Default)]
pub(super) struct Calls {
    last_id: u64,
    /// When the last message came.
    heard_at: Duration,
    calls: BTreeMap<u64, Call>,
    down: Option<FabricError>,
}

impl Calls {
    /// A place for an answer, under a new id, and how long that is waited for. All calls of a link share their time: what the node has been
    /// silent for already, while it owed an answer, is not waited for again.
    pub(super) fn begin(&mut self, now: Duration, timeout: Duration) -> Result<(u64, Duration), FabricError> {
        if let Some(error) = &self.down {
            return Err(error.clone());
        }
        let left = timeout.saturating_sub(self.silence(now));
        let patience = left.max(timeout / LEAST);
        self.last_id += 1;
        let call = Call {
            sent_at: now,
            timeout,
            patience,
            open: true,
            awaited: true,
            outcome: None,
            waker: None,
        };
        self.calls.insert(self.last_id, call);
        Ok((self.last_id, patience))
    }

    /// For how long the node has owed an answer and not said anything.
    pub(super) fn silence(&self, now: Duration) -> Duration {
        // Ids rise, and so do the times.
        let oldest = self.calls.values().find(|call| call.open);
        let since = oldest.map_or(now, |call| call.sent_at.max(self.heard_at));
        now.saturating_sub(since)
    }

    /// The call was not sent after all.
    pub(super) fn forget(&mut self, id: u64) {
        self.calls.remove(&id);
    }

    /// The future is gone; the place stays while the node owes the answer, to notice a dead node.
    pub(super) fn abandon(&mut self, id: u64) -> Option<Waker> {
        let call = self.calls.get_mut(&id)?;
        call.awaited = false;
        let old = call.waker.take();
        if !call.open {
            self.calls.remove(&id);
        }
        old
    }

    /// The outcome, or a promise to wake; and a waker to drop after unlocking.
    // Its one caller on the way of every call stands in another file.
    #[inline]
    pub(super) fn poll(
        &mut self,
        id: u64,
        waker: Waker,
    ) -> (Option<Result<Vec<u8>, LinkError>>, Option<Waker>) {
        let Some(call) = self.calls.get_mut(&id) else {
            return (Some(Err(FabricError::Flushed.into())), Some(waker));
        };
        let Some(outcome) = call.outcome.take() else {
            return (None, call.waker.replace(waker));
        };
        self.abandon(id);
        (Some(outcome), Some(waker))
    }

    /// Sorts a message. Answers that nobody waits for are ignored.
    pub(super) fn hear(&mut self, mut message: Vec<u8>, now: Duration) -> Heard {
        self.heard_at = now;
        let Some((id, payload)) = message.split_first_chunk::<8>() else {
            return Heard::Broken;
        };
        let id = u64::from_le_bytes(*id);
        let payload_len = payload.len();
        let payload = |message: &mut Vec<u8>| {
            message.copy_within(8.., 0);
            message.truncate(payload_len);
        };
        if id == 0 {
            payload(&mut message);
            return Heard::Notice(message);
        }
        let Some(call) = self.calls.get_mut(&id).filter(|call| call.open) else {
            return Heard::Answer(None);
        };
        call.open = false;
        if !call.awaited {
            self.calls.remove(&id);
            return Heard::Answer(None);
        }
        if call.outcome.is_none() {
            payload(&mut message);
            call.outcome = Some(Ok(message));
        }
        Heard::Answer(call.waker.take())
    }

    /// Like the table's: tells the futures of calls that were left unanswered for their timeout; when to ask again, and when the node
    /// is dead if nothing comes.
    pub(super) fn expire(
        &mut self,
        now: Duration,
        last_event: Duration,
        wake: &mut Vec<Waker>,
    ) -> (Duration, Duration) {
        let (mut next, mut dead_at) = (Duration::MAX, Duration::MAX);
        self.calls.retain(|_, call| {
            let due = call.sent_at.saturating_add(call.patience);
            let forgotten = call.sent_at.saturating_add(call.timeout.saturating_mul(2));
            if call.open {
                dead_at = dead_at.min(silence_ends(call.sent_at, last_event, call.timeout));
            }
            if now < due {
                next = next.min(due);
            } else if now < forgotten {
                next = next.min(forgotten);
            }
            if call.awaited && call.outcome.is_none() && due <= now {
                call.outcome = Some(Err(LinkError::TimedOut(call.timeout)));
                wake.extend(call.waker.take());
            }
            call.awaited || now < forgotten
        });
        (next, dead_at)
    }

    /// Fails everything, now and later.
    pub(super) fn go_down(&mut self, error: &FabricError, wake: &mut Vec<Waker>) {
        self.down = Some(error.clone());
        self.calls.retain(|_, call| {
            call.open = false;
            if call.outcome.is_none() {
                call.outcome = Some(Err(error.clone().into()));
            }
            wake.extend(call.waker.take());
            call.awaited
        });
    }
}
