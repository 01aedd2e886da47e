//! The namespace between its peers, its store and its arena: serves calls and does what they leave to do.
//!
//! Everything that one call leads to happens under one lock, in the order of [`Output`]: so a peer gets messages in the order
//! in which the namespace made them, and the store gets batches in theirs. Nothing under the lock blocks: peers buffer, the
//! journal queues, long zeroing goes to the cleaner, and bytes are copied between two steps.

use super::framing;
use super::grants::Grants;
use super::journal::{Journal, JournalFailed};
use super::lease_time::LeaseTime;
use super::lines::{About, Deed, Lines};
use super::recalls::Recalls;
use parking_lot::{Condvar, Mutex, MutexGuard};
use rdmafs_meta::error::MetaError;
use rdmafs_meta::extent::Extent;
use rdmafs_meta::id::{Incarnation, NodeId, SessionId};
use rdmafs_meta::namespace::{GrantChange, Namespace, Output};
use rdmafs_meta::store::Batch;
use rdmafs_meta::time::Now;
use rdmafs_meta::wire::{Answer, Call, Notice, Reply, Request};
use rdmafs_rdma::arena::Arena;
use rdmafs_rdma::door::{Peer, PeerId};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

/// What a service is made of.
pub(super) struct Parts {
    /// All metadata; the arena was added.
    pub(super) namespace: Namespace,
    /// The arena.
    pub(super) arena: Arc<Arena>,
    /// Which life of which node's arena it is.
    pub(super) life: (NodeId, Incarnation),
    /// The way to the store, if the namespace is durable.
    pub(super) journal: Option<Journal>,
    /// To the cleaner: extents to zero and to give to [`Service::cleaned`].
    pub(super) dirty: Sender<Vec<Extent>>,
    /// How long a session lasts without a sign of life.
    pub(super) lease: Duration,
    /// The time.
    pub(super) now: ReadClocks,
}

/// Reads both clocks. Never blocks.
pub(crate) type ReadClocks = Box<dyn Fn() -> Now + Send + Sync>;

/// The namespace service of a node.
pub(super) struct Service {
    /// Lock order: `state`, then `grants`, then the journal's queue. Peers are sent to under `state`.
    pub(super) state: Mutex<State>,
    /// A session has left, or has nothing uncommitted, while draining.
    calmed: Condvar,
    grants: Grants,
    pub(super) arena: Arc<Arena>,
    life: (NodeId, Incarnation),
    journal: Option<Journal>,
    pub(super) lease: Duration,
    pub(super) now: ReadClocks,
    lease_time: LeaseTime,
    pub(super) lines: Lines,
    stopping: AtomicBool,
}

pub(super) struct State {
    /// No session begins any more.
    pub(super) draining: bool,
    pub(super) namespace: Namespace,
    pub(super) guests: HashMap<PeerId, Guest>,
    sessions: HashMap<SessionId, PeerId>,
    pub(super) recalls: Recalls,
    dirty: Option<Sender<Vec<Extent>>>,
}

/// A peer, and the one session that it may speak for once it began it.
pub(super) struct Guest {
    pub(super) peer: Arc<dyn Peer>,
    pub(super) session: Option<SessionId>,
    /// It has nothing uncommitted, and knows that the node ends.
    pub(super) drained: bool,
    /// When it arrived, or was last served, as leases count.
    pub(super) since: Duration,
    /// Why the node ends its connection, if it does.
    pub(super) shut_out: Option<&'static str>,
}

/// Who called, and the number that the answer carries.
struct Caller {
    peer: Arc<dyn Peer>,
    id: u64,
}

impl Service {
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            calmed: Condvar::new(),
            state: Mutex::new(State {
                draining: false,
                namespace: parts.namespace,
                guests: HashMap::new(),
                sessions: HashMap::new(),
                recalls: Recalls::default(),
                dirty: Some(parts.dirty),
            }),
            grants: Grants::default(),
            arena: parts.arena,
            life: parts.life,
            journal: parts.journal,
            lease: parts.lease,
            now: parts.now,
            lease_time: LeaseTime::default(),
            lines: Lines::default(),
            stopping: AtomicBool::new(false),
        }
    }

    /// What the peers may touch. Asking needs no lock of the service.
    pub(super) fn grants(&self) -> &Grants {
        &self.grants
    }

    /// The way to the store.
    pub(super) fn journal(&self) -> Option<&Journal> {
        self.journal.as_ref()
    }

    /// A peer may speak from now on.
    pub(super) fn arrived(&self, peer: Arc<dyn Peer>) {
        let guest = Guest {
            peer: Arc::clone(&peer),
            session: None,
            drained: false,
            since: self.time().monotonic,
            shut_out: None,
        };
        self.state.lock().guests.insert(peer.identity().id, guest);
    }

    /// Serves a call of a peer and answers it as `id`. May wait for the store to catch up.
    pub(super) fn call(&self, from: PeerId, id: u64, call: Call) {
        let changes = changes(&call.request);
        if changes {
            self.wait_for_room();
        }
        let mut state = self.state.lock();
        let Some(guest) = state.guests.get(&from) else {
            return; // It left.
        };
        let peer = Arc::clone(&guest.peer);
        if let Err(refusal) = self.admit(guest, &call, (changes, state.draining)) {
            send(&*peer, &framing::answer(id, &Err(refusal)));
            return;
        }
        if let Some(guest) = state.guests.get_mut(&from) {
            guest.since = self.time().monotonic;
        }
        let drained = call.request == Request::Drained;
        if let Request::Recalled { recall } = call.request {
            self.acknowledged(&mut state, call.session, recall);
        }
        let mut output = state.namespace.call(call, self.time());
        if let Some(word) = output.word.take() {
            let before = self.change_word(&word);
            output.answer = Some(state.namespace.word_changed(word, before));
        }
        if let Some(moving) = output.moving.take() {
            self.perform(state, output, None);
            self.move_bytes(&moving);
            state = self.state.lock();
            output = state.namespace.moved(&moving, self.time());
        }
        if let Some(guest) = state.guests.get_mut(&from).filter(|_| drained) {
            guest.drained = true;
            self.calmed.notify_all();
        }
        state.bind(from, output.answer.as_ref());
        self.perform(state, output, Some(Caller { peer, id }));
    }

    /// A peer is gone for good: nothing of its session runs any more.
    pub(super) fn left(&self, peer: PeerId) {
        let mut state = self.state.lock();
        self.grants.forget(peer);
        let Some(guest) = state.guests.remove(&peer) else {
            return;
        };
        let why = match guest.shut_out {
            Some(why) => why,
            None if state.draining => "the node ends",
            None => "its connection ended",
        };
        let who = guest.peer.identity();
        let Some(session) = guest.session else {
            let what = format!("a handler without a session left: {why}");
            return self.say(Deed::Left, who, (what, About::default()));
        };
        state.sessions.remove(&session);
        state.recalls.forget(session);
        let what = format!("a session is fenced: {why}");
        self.say(Deed::Fenced, who, (what, session.into()));
        self.calmed.notify_all();
        let output = state.namespace.fenced(session);
        self.perform(state, output, None);
    }

    /// Lets time pass. True when there is more to do at once. While the store has to catch up, or a long call has the namespace, time
    /// stands still: no lease runs out because they hold up the calls that would renew it.
    pub(super) fn tick(&self) -> bool {
        let waited = self.wait_for_room();
        let state = (!waited).then(|| self.state.lock());
        if let Some(stood_still) = self.lease_time.tick((self.now)().monotonic) {
            tracing::warn!(
                ?stood_still,
                "this node was stopped: the leases of its sessions are longer by that"
            );
        }
        let Some(mut state) = state else { return false };
        self.lines.say_counts((self.now)().monotonic);
        self.say_late(&mut state);
        let idle = self.idle(&state);
        let (output, more) = state.namespace.tick(self.time());
        self.perform(state, output, None);
        for peer in idle {
            self.expel(peer, "a handler began no session: its connection is closed");
        }
        more
    }

    /// Zeroes arena bytes. An extent of another arena or an earlier life is gone with it: nothing to do.
    pub(super) fn zero(&self, extent: &Extent) {
        let range = self.range(extent);
        if range.is_some_and(|range| self.arena.zero(range).is_none()) {
            tracing::error!(?extent, "asked to zero bytes beyond the arena");
        }
    }

    /// These extents are all zero now.
    pub(super) fn cleaned(&self, extents: &[Extent]) {
        self.state.lock().namespace.cleaned(extents);
    }

    /// Lets `at` look at the namespace, between two calls.
    pub(super) fn look<T>(&self, at: impl FnOnce(&Namespace) -> T) -> T {
        at(&self.state.lock().namespace)
    }

    /// Lets no session begin any more, and asks those there are to commit what they have. Says how many that are.
    pub(super) fn drain(&self) -> usize {
        let mut state = self.state.lock();
        state.draining = true;
        let sessions = state.guests.values().filter(|guest| guest.session.is_some());
        let mut asked = 0;
        for guest in sessions {
            if let Some(frame) = framing::notice(&Notice::Drain) {
                send(&*guest.peer, &frame);
                asked += 1;
            }
        }
        asked
    }

    /// After [`Service::drain`]: waits until no session has anything uncommitted, at most for `limit`, or until `hurry` says so. Says how
    /// many sessions did not get that far. Blocking.
    pub(super) fn wait_until_drained(&self, limit: Duration, hurry: &dyn Fn() -> bool) -> usize {
        const LOOK: Duration = Duration::from_millis(50);
        let mut state = self.state.lock();
        let mut waited = Duration::ZERO;
        loop {
            let owing = |guest: &&Guest| guest.session.is_some() && !guest.drained;
            let left = state.guests.values().filter(owing).count();
            if left == 0 || waited >= limit || hurry() {
                return left;
            }
            if self.calmed.wait_for(&mut state, LOOK).timed_out() {
                waited += LOOK;
            }
        }
    }

    /// Gives the cleaner nothing more to do.
    pub(super) fn stop_cleaning(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.state.lock().dirty = None;
    }

    /// True after [`Service::stop_cleaning`].
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Both clocks, the monotonic one without the times at which the node stood still.
    pub(super) fn time(&self) -> Now {
        let now = (self.now)();
        Now {
            monotonic: self.lease_time.at(now.monotonic),
            ..now
        }
    }

    /// Waits until the store has caught up; true if it had to.
    fn wait_for_room(&self) -> bool {
        self.journal.as_ref().is_some_and(Journal::wait_for_room)
    }

    /// A peer speaks for the session that it began, and for no other; who examines the namespace needs none. A store that failed ends
    /// all changes.
    fn admit(&self, guest: &Guest, call: &Call, (changes, draining): (bool, bool)) -> Result<(), MetaError> {
        let begins = matches!(call.request, Request::Begin { .. });
        match guest.session {
            None if begins && draining => return Err(MetaError::Draining),
            None if begins => {}
            None if matches!(call.request, Request::Examine { .. }) => {}
            Some(_) if begins => return Err(MetaError::Invalid),
            Some(session) if session == call.session => {}
            _ => return Err(MetaError::SessionEnded),
        }
        let failed = changes && self.journal.as_ref().is_some_and(Journal::has_failed);
        if failed {
            Err(MetaError::StoreFailed)
        } else {
            Ok(())
        }
    }

    /// Does what the namespace left to do, in the order that [`Output`] gives; then lets go of the lock and closes the connections
    /// that are to be closed, since their end comes back to this service.
    fn perform(&self, mut state: MutexGuard<'_, State>, output: Output, caller: Option<Caller>) {
        for change in &output.grants {
            self.apply(&state, change);
        }
        for extent in &output.zero {
            self.zero(extent);
        }
        for (session, notice) in &output.notices {
            if let (Some(guest), Some(frame)) = (state.guest(*session), framing::notice(notice)) {
                send(&*guest.peer, &frame);
            }
            if let Notice::Recall { recall, ino, .. } = notice {
                tracing::debug!(session = session.0, recall = recall.0, %ino, "recall");
                let now = self.time().monotonic;
                state.recalls.asked(*session, *recall, *ino, now);
            }
        }
        // A lease runs out as time passes; only a call that begins a session ends another's connection.
        let why = match caller {
            Some(_) => "its handler connected anew",
            None => "its lease ran out",
        };
        let answer = caller.zip(output.answer);
        self.record(output.batch, answer, output.sync);
        if let Some(dirty) = state.dirty.as_ref().filter(|_| !output.clean.is_empty()) {
            // A cleaner that is gone has nothing to clean for: the node ends.
            let _ = dirty.send(output.clean);
        }
        let disconnect: Vec<_> = output
            .disconnect
            .iter()
            .filter_map(|session| state.shut_out(*session, why))
            .collect();
        drop(state);
        for (session, peer) in disconnect {
            let what = format!("a session is shut out: {why}");
            self.say(Deed::ShutOut, peer.identity(), (what, session.into()));
            self.grants.forget(peer.identity().id);
            peer.close();
        }
    }

    /// Hands batches to the store and sends the answer, behind them if it must not come before they are durable.
    fn record(&self, batches: Vec<Batch>, answer: Option<(Caller, Answer)>, sync: bool) {
        let Some(journal) = &self.journal else {
            return reply(answer);
        };
        if !sync {
            journal.append(batches, None);
            return reply(answer);
        }
        let then = move |stored: Result<(), JournalFailed>| {
            reply(answer.map(|(caller, answer)| match stored {
                Ok(()) => (caller, answer),
                Err(JournalFailed) => (caller, Err(MetaError::StoreFailed)),
            }));
        };
        journal.append(batches, Some(Box::new(then)));
    }

    fn apply(&self, state: &State, change: &GrantChange) {
        let (GrantChange::Grant { session, extent, .. } | GrantChange::Revoke { session, extent }) = change;
        let (Some(peer), Some(range)) = (state.sessions.get(session), self.range(extent)) else {
            return;
        };
        match change {
            GrantChange::Grant { write, .. } => self.grants.grant(*peer, range, *write),
            GrantChange::Revoke { .. } => self.grants.revoke(*peer, &range),
        }
    }

    /// Where an extent lies in this arena. `None` when it lies in another one.
    pub(super) fn range(&self, extent: &Extent) -> Option<Range<u64>> {
        ((extent.node, extent.incarnation) == self.life).then(|| extent.offset..extent.end())
    }
}

impl State {
    /// Remembers which session a peer began.
    fn bind(&mut self, peer: PeerId, answer: Option<&Answer>) {
        if let Some(Ok(Reply::Begun(begun))) = answer
            && let Some(guest) = self.guests.get_mut(&peer)
        {
            guest.session = Some(begun.session);
            self.sessions.insert(begun.session, peer);
        }
    }

    pub(super) fn guest(&self, session: SessionId) -> Option<&Guest> {
        self.guests.get(self.sessions.get(&session)?)
    }

    /// The peer whose connection is to be ended, with its session.
    fn shut_out(&mut self, session: SessionId, why: &'static str) -> Option<(SessionId, Arc<dyn Peer>)> {
        let guest = self.guests.get_mut(self.sessions.get(&session)?)?;
        guest.shut_out.get_or_insert(why);
        Some((session, Arc::clone(&guest.peer)))
    }
}

fn reply(answer: Option<(Caller, Answer)>) {
    if let Some((caller, answer)) = answer {
        send(&*caller.peer, &framing::answer(caller.id, &answer));
    }
}

/// A peer that cannot be sent to is on its way out: [`Service::left`] follows.
fn send(peer: &dyn Peer, frame: &[u8]) {
    if let Err(error) = peer.send(frame) {
        tracing::debug!(host = peer.identity().host, %error, "cannot send to a peer");
    }
}

/// True for requests that change what a store must keep. What merely ends (opens, recalls, leases) goes on without a store, so
/// that handlers can leave in order.
fn changes(request: &Request) -> bool {
    match request {
        Request::SetAttr { .. }
        | Request::Make { .. }
        | Request::Link { .. }
        | Request::Unlink { .. }
        | Request::RemoveDir { .. }
        | Request::Rename { .. }
        | Request::Allocate { .. }
        | Request::Punch { .. }
        | Request::Copy { .. }
        | Request::Append { .. }
        | Request::Atomic { .. }
        | Request::Commit { .. }
        | Request::Sync => true,
        Request::SetXattr { .. } | Request::RemoveXattr { .. } => true,
        Request::GetXattr { .. } | Request::ListXattr { .. } | Request::StageXattr { .. } => false,
        Request::Open { access, .. } => access.truncate,
        Request::Layout { allocate, .. } => *allocate,
        Request::Begin { .. }
        | Request::Renew
        | Request::Reopen { .. }
        | Request::Recalled { .. }
        | Request::Outcome { .. }
        | Request::Drained
        | Request::Lookup { .. }
        | Request::Parent { .. }
        | Request::GetAttr { .. }
        | Request::ReadLink { .. }
        | Request::ReadDir { .. }
        | Request::Seek { .. }
        | Request::Release { .. }
        | Request::Lock { .. }
        | Request::Unlock { .. }
        | Request::CancelLock { .. }
        | Request::GetLock { .. }
        | Request::StatFs
        | Request::Examine { .. } => false,
    }
}
