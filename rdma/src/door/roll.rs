//! Who is here: connections whose key is proved and that are being set up, peers, and the threads that serve them.

use super::member::Member;
use crate::handshake::Token;
use crate::stream::Socket;
use parking_lot::{Condvar, Mutex};
use std::collections::HashMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// Most connections at once whose key is proved and that are still being set up: each has a thread, for a moment if it is honest.
const MAX_GUESTS: usize = 256;

/// The door's register.
#[derive(Default)]
pub(super) struct Roll {
    /// Never held while a desk is called or a thread is joined.
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    closing: bool,
    next: u64,
    guests: HashMap<u64, Arc<Socket>>,
    seats: u32,
    members: HashMap<Token, Arc<Member>>,
    threads: Vec<JoinHandle<()>>,
}

/// A connection's place among those that are being set up, given back when dropped.
pub(super) struct Place {
    roll: Arc<Roll>,
    number: u64,
}

/// A peer's right to be here, given back when dropped.
pub(super) struct Seat {
    roll: Arc<Roll>,
}

impl Roll {
    /// A place for a connection that has proved a key; `None` when there are too many or the door closes.
    pub(super) fn place(self: &Arc<Self>, socket: &Arc<Socket>) -> Option<Place> {
        let mut state = self.state.lock();
        if state.closing || state.guests.len() >= MAX_GUESTS {
            return None;
        }
        state.next += 1;
        let number = state.next;
        state.guests.insert(number, Arc::clone(socket));
        Some(Place {
            roll: Arc::clone(self),
            number,
        })
    }

    /// A seat for a peer; `None` when `most` are taken.
    pub(super) fn seat(self: &Arc<Self>, most: u32) -> Option<Seat> {
        let mut state = self.state.lock();
        if state.seats >= most {
            return None;
        }
        state.seats += 1;
        Some(Seat {
            roll: Arc::clone(self),
        })
    }

    /// Keeps a thread's handle, and forgets those of threads that have ended.
    pub(super) fn keep(&self, thread: JoinHandle<()>) {
        let mut state = self.state.lock();
        state.threads.retain(|thread| !thread.is_finished());
        state.threads.push(thread);
    }

    /// Adds a peer; one that comes while the door closes is closed at once.
    pub(super) fn add(&self, token: Token, member: &Arc<Member>) {
        let mut state = self.state.lock();
        state.members.insert(token, Arc::clone(member));
        let closing = state.closing;
        drop(state);
        self.arrived.notify_all();
        if closing {
            member.shut();
        }
    }

    /// The peer of a data connection. Its control connection's thread may be a moment behind: waits at most `patience`.
    pub(super) fn find(&self, token: &Token, patience: Duration) -> Option<Arc<Member>> {
        let mut state = self.state.lock();
        let missing = |state: &mut State| !state.closing && !state.members.contains_key(token);
        self.arrived.wait_while_for(&mut state, missing, patience);
        state.members.get(token).cloned()
    }

    pub(super) fn remove(&self, token: &Token) {
        self.state.lock().members.remove(token);
    }

    pub(super) fn is_closing(&self) -> bool {
        self.state.lock().closing
    }

    /// Lets nobody in any more and ends all connections.
    pub(super) fn begin_closing(&self) {
        let mut state = self.state.lock();
        state.closing = true;
        state.guests.values().for_each(|socket| socket.end());
        let members: Vec<_> = state.members.values().cloned().collect();
        drop(state);
        self.arrived.notify_all();
        members.iter().for_each(|member| member.shut());
    }

    /// Waits for the threads, listeners among them: these add no more once they have ended.
    pub(super) fn finish_closing(&self) {
        loop {
            let thread = self.state.lock().threads.pop();
            match thread {
                Some(thread) if thread.thread().id() == std::thread::current().id() => {}
                Some(thread) => drop(thread.join()),
                None => return,
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.roll.state.lock().guests.remove(&self.number);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.roll.state.lock().seats -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn places_and_seats_have_an_end_and_are_given_back() {
        let roll = Arc::new(Roll::default());
        let socket = Arc::new(Socket::new(UnixStream::pair().unwrap().0));
        let mut places: Vec<_> = (0..MAX_GUESTS).map(|_| roll.place(&socket)).collect();
        assert!(places.iter().all(Option::is_some));
        assert!(roll.place(&socket).is_none());
        places.pop();
        assert!(roll.place(&socket).is_some());
        let seats = [roll.seat(2), roll.seat(2)];
        assert!(seats.iter().all(Option::is_some) && roll.seat(2).is_none());
        drop(seats);
        assert!(roll.seat(1).is_some());
        roll.begin_closing();
        assert!(roll.place(&socket).is_none());
    }
}
