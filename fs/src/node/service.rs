//! The namespace between its peers, its store and its arena: serves calls and does what they leave to do.
//!
//! Everything that one call leads to happens under one lock, in the order of [`Output`]: so a peer gets messages in the order
//! in which the namespace made them, and the store gets batches in theirs. Nothing under the lock blocks: peers buffer, the
//! journal queues, long zeroing goes to the cleaner, and bytes are copied between two steps.

use super::arena_access::ArenaAccess;
use super::delayed::DelayedCalls;
use super::framing;
use super::grants::Grants;
use super::journal::{Journal, NotStored, Patience, Then};
use super::lease_time::LeaseTime;
use super::peer_log::{About, PeerEvent, PeerLog};
use super::recalls::Recalls;
use crate::protocol;
use parking_lot::{Condvar, Mutex, MutexGuard};
use rdmafs_meta::error::MetaError;
use rdmafs_meta::extent::Extent;
use rdmafs_meta::id::{Incarnation, NodeId, RequestId, SessionId};
use rdmafs_meta::namespace::{After, Namespace, Output};
use rdmafs_meta::store::Batch;
use rdmafs_meta::time::Now;
use rdmafs_meta::wire::{Answer, Call, Notice, Reply, Request, StampedAnswer, WireVersion};
use rdmafs_rdma::arena::Arena;
use rdmafs_rdma::server::{Peer, PeerId};
use std::collections::HashMap;
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
    pub(super) incarnation: (NodeId, Incarnation),
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
    /// Lock order: `state`, then the grants of `arena`, then the journal's queue. Peers are sent to under `state`.
    pub(super) state: Mutex<ServiceState>,
    /// A session has left, or has nothing uncommitted, while draining.
    calmed: Condvar,
    pub(super) arena: ArenaAccess,
    journal: Option<Journal>,
    pub(super) lease: Duration,
    pub(super) now: ReadClocks,
    lease_time: LeaseTime,
    pub(super) peer_log: PeerLog,
    stopping: AtomicBool,
}

pub(super) struct ServiceState {
    /// No session begins any more.
    pub(super) draining: bool,
    pub(super) namespace: Namespace,
    pub(super) peers: HashMap<PeerId, PeerEntry>,
    sessions: HashMap<SessionId, PeerId>,
    /// Of layouts.
    pub(super) recalls: Recalls,
    /// Of leases: they have numbers of their own.
    pub(super) lease_recalls: Recalls,
    dirty: Option<Sender<Vec<Extent>>>,
    /// Calls that wait until others have forgotten what they change.
    pub(super) delayed: DelayedCalls,
}

/// A peer, and the one session that it may speak for once it began it.
pub(super) struct PeerEntry {
    pub(super) peer: Arc<dyn Peer>,
    pub(super) session: Option<SessionId>,
    /// It has nothing uncommitted, and knows that the node ends.
    pub(super) drained: bool,
    /// When it arrived, or was last served, as leases count.
    pub(super) since: Duration,
    /// Why the node ends its connection, if it does.
    pub(super) shut_out: Option<&'static str>,
}

/// Who called what, and the number that the answer carries.
pub(super) struct ReplyTo {
    peer: Arc<dyn Peer>,
    id: u64,
    request: (SessionId, RequestId),
}

impl Service {
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            calmed: Condvar::new(),
            state: Mutex::new(ServiceState {
                draining: false,
                namespace: parts.namespace,
                peers: HashMap::new(),
                sessions: HashMap::new(),
                recalls: Recalls::default(),
                lease_recalls: Recalls::default(),
                dirty: Some(parts.dirty),
                delayed: DelayedCalls::default(),
            }),
            arena: ArenaAccess::new(parts.incarnation, parts.arena),
            journal: parts.journal,
            lease: parts.lease,
            now: parts.now,
            lease_time: LeaseTime::default(),
            peer_log: PeerLog::default(),
            stopping: AtomicBool::new(false),
        }
    }

    /// What the peers may touch. Asking needs no lock of the service.
    pub(super) fn grants(&self) -> &Grants {
        self.arena.grants()
    }

    /// The way to the store.
    pub(super) fn journal(&self) -> Option<&Journal> {
        self.journal.as_ref()
    }

    /// A peer may speak from now on.
    pub(super) fn arrived(&self, peer: Arc<dyn Peer>) {
        let entry = PeerEntry {
            peer: Arc::clone(&peer),
            session: None,
            drained: false,
            since: self.time().monotonic,
            shut_out: None,
        };
        self.state.lock().peers.insert(peer.identity().id, entry);
    }

    /// What messages the peer writes; `None`: it left.
    pub(super) fn spoken_with(&self, peer: PeerId) -> Option<WireVersion> {
        let state = self.state.lock();
        state.peers.get(&peer).map(|entry| spoken(&*entry.peer))
    }

    /// Serves a call of a peer and answers it as `id`. May wait for the store to catch up.
    pub(super) fn call(&self, from: PeerId, id: u64, call: Call) {
        let durable = call.request.is_durable();
        if durable {
            self.wait_for_room();
        }
        let mut state = self.state.lock();
        let Some(entry) = state.peers.get(&from) else {
            return; // It left.
        };
        let peer = Arc::clone(&entry.peer);
        if let Err(refusal) = self.admit(entry, &call, (durable, state.draining)) {
            send(
                &*peer,
                &framing::answer(id, &StampedAnswer::from(Err(refusal)), spoken(&*peer)),
            );
            return;
        }
        if let Some(entry) = state.peers.get_mut(&from) {
            entry.since = self.time().monotonic;
        }
        let drained = call.request == Request::Drained;
        match call.request {
            Request::Recalled { recall } => self.acknowledged(&mut state, call.session, recall),
            Request::Forgotten { recall } => {
                let now = self.time().monotonic;
                state.lease_recalls.answered(call.session, recall, now);
            }
            _ => {}
        }
        let request = (call.session, call.id);
        let output = self.ask(&mut state, (from, id), call);
        let (mut state, output) = self.with_bytes_done(state, output);
        if let Some(entry) = state.peers.get_mut(&from).filter(|_| drained) {
            entry.drained = true;
            self.calmed.notify_all();
        }
        state.bind(from, output.answer.as_ref());
        let caller = ReplyTo { peer, id, request };
        let lets_in = output.lets_in;
        // What failed of it is answered.
        let _answered = self.perform(state, output, Some(caller));
        self.let_in(lets_in);
    }

    /// A peer is gone for good: nothing of its session runs any more.
    pub(super) fn left(&self, peer: PeerId) {
        let mut state = self.state.lock();
        self.grants().forget(peer);
        let Some(entry) = state.peers.remove(&peer) else {
            return;
        };
        let why = match entry.shut_out {
            Some(why) => why,
            None if state.draining => "the node ends",
            None => "its connection ended",
        };
        let who = entry.peer.identity();
        let Some(session) = entry.session else {
            let what = format!("a handler without a session left: {why}");
            return self.say(PeerEvent::Left, who, (what, About::default()));
        };
        state.sessions.remove(&session);
        state.recalls.forget(session);
        state.lease_recalls.forget(session);
        for id in state.delayed.left(peer) {
            state.namespace.forget_delayed(id);
        }
        let what = format!("a session is fenced: {why}");
        self.say(PeerEvent::Fenced, who, (what, session.into()));
        self.calmed.notify_all();
        let output = state.namespace.fenced(session);
        self.perform_alone(state, output);
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
        self.peer_log.say_counts((self.now)().monotonic);
        self.say_late(&mut state);
        self.answer_delayed(&mut state);
        let idle = self.idle(&state);
        let (output, more) = state.namespace.tick(self.time());
        self.perform_alone(state, output);
        for peer in idle {
            self.expel(peer, "a handler began no session: its connection is closed");
        }
        more
    }

    /// These extents are all zero now: who says so of others gives their bytes to the next file.
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
        let sessions = state.peers.values().filter(|entry| entry.session.is_some());
        let mut asked = 0;
        for entry in sessions {
            if let Some(frame) = framing::notice(&Notice::Drain, spoken(&*entry.peer)) {
                send(&*entry.peer, &frame);
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
            let owing = |entry: &&PeerEntry| entry.session.is_some() && !entry.drained;
            let left = state.peers.values().filter(owing).count();
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

    /// A peer asks what is of the version that it speaks, for the session that it began, and for no other; who examines the namespace needs none. A store that failed ends
    /// all that is durable.
    fn admit(
        &self,
        entry: &PeerEntry,
        call: &Call,
        (durable, draining): (bool, bool),
    ) -> Result<(), MetaError> {
        if !spoken(&*entry.peer).covers(call.request.needs()) {
            return Err(MetaError::Unsupported);
        }
        let begins = matches!(call.request, Request::Begin { .. });
        match entry.session {
            None if begins && draining => return Err(MetaError::Draining),
            None if begins => {}
            None if matches!(call.request, Request::Examine { .. }) => {}
            Some(_) if begins => return Err(MetaError::Invalid),
            Some(session) if session == call.session => {}
            _ => return Err(MetaError::SessionEnded),
        }
        match &self.journal {
            Some(journal) if durable && journal.has_failed() => Err(MetaError::StoreFailed),
            Some(journal) if durable && journal.is_stuck() => Err(MetaError::NoSpace),
            _ => Ok(()),
        }
    }

    /// Does what the namespace left to do of its own accord. What fails of it was logged: there is nobody to tell.
    fn perform_alone(&self, state: MutexGuard<'_, ServiceState>, output: Output) {
        let _logged = self.perform(state, output, None);
    }

    /// Does what the namespace left to do, in the sequence that [`Output`] gives; then lets go of the lock and closes the connections
    /// that are to be closed, since their end comes back to this service.
    ///
    /// # Errors
    /// Orders on which the answer depends were not carried out: that is the answer, for a retry too.
    pub(super) fn perform(
        &self,
        mut state: MutexGuard<'_, ServiceState>,
        output: Output,
        caller: Option<ReplyTo>,
    ) -> Result<(), MetaError> {
        let carried_out = self.carry_out(&state, &output);
        let answer = match (output.answer, carried_out, &caller) {
            (Some(_), Err(error), Some(ReplyTo { request, .. })) => {
                state.namespace.not_carried_out(request.0, request.1, error);
                Some(Err(error))
            }
            (answer, ..) => answer,
        };
        let (stamp, changed) = (output.stamp, output.changed);
        let answer = answer.map(|answer| StampedAnswer {
            stamp,
            changed,
            answer,
        });
        self.notify(&mut state, &output.notices);
        // A lease runs out as time passes; only a call that begins a session ends another's connection.
        let why = match caller {
            Some(_) => "its handler connected anew",
            None => "its lease ran out",
        };
        self.record(output.batch, caller.zip(answer), output.after);
        if let Some(dirty) = state.dirty.as_ref().filter(|_| !output.clean.is_empty()) {
            // A cleaner that is gone has nothing to clean for: the node ends.
            let _ = dirty.send(output.clean);
        }
        let disconnect: Vec<_> = output
            .disconnect
            .iter()
            .filter_map(|session| state.shut_out(*session, why))
            .collect();
        if !output.resume.is_empty() {
            self.answer_delayed(&mut state);
        }
        let resumed: Vec<_> = output
            .resume
            .iter()
            .filter_map(|id| state.delayed.take(*id))
            .collect();
        drop(state);
        for (session, peer) in disconnect {
            let what = format!("a session is shut out: {why}");
            self.say(PeerEvent::ShutOut, peer.identity(), (what, session.into()));
            self.grants().forget(peer.identity().id);
            peer.close();
        }
        for (from, id, call) in resumed {
            self.call(from, id, call);
        }
        carried_out
    }

    /// Hands batches to the store and sends the answer, behind them if it must not come before they are durable.
    fn record(&self, batches: Vec<Batch>, answer: Option<(ReplyTo, StampedAnswer)>, after: After) {
        let Some(journal) = &self.journal else {
            return reply(answer);
        };
        if !after.store && !after.settled {
            journal.append(batches, None);
            return reply(answer);
        }
        let then: Then = Box::new(move |stored: Result<(), NotStored>| {
            reply(answer.map(|(caller, answer)| match stored {
                Err(NotStored::Failed) if after.store => (caller, Err(MetaError::StoreFailed).into()),
                Err(NotStored::Full) if after.store => (caller, Err(MetaError::NoSpace).into()),
                Ok(()) | Err(_) => (caller, answer),
            }));
        });
        let patience = match after.settled {
            true => Patience::Long,
            false => Patience::Short,
        };
        journal.append(batches, Some((then, patience)));
    }
}

impl ServiceState {
    /// Remembers which session a peer began.
    fn bind(&mut self, peer: PeerId, answer: Option<&Answer>) {
        if let Some(Ok(Reply::Begun(begun))) = answer
            && let Some(entry) = self.peers.get_mut(&peer)
        {
            entry.session = Some(begun.session);
            self.sessions.insert(begun.session, peer);
        }
    }

    /// The peer that speaks for a session.
    pub(super) fn peer(&self, session: SessionId) -> Option<PeerId> {
        self.sessions.get(&session).copied()
    }

    pub(super) fn entry(&self, session: SessionId) -> Option<&PeerEntry> {
        self.peers.get(&self.peer(session)?)
    }

    /// The peer whose connection is to be ended, with its session.
    fn shut_out(&mut self, session: SessionId, why: &'static str) -> Option<(SessionId, Arc<dyn Peer>)> {
        let entry = self.peers.get_mut(self.sessions.get(&session)?)?;
        entry.shut_out.get_or_insert(why);
        Some((session, Arc::clone(&entry.peer)))
    }
}

fn reply(answer: Option<(ReplyTo, StampedAnswer)>) {
    if let Some((caller, answer)) = answer {
        let frame = framing::answer(caller.id, &answer, spoken(&*caller.peer));
        send(&*caller.peer, &frame);
    }
}

/// What messages a peer understands.
pub(super) fn spoken(peer: &dyn Peer) -> WireVersion {
    protocol::spoken(peer.identity().negotiated)
}

/// A peer that cannot be sent to is on its way out: [`Service::left`] follows.
pub(super) fn send(peer: &dyn Peer, frame: &[u8]) {
    if let Err(error) = peer.send(frame) {
        tracing::debug!(host = peer.identity().host, %error, "cannot send to a peer");
    }
}
