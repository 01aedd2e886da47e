//! Who is here: connections whose key is proved and that are being set up, peers, and the threads that serve them.

use super::closing::Closing;
use super::connection::PeerConnection;
use crate::handshake::Token;
use crate::stream::Socket;
use parking_lot::{Condvar, Mutex};
use std::collections::HashMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// Most connections at once whose key is proved and that are still being set up: each has a thread, for a moment if it is honest.
const MAX_SETUPS: usize = 256;

/// The server's registry.
#[derive(Default)]
pub(super) struct Registry {
    /// Begins under the lock of `state`, so that nobody is let in whom [`Registry::begin_closing`] does not find.
    closing: Closing,
    /// Never held while a peer handler is called or a thread is joined.
    state: Mutex<RegistryState>,
    arrived: Condvar,
}

#[derive(Default)]
struct RegistryState {
    next: u64,
    setups: HashMap<u64, Arc<Socket>>,
    peers: u32,
    connections: HashMap<Token, Arc<PeerConnection>>,
    threads: Vec<JoinHandle<()>>,
}

/// A connection's place among those that are being set up, given back when dropped.
pub(super) struct SetupPermit {
    registry: Arc<Registry>,
    number: u64,
}

/// A peer's right to be here, given back when dropped.
pub(super) struct PeerPermit {
    registry: Arc<Registry>,
}

impl Registry {
    /// A permit for a connection that has proved a key; `None` when there are too many or the server closes.
    pub(super) fn setup_permit(self: &Arc<Self>, socket: &Arc<Socket>) -> Option<SetupPermit> {
        let mut state = self.state.lock();
        if self.closing.has_begun() || state.setups.len() >= MAX_SETUPS {
            return None;
        }
        state.next += 1;
        let number = state.next;
        state.setups.insert(number, Arc::clone(socket));
        Some(SetupPermit {
            registry: Arc::clone(self),
            number,
        })
    }

    /// A permit for a peer; `None` when `most` are taken.
    pub(super) fn peer_permit(self: &Arc<Self>, most: u32) -> Option<PeerPermit> {
        let mut state = self.state.lock();
        if state.peers >= most {
            return None;
        }
        state.peers += 1;
        Some(PeerPermit {
            registry: Arc::clone(self),
        })
    }

    /// Keeps a thread's handle, and forgets those of threads that have ended.
    pub(super) fn keep(&self, thread: JoinHandle<()>) {
        let mut state = self.state.lock();
        state.threads.retain(|thread| !thread.is_finished());
        state.threads.push(thread);
    }

    /// Adds a peer; one that comes while the server closes is closed at once.
    pub(super) fn add(&self, token: Token, connection: &Arc<PeerConnection>) {
        let mut state = self.state.lock();
        state.connections.insert(token, Arc::clone(connection));
        let closing = self.closing.has_begun();
        drop(state);
        self.arrived.notify_all();
        if closing {
            connection.shut();
        }
    }

    /// The peer of a data connection. Its control connection's thread may be a moment behind: waits at most `patience`.
    pub(super) fn find(&self, token: &Token, patience: Duration) -> Option<Arc<PeerConnection>> {
        let mut state = self.state.lock();
        let missing =
            |state: &mut RegistryState| !self.closing.has_begun() && !state.connections.contains_key(token);
        self.arrived.wait_while_for(&mut state, missing, patience);
        state.connections.get(token).cloned()
    }

    pub(super) fn remove(&self, token: &Token) {
        self.state.lock().connections.remove(token);
    }

    /// Whether the server closes.
    pub(super) fn closing(&self) -> &Closing {
        &self.closing
    }

    /// Lets nobody in any more and ends all connections.
    pub(super) fn begin_closing(&self) {
        let state = self.state.lock();
        self.closing.begin();
        state.setups.values().for_each(|socket| socket.end());
        let connections: Vec<_> = state.connections.values().cloned().collect();
        drop(state);
        self.arrived.notify_all();
        connections.iter().for_each(|connection| connection.shut());
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

impl Drop for SetupPermit {
    fn drop(&mut self) {
        self.registry.state.lock().setups.remove(&self.number);
    }
}

impl Drop for PeerPermit {
    fn drop(&mut self) {
        self.registry.state.lock().peers -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn permits_have_an_end_and_are_given_back() {
        let registry = Arc::new(Registry::default());
        let socket = Arc::new(Socket::new(UnixStream::pair().unwrap().0));
        let mut permits: Vec<_> = (0..MAX_SETUPS).map(|_| registry.setup_permit(&socket)).collect();
        assert!(permits.iter().all(Option::is_some));
        assert!(registry.setup_permit(&socket).is_none());
        permits.pop();
        assert!(registry.setup_permit(&socket).is_some());
        let peers = [registry.peer_permit(2), registry.peer_permit(2)];
        assert!(peers.iter().all(Option::is_some) && registry.peer_permit(2).is_none());
        drop(peers);
        assert!(registry.peer_permit(1).is_some());
        registry.begin_closing();
        assert!(registry.setup_permit(&socket).is_none());
    }
}
