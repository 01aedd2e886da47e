//! What the namespace says of its own accord, and to whom it has said that an answer takes longer.

use super::framing;
use super::service::{Service, ServiceState, send, spoken};
use rdmafs_meta::error::MetaError;
use rdmafs_meta::id::SessionId;
use rdmafs_meta::namespace::Output;
use rdmafs_meta::wire::{Call, Notice, StampedAnswer};
use rdmafs_rdma::server::PeerId;

impl Service {
    /// Sends notices to the sessions that they are for, and remembers what is to be acknowledged.
    pub(super) fn notify(&self, state: &mut ServiceState, notices: &[(SessionId, Notice)]) {
        for (session, notice) in notices {
            let peer = state.entry(*session).map(|entry| &*entry.peer);
            if let Some(peer) = peer
                && let Some(frame) = framing::notice(notice, spoken(peer))
            {
                send(peer, &frame);
            }
            let now = self.time().monotonic;
            match notice {
                Notice::Recall { recall, ino, .. } => {
                    tracing::debug!(session = session.0, recall = recall.0, %ino, "recall");
                    state.recalls.asked(*session, *recall, *ino, now);
                }
                Notice::Forget {
                    recall: Some(recall),
                    ino,
                    ..
                } => state.lease_recalls.asked(*session, *recall, *ino, now),
                _ => {}
            }
        }
    }

    /// Whoever has waited for others long enough is told to ask again: the time limit of its call must not end it, nor be spent when others
    /// have forgotten and the store still has its part to do.
    pub(super) fn answer_delayed(&self, state: &mut ServiceState) {
        for (id, from, call) in state.delayed.late(self.time().monotonic) {
            state.namespace.forget_delayed(id);
            if let Some(entry) = state.peers.get(&from) {
                let answer = StampedAnswer::from(Err(MetaError::Delayed));
                send(
                    &*entry.peer,
                    &framing::answer(call, &answer, spoken(&*entry.peer)),
                );
            }
        }
    }

    /// What the namespace says to a call of a peer. One that waits until others have forgotten what it changes is kept, unless too many are.
    pub(super) fn ask(&self, state: &mut ServiceState, (from, id): (PeerId, u64), call: Call) -> Output {
        let now = self.time();
        if let Some(journal) = self.journal() {
            state.namespace.set_frozen(journal.is_full());
        }
        let mut output = state.namespace.call(call, now);
        match output.delayed.take() {
            Some(delayed) if state.delayed.is_full(from) => {
                state.namespace.forget_delayed(delayed.id);
                output.answer = Some(Err(MetaError::Delayed));
            }
            Some(delayed) => state.delayed.insert(delayed, (from, id), now.monotonic),
            None => {}
        }
        output
    }

    /// Lets in, a part at a time, those of very many whose turn it is after a call has given up locks, if its output says so. Between two parts
    /// others are served.
    pub(super) fn let_in(&self, mut goes_on: bool) {
        while goes_on {
            std::thread::yield_now();
            let mut state = self.state.lock();
            let output = state.namespace.let_in(self.time());
            goes_on = output.lets_in;
            // What fails of it was logged: there is nobody to tell.
            let _logged = self.perform(state, output, None);
        }
    }
}
