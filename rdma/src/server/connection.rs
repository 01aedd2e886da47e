//! A peer: its control connection, and when it is really gone.

use super::channel::Channel;
use super::closing::Closing;
use super::peer_handler::{Identity, Peer, PeerHandler};
use crate::clock::{Clock, SystemClock};
use crate::fabric::FabricError;
use crate::handshake::Refusal;
use crate::stream::{Frame, Socket, Waker, ready, watch};
use parking_lot::{Condvar, Mutex};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

/// Most bytes of messages that may wait for a peer that does not read.
pub(super) const BACKLOG: usize = 4 << 20;

/// An authenticated peer.
pub(super) struct PeerConnection {
    identity: Identity,
    channel: Channel,
    waker: Waker,
    side: Side,
    /// Taken before the channel's own; never held while the peer handler is called.
    data: Mutex<DataConnections>,
    idle: Condvar,
}

/// How a peer touches the arena.
pub(super) enum Side {
    /// By so many data connections.
    Tcp { queues: usize },
    /// By itself, until its process ends, which makes this readable.
    Shm { process: OwnedFd },
    /// By its queue pairs, which are its line's.
    Verbs,
}

/// A tcp peer's data connections.
#[derive(Default)]
struct DataConnections {
    /// Nobody joins any more, and messages are dropped.
    shut: bool,
    joined: Vec<Arc<Socket>>,
}

/// A data connection's membership, given up when dropped; the whole peer ends with it.
pub(super) struct Joined {
    connection: Arc<PeerConnection>,
    socket: Arc<Socket>,
}

impl PeerConnection {
    pub(super) fn new(identity: Identity, channel: Channel, waker: Waker, side: Side) -> Arc<Self> {
        Arc::new(Self {
            identity,
            channel,
            waker,
            side,
            data: Mutex::default(),
            idle: Condvar::new(),
        })
    }

    /// Takes a data connection in.
    pub(super) fn join(self: &Arc<Self>, socket: &Arc<Socket>) -> Result<Joined, Refusal> {
        let mut data = self.data.lock();
        if data.shut {
            return Err(Refusal::Closing);
        }
        match self.side {
            Side::Tcp { queues } if data.joined.len() < queues => {}
            _ => return Err(Refusal::TooManyQueues),
        }
        data.joined.push(Arc::clone(socket));
        Ok(Joined {
            connection: Arc::clone(self),
            socket: Arc::clone(socket),
        })
    }

    /// Serves the control connection until the peer is gone. False when it may still map the arena because the
    /// server closed and it did not let go within `patience`. Blocking.
    pub(super) fn serve(
        &self,
        peer_handler: &dyn PeerHandler,
        closing: &Closing,
        patience: Duration,
    ) -> bool {
        let mut farewell = Farewell::new(patience);
        let said_goodbye = self.exchange(peer_handler, closing, &mut farewell);
        self.shut();
        self.channel.end();
        let mut data = self.data.lock();
        self.idle.wait_while(&mut data, |data| !data.joined.is_empty());
        drop(data);
        said_goodbye || self.outlive(closing, &mut farewell)
    }

    /// Ends all connections. A peer on shm is told, and can still say goodbye.
    pub(super) fn shut(&self) {
        let mut data = self.data.lock();
        data.shut = true;
        data.joined.iter().for_each(|socket| socket.end());
        drop(data);
        match self.side {
            Side::Shm { .. } => self.channel.socket().end_sending(),
            Side::Tcp { .. } | Side::Verbs => self.channel.socket().end(),
        }
        self.waker.wake();
    }

    fn is_shut(&self) -> bool {
        self.data.lock().shut
    }

    /// Passes messages on until the connection ends; true when the peer said goodbye.
    fn exchange(&self, peer_handler: &dyn PeerHandler, closing: &Closing, farewell: &mut Farewell) -> bool {
        let mut frames = Vec::new();
        let mut said_goodbye = false;
        loop {
            let process_ended = self.sleep(farewell.left(closing.has_begun()));
            // A peer on shm that was shut may still say goodbye: only the end of what it sends is the end.
            if !self.is_shut() && self.channel.flush().is_err() {
                self.shut();
            }
            let received = self.channel.receive(&mut frames);
            for frame in frames.drain(..) {
                match frame {
                    Frame::Goodbye => said_goodbye = true,
                    Frame::Message(message) if !self.is_shut() => {
                        peer_handler.message(self.identity.id, &message);
                    }
                    Frame::Message(_) => {}
                }
            }
            if received.is_err() || process_ended || farewell.left(closing.has_begun()).is_zero() {
                return said_goodbye;
            }
        }
    }

    /// Sleeps until something happens, at most for `limit`; true when the peer's process has ended.
    fn sleep(&self, limit: Duration) -> bool {
        let mut watched = vec![watch(&self.waker, false)];
        if let Side::Shm { process } = &self.side {
            watched.push(watch(process, false));
        }
        watched.extend(self.channel.watched(!self.is_shut()));
        let limit = match self.channel.rest() {
            true => Duration::ZERO,
            false => limit,
        };
        if ready(&mut watched, limit).unwrap_or(false) {
            self.waker.clear();
        }
        let shm = matches!(self.side, Side::Shm { .. });
        shm && watched[1].any().unwrap_or(false)
    }

    /// On shm, waits until the process has ended that may still map the arena; when the server closes, as long as its farewell lasts.
    fn outlive(&self, closing: &Closing, farewell: &mut Farewell) -> bool {
        let Side::Shm { process } = &self.side else {
            return true;
        };
        loop {
            let left = farewell.left(closing.has_begun());
            let mut watched = [watch(process, false), watch(&self.waker, false)];
            // Woken or not, what counts is the process.
            let _woken = ready(&mut watched, left);
            if watched[0].any().unwrap_or(false) {
                return true;
            }
            self.waker.clear();
            if left.is_zero() {
                return false;
            }
        }
    }
}

/// The time that a peer on shm has, in all, to let go of the arena once the server closes.
struct Farewell {
    clock: SystemClock,
    patience: Duration,
    /// When it ends; `None` while the server is open.
    until: Option<Duration>,
}

impl Farewell {
    fn new(patience: Duration) -> Self {
        Self {
            clock: SystemClock::new(),
            patience,
            until: None,
        }
    }

    /// What is left of it: without end while the server is open.
    fn left(&mut self, closing: bool) -> Duration {
        if !closing {
            return Duration::MAX;
        }
        let now = self.clock.now();
        self.until.get_or_insert(now + self.patience).saturating_sub(now)
    }
}

impl Peer for PeerConnection {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn send(&self, message: &[u8]) -> Result<(), FabricError> {
        if self.is_shut() {
            return Err(FabricError::Disconnected("the peer was disconnected".into()));
        }
        match self.channel.send(message) {
            Ok(waiting) => {
                if waiting {
                    self.waker.wake();
                }
                Ok(())
            }
            Err(FabricError::Full) => {
                self.shut();
                Err(FabricError::Disconnected("the peer does not read".into()))
            }
            Err(error) => Err(error),
        }
    }

    fn close(&self) {
        self.shut();
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        let mut data = self.connection.data.lock();
        data.joined.retain(|socket| !Arc::ptr_eq(socket, &self.socket));
        drop(data);
        self.connection.idle.notify_all();
        self.connection.shut();
    }
}
