//! Where connections wait until they have proved a key: one thread for all of a listener's, however many there are.
//!
//! Anybody who can reach the port can come here, so nothing that a stranger does costs more than the little that he is given: a
//! descriptor, some hundred bytes, and one time limit for everything up to his Hello, however he cuts it up. When there are as many as
//! there is room for, one goes for each that comes: of those without a key first, of the crowd (address) with the most of them,
//! the oldest. An honest handler says its opening with its first packet, so it does not stand among those, and one that comes from
//! another address than a flood is not touched by it at all. Accepting never stops because of strangers.

use super::gate::{Arrival, Gate, is_scarcity};
use super::listen::Listener;
use super::refusals::{Origin, Why};
use super::roll::Roll;
use crate::clock::Clock;
use crate::stream::{Admission, Admitted, Bell, Socket, ready, watch};
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
/// What the listener and the bell are called among the events.
const LISTENER: u64 = u64::MAX;
const BELL: u64 = u64::MAX - 1;

/// The strangers of one listener.
pub(super) struct Porch {
    gate: Arc<Gate>,
    roll: Arc<Roll>,
    epoll: Epoll,
    /// By their numbers, which is the order in which they came and in which their time is up.
    strangers: BTreeMap<u64, Stranger>,
    crowds: HashMap<Origin, usize>,
    next: u64,
    /// A descriptor to give up when there is no other: who comes then can be told so.
    spare: Option<File>,
    /// Nobody is accepted until then.
    pause: Option<Duration>,
}

struct Stranger {
    socket: Arc<Socket>,
    arrival: Arrival,
    /// When his time is up.
    until: Duration,
    admission: Admission,
    /// He has the spare descriptor: he hears that there is no room, so that it is free for the next one.
    on_spare: bool,
}

impl Porch {
    /// # Errors
    /// No descriptor.
    pub(super) fn new(gate: Arc<Gate>, roll: Arc<Roll>) -> io::Result<Self> {
        Ok(Self {
            gate,
            roll,
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            strangers: BTreeMap::new(),
            crowds: HashMap::new(),
            next: 0,
            spare: Some(spare()?),
            pause: None,
        })
    }

    /// Accepts and hears until the door closes; `bell` rings then. Blocking.
    pub(super) fn run(mut self, listener: &Listener, bell: &Bell) {
        // What is done for strangers must not slow down who is in.
        sys::give_way();
        let watched = self
            .watch(listener, LISTENER)
            .and_then(|()| self.watch(bell, BELL));
        if let Err(error) = watched {
            tracing::error!(%error, "nobody can be let in: a listener cannot be watched");
            return;
        }
        let mut events = [EpollEvent::empty(); 256];
        while !self.roll.is_closing() {
            let some = self.epoll.wait(&mut events, self.patience()).unwrap_or(0);
            let mut knocked = false;
            for event in &events[..some] {
                match event.data() {
                    LISTENER => knocked = true,
                    BELL => {}
                    number => self.hear(number),
                }
            }
            self.send_away_the_slow();
            self.reopen(listener);
            if knocked {
                self.accept(listener);
            }
        }
    }

    /// How long there is nothing to do but to listen.
    fn patience(&self) -> EpollTimeout {
        let now = self.gate.clock.now();
        let due = self.gate.refusals.say(now);
        let first = self.strangers.values().next().map(|stranger| stranger.until);
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
                Ok((socket, Ok(arrival))) => self.take_in(Arc::new(socket), arrival),
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
    fn take_in(&mut self, socket: Arc<Socket>, arrival: Arrival) {
        if matches!(arrival, Arrival::Tcp { .. })
            && let Err(error) = socket.tune_tcp()
        {
            return self.refused(arrival.origin(), Why::Setup(error.into()));
        }
        if self.strangers.len() >= self.gate.strangers {
            self.send_one_away();
        }
        self.next += 1;
        let number = self.next;
        if let Err(error) = self.watch(&*socket, number) {
            return self.refused(arrival.origin(), Why::Setup(error.into()));
        }
        *self.crowds.entry(arrival.origin().crowd()).or_default() += 1;
        let until = self.gate.clock.now() + self.gate.config.step_timeout;
        let stranger = Stranger {
            socket,
            arrival,
            until,
            admission: Admission::new(),
            on_spare: self.spare.is_none(),
        };
        self.strangers.insert(number, stranger);
        self.hear(number);
    }

    fn hear(&mut self, number: u64) {
        let Some(stranger) = self.strangers.get_mut(&number) else {
            return; // He was sent away meanwhile.
        };
        let key = &self.gate.config.key;
        let find = |id| (id == key.id).then(|| key.clone());
        match stranger.admission.go_on(&stranger.socket, find) {
            Ok(None) => {}
            Ok(Some(admitted)) => {
                if let Some(stranger) = self.remove(number) {
                    self.let_in(stranger, admitted);
                }
            }
            Err(error) => self.send_away(number, Why::Setup(error)),
        }
    }

    fn let_in(&self, stranger: Stranger, mut admitted: Admitted) {
        let Stranger { socket, arrival, .. } = stranger;
        if stranger.on_spare {
            self.gate.turn_away(&socket, &mut admitted.secure, arrival);
        } else {
            self.gate.enter(socket, arrival, admitted);
        }
    }

    fn send_away_the_slow(&mut self) {
        let now = self.gate.clock.now();
        while let Some((number, stranger)) = self.strangers.first_key_value()
            && stranger.until <= now
        {
            let (number, step) = (*number, stranger.admission.step());
            self.send_away(number, Why::Slow(step));
        }
    }

    /// Makes room for another one.
    fn send_one_away(&mut self) {
        let keyless = self.oldest(|stranger| !stranger.admission.has_key());
        if let Some(number) = keyless.or_else(|| self.oldest(|_| true)) {
            self.send_away(number, Why::Crowd);
        }
    }

    /// The oldest of these, of the largest crowd that has one of these.
    fn oldest(&self, of: impl Fn(&Stranger) -> bool) -> Option<u64> {
        let size = |stranger: &Stranger| self.crowds.get(&stranger.arrival.origin().crowd());
        let mut found: Option<(u64, usize)> = None;
        for (number, stranger) in self.strangers.iter().filter(|(_, stranger)| of(stranger)) {
            let size = size(stranger).copied().unwrap_or(0);
            if found.is_none_or(|(_, largest)| size > largest) {
                found = Some((*number, size));
            }
            // No other crowd can be larger.
            if size * 2 >= self.strangers.len() {
                break;
            }
        }
        found.map(|(number, _)| number)
    }

    fn send_away(&mut self, number: u64, why: Why) {
        if let Some(stranger) = self.remove(number) {
            self.refused(stranger.arrival.origin(), why);
        }
    }

    fn remove(&mut self, number: u64) -> Option<Stranger> {
        let stranger = self.strangers.remove(&number)?;
        // Others may hold the socket on: it is not closed here.
        let _ = self.epoll.delete(&*stranger.socket);
        let crowd = stranger.arrival.origin().crowd();
        if let Some(count) = self.crowds.get_mut(&crowd) {
            *count -= 1;
            if *count == 0 {
                self.crowds.remove(&crowd);
            }
        }
        Some(stranger)
    }

    fn refused(&self, from: Origin, why: Why) {
        self.gate.refused(from, why);
    }

    /// Gives up a stranger, or the spare descriptor. If there is neither, accepting pauses: false. Also false when nobody waits: the
    /// kernel looks for a descriptor first.
    fn find_a_descriptor(&mut self, listener: &Listener, error: &io::Error) -> bool {
        if !ready(&mut [watch(listener, false)], Duration::ZERO).unwrap_or(false) {
            return false;
        }
        self.gate
            .scarce(format!("no descriptor for another connection: {error}"));
        if let Some(number) = self.oldest(|stranger| !stranger.admission.has_key()) {
            self.send_away(number, Why::Crowd);
            return true;
        }
        if self.spare.take().is_some() {
            return true;
        }
        let mut nothing = EpollEvent::new(EpollFlags::empty(), LISTENER);
        if self.epoll.modify(listener, &mut nothing).is_ok() {
            self.pause = Some(self.gate.clock.now() + PAUSE);
        }
        false
    }

    /// After a pause: accepts again, with a spare descriptor if there is one now.
    fn reopen(&mut self, listener: &Listener) {
        if self.spare.is_none() {
            self.spare = spare().ok();
        }
        if self.pause.is_some_and(|pause| pause <= self.gate.clock.now()) {
            self.pause = None;
            let mut again = EpollEvent::new(EpollFlags::EPOLLIN, LISTENER);
            let _ = self.epoll.modify(listener, &mut again);
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
