//! Where connections wait until they have proved a key: one thread for all of a listener's, however many there are.
//!
//! Anybody who can reach the port can come here, so nothing that a half-open connection does costs more than the little that it is given: a
//! descriptor, some hundred bytes, and one time limit for everything up to its Hello, however it is cut up. When there are as many as
//! there is room for, one goes for each that comes: of those without a key first, of the source bucket (address) with the most of them,
//! the oldest. An honest handler says its opening with its first packet, so it does not stand among those, and one that comes from
//! another address than a flood is not touched by it at all. Accepting never stops because of half-open connections.

use super::acceptor::{Acceptor, Arrival, is_scarcity};
use super::listen::Listener;
use super::registry::Registry;
use super::rejections::{Origin, Why};
use crate::clock::Clock;
use crate::stream::{Admission, Admitted, Socket, Waker, ready, watch};
use crate::sys;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

/// How long accepting pauses when there is no descriptor for another connection.
const PAUSE: Duration = Duration::from_millis(100);
/// Connections accepted before those that are there are heard again.
const AT_ONCE: usize = 64;
/// What the listener and the waker are called among the events.
const LISTENER: u64 = u64::MAX;
const WAKER: u64 = u64::MAX - 1;

/// The half-open connections of one listener.
pub(super) struct HalfOpenQueue {
    acceptor: Arc<Acceptor>,
    registry: Arc<Registry>,
    epoll: Epoll,
    /// By their numbers, which is the order in which they came and in which their time is up.
    half_open: BTreeMap<u64, HalfOpen>,
    source_buckets: HashMap<Origin, usize>,
    next: u64,
    /// A descriptor to give up when there is no other: who comes then can be told so.
    spare: Option<File>,
    /// Nobody is accepted until then.
    pause: Option<Duration>,
}

struct HalfOpen {
    socket: Arc<Socket>,
    arrival: Arrival,
    /// When his time is up.
    until: Duration,
    admission: Admission,
    /// He has the spare descriptor: he hears that there is no room, so that it is free for the next one.
    on_spare: bool,
}

impl HalfOpenQueue {
    /// # Errors
    /// No descriptor.
    pub(super) fn new(acceptor: Arc<Acceptor>, registry: Arc<Registry>) -> io::Result<Self> {
        Ok(Self {
            acceptor,
            registry,
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            half_open: BTreeMap::new(),
            source_buckets: HashMap::new(),
            next: 0,
            spare: Some(spare()?),
            pause: None,
        })
    }

    /// Accepts and hears until the server closes; `waker` wakes it then. Blocking.
    pub(super) fn run(mut self, listener: &Listener, waker: &Waker) {
        // What is done for half-open connections must not slow down who is in.
        sys::give_way();
        let watched = self
            .watch(listener, LISTENER)
            .and_then(|()| self.watch(waker, WAKER));
        if let Err(error) = watched {
            tracing::error!(%error, "nobody can be let in: a listener cannot be watched");
            return;
        }
        let mut events = [EpollEvent::empty(); 256];
        while !self.registry.closing().has_begun() {
            let some = self.epoll.wait(&mut events, self.patience()).unwrap_or(0);
            let mut arrivals = false;
            for event in &events[..some] {
                match event.data() {
                    LISTENER => arrivals = true,
                    WAKER => {}
                    number => self.hear(number),
                }
            }
            self.reject_slow();
            self.reopen(listener);
            if arrivals {
                self.accept(listener);
            }
        }
    }

    /// How long there is nothing to do but to listen.
    fn patience(&self) -> EpollTimeout {
        let now = self.acceptor.clock.now();
        let due = self.acceptor.rejections.say(now);
        let first = self.half_open.values().next().map(|half_open| half_open.until);
        let next = [due, first, self.pause].into_iter().flatten().min();
        let Some(next) = next else {
            return EpollTimeout::NONE;
        };
        let millis = next.saturating_sub(now).as_nanos().div_ceil(1_000_000);
        EpollTimeout::from(u16::try_from(millis).unwrap_or(u16::MAX))
    }

    fn accept(&mut self, listener: &Listener) {
        for _ in 0..AT_ONCE {
            match listener.accept() {
                Ok((socket, Ok(arrival))) => self.add(Arc::new(socket), arrival),
                Ok((_, Err((from, why)))) => self.refused(from, why),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if is_scarcity(&error) => {
                    if !self.find_a_descriptor(listener, &error) {
                        return;
                    }
                }
                // That connection has ended already, or the call was interrupted.
                Err(_) => {}
            }
        }
    }

    /// A new one. What he said already is heard at once.
    fn add(&mut self, socket: Arc<Socket>, arrival: Arrival) {
        if matches!(arrival, Arrival::Tcp { .. })
            && let Err(error) = socket.tune_tcp()
        {
            return self.refused(arrival.origin(), Why::Setup(error.into()));
        }
        if self.half_open.len() >= self.acceptor.half_open {
            self.reject_one();
        }
        self.next += 1;
        let number = self.next;
        if let Err(error) = self.watch(&*socket, number) {
            return self.refused(arrival.origin(), Why::Setup(error.into()));
        }
        *self
            .source_buckets
            .entry(arrival.origin().source_bucket())
            .or_default() += 1;
        let until = self.acceptor.clock.now() + self.acceptor.config.step_timeout;
        let half_open = HalfOpen {
            socket,
            arrival,
            until,
            admission: Admission::new(),
            on_spare: self.spare.is_none(),
        };
        self.half_open.insert(number, half_open);
        self.hear(number);
    }

    fn hear(&mut self, number: u64) {
        let Some(half_open) = self.half_open.get_mut(&number) else {
            return; // He was sent away meanwhile.
        };
        match half_open.admission.go_on(&half_open.socket, &*self.acceptor) {
            Ok(None) => {}
            Ok(Some(admitted)) => {
                if let Some(half_open) = self.remove(number) {
                    self.let_in(half_open, admitted);
                }
            }
            Err(error) => self.reject(number, Why::Setup(error)),
        }
    }

    fn let_in(&self, half_open: HalfOpen, mut admitted: Admitted) {
        let HalfOpen { socket, arrival, .. } = half_open;
        if half_open.on_spare {
            self.acceptor.turn_away(&socket, &mut admitted.secure, arrival);
        } else {
            self.acceptor.enter(socket, arrival, admitted);
        }
    }

    fn reject_slow(&mut self) {
        let now = self.acceptor.clock.now();
        while let Some((number, half_open)) = self.half_open.first_key_value()
            && half_open.until <= now
        {
            let (number, step) = (*number, half_open.admission.step());
            self.reject(number, Why::Slow(step));
        }
    }

    /// Makes room for another one.
    fn reject_one(&mut self) {
        let keyless = self.oldest(|half_open| !half_open.admission.has_key());
        if let Some(number) = keyless.or_else(|| self.oldest(|_| true)) {
            self.reject(number, Why::TooManyHalfOpen);
        }
    }

    /// The oldest of these, of the largest source bucket that has one of these.
    fn oldest(&self, of: impl Fn(&HalfOpen) -> bool) -> Option<u64> {
        let size = |half_open: &HalfOpen| {
            self.source_buckets
                .get(&half_open.arrival.origin().source_bucket())
        };
        let mut found: Option<(u64, usize)> = None;
        for (number, half_open) in self.half_open.iter().filter(|(_, half_open)| of(half_open)) {
            let size = size(half_open).copied().unwrap_or(0);
            if found.is_none_or(|(_, largest)| size > largest) {
                found = Some((*number, size));
            }
            // No other source bucket can be larger.
            if size * 2 >= self.half_open.len() {
                break;
            }
        }
        found.map(|(number, _)| number)
    }

    fn reject(&mut self, number: u64, why: Why) {
        if let Some(half_open) = self.remove(number) {
            self.refused(half_open.arrival.origin(), why);
        }
    }

    fn remove(&mut self, number: u64) -> Option<HalfOpen> {
        let half_open = self.half_open.remove(&number)?;
        // Others may hold the socket on: it is not closed here.
        let _ = self.epoll.delete(&*half_open.socket);
        let source_bucket = half_open.arrival.origin().source_bucket();
        if let Some(count) = self.source_buckets.get_mut(&source_bucket) {
            *count -= 1;
            if *count == 0 {
                self.source_buckets.remove(&source_bucket);
            }
        }
        Some(half_open)
    }

    fn refused(&self, from: Origin, why: Why) {
        self.acceptor.refused(from, why);
    }

    /// Gives up a half-open connection, or the spare descriptor. If there is neither, accepting pauses: false. Also false when nobody waits: the
    /// kernel looks for a descriptor first.
    fn find_a_descriptor(&mut self, listener: &Listener, error: &io::Error) -> bool {
        if !ready(&mut [watch(listener, false)], Duration::ZERO).unwrap_or(false) {
            return false;
        }
        self.acceptor
            .scarce(format!("no descriptor for another connection: {error}"));
        if let Some(number) = self.oldest(|half_open| !half_open.admission.has_key()) {
            self.reject(number, Why::TooManyHalfOpen);
            return true;
        }
        if self.spare.take().is_some() {
            return true;
        }
        let mut nothing = EpollEvent::new(EpollFlags::empty(), LISTENER);
        if self.epoll.modify(listener, &mut nothing).is_ok() {
            self.pause = Some(self.acceptor.clock.now() + PAUSE);
        }
        false
    }

    /// After a pause: accepts again, with a spare descriptor if there is one now.
    fn reopen(&mut self, listener: &Listener) {
        if self.spare.is_none() {
            self.spare = spare().ok();
        }
        if self.pause.is_some_and(|pause| pause <= self.acceptor.clock.now()) {
            self.pause = None;
            let mut resume = EpollEvent::new(EpollFlags::EPOLLIN, LISTENER);
            let _ = self.epoll.modify(listener, &mut resume);
        }
    }

    fn watch(&self, fd: impl AsFd, number: u64) -> io::Result<()> {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, number);
        Ok(self.epoll.add(fd, event)?)
    }
}

fn spare() -> io::Result<File> {
    File::open("/dev/null")
}
