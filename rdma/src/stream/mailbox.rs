//! Ordered messages over one encrypted connection, for both sides.
//!
//! A frame is one record whose first byte is its kind. Sending never blocks: what the socket does not take waits in a
//! bounded backlog and goes out with [`Mailbox::flush`].

use super::records::Records;
use super::sealed::SealedFrames;
use super::socket::{Received, Socket};
use crate::fabric::FabricError;
use crate::handshake::Secure;
use parking_lot::Mutex;
use std::io::IoSlice;
use std::sync::Arc;

/// A message.
const MESSAGE: u8 = 0;
/// The sender has given up its mapping of the arena and will end the connection.
const GOODBYE: u8 = 1;

/// Once so many bytes of frames have come, [`Mailbox::receive`] returns: a peer that sends without end is heard a part at a time,
/// and what it sends meanwhile stays with the kernel, which makes it wait.
const ENOUGH: usize = 256 << 10;

/// What a peer sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// A message.
    Message(Vec<u8>),
    /// On shm: it does not touch the arena any more.
    Goodbye,
}

/// One end of a message connection.
#[derive(Debug)]
pub(crate) struct Mailbox {
    socket: Arc<Socket>,
    /// Held only while bytes are copied, encrypted or given to the kernel; taken last.
    state: Mutex<MailboxState>,
}

#[derive(Debug)]
struct MailboxState {
    frames: SealedFrames,
    incoming: Records,
}

impl Mailbox {
    pub(crate) fn new(socket: Arc<Socket>, secure: Secure, backlog: usize) -> Self {
        let state = MailboxState {
            frames: SealedFrames::new(secure, backlog),
            incoming: Records::new(),
        };
        Self {
            socket,
            state: Mutex::new(state),
        }
    }

    /// To watch and to end.
    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Sends a message of at most [`MAX_MESSAGE`](crate::fabric::MAX_MESSAGE) bytes, or keeps it for [`Mailbox::flush`]: true when some of it waits.
    ///
    /// # Errors
    /// `Protocol` when it is too long, `Full` when more than the backlog would wait, `Disconnected` when the socket has failed.
    pub(crate) fn send(&self, message: &[u8]) -> Result<bool, FabricError> {
        self.put(MESSAGE, message)
    }

    /// Says that the arena is unmapped.
    pub(crate) fn say_goodbye(&self) -> Result<bool, FabricError> {
        self.put(GOODBYE, &[])
    }

    /// Sends what waits, as far as the socket takes it: true when some still waits.
    pub(crate) fn flush(&self) -> Result<bool, FabricError> {
        self.state.lock().flush(&self.socket)
    }

    /// True when something waits to be sent.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.state.lock().frames.waiting().is_empty()
    }

    /// Moves what has arrived into `frames`, but not much more than [`ENOUGH`] bytes: when it stops there, the socket is still
    /// readable. Never blocks.
    ///
    /// # Errors
    /// `Disconnected` at the end of the stream, `Protocol` when a record does not decrypt or is no frame. Frames
    /// before that are delivered.
    pub(crate) fn receive(&self, frames: &mut Vec<Frame>) -> Result<(), FabricError> {
        self.state.lock().receive(&self.socket, frames)
    }

    fn put(&self, kind: u8, body: &[u8]) -> Result<bool, FabricError> {
        let mut state = self.state.lock();
        state.frames.put(kind, body)?;
        state.flush(&self.socket)
    }
}

impl MailboxState {
    fn flush(&mut self, socket: &Socket) -> Result<bool, FabricError> {
        while !self.frames.waiting().is_empty() {
            match socket.try_send(&[IoSlice::new(self.frames.waiting())]) {
                Ok(0) => break,
                Ok(more) => self.frames.advance(more),
                Err(error) => return Err(FabricError::Disconnected(error.to_string())),
            }
        }
        Ok(!self.frames.waiting().is_empty())
    }

    fn receive(&mut self, socket: &Socket, frames: &mut Vec<Frame>) -> Result<(), FabricError> {
        let mut came = 0;
        loop {
            while let Some(record) = self.incoming.next() {
                came += record.len();
                frames.push(frame(self.frames.open(record)?)?);
            }
            // Only here: no whole record is left behind that a poll for the socket would not tell of.
            if came >= ENOUGH || frames.len() >= ENOUGH / 64 {
                return Ok(());
            }
            match self.incoming.try_fill(socket) {
                Ok(Received::Bytes(_)) => {}
                Ok(Received::Nothing) => return Ok(()),
                Ok(Received::End) => return Err(FabricError::Disconnected("the peer has closed it".into())),
                Err(error) => return Err(FabricError::Disconnected(error.to_string())),
            }
        }
    }
}

/// Any record that was opened gives a frame or an error.
fn frame(opened: Option<(u8, &[u8])>) -> Result<Frame, FabricError> {
    match opened {
        Some((MESSAGE, body)) => Ok(Frame::Message(body.to_vec())),
        Some((GOODBYE, [])) => Ok(Frame::Goodbye),
        _ => Err(FabricError::Protocol("a record is no frame".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fabric::MAX_MESSAGE;
    use crate::handshake::tests::pair;
    use proptest::prelude::*;
    use std::os::unix::net::UnixStream;

    const BACKLOG: usize = 1 << 20;

    fn mailboxes() -> (Mailbox, Mailbox) {
        let (a, b) = UnixStream::pair().unwrap();
        let (x, y) = pair();
        (
            Mailbox::new(Arc::new(Socket::new(a)), x, BACKLOG),
            Mailbox::new(Arc::new(Socket::new(b)), y, BACKLOG),
        )
    }

    #[test]
    fn messages_of_every_length_arrive_in_order() {
        let (a, b) = mailboxes();
        let mut frames = Vec::new();
        for len in [0, 1, 4096, MAX_MESSAGE - 1, MAX_MESSAGE] {
            assert_eq!(a.send(&vec![3; len]), Ok(false));
            b.receive(&mut frames).unwrap();
            assert_eq!(frames.pop(), Some(Frame::Message(vec![3; len])));
        }
        let refused = a.send(&vec![0; MAX_MESSAGE + 1]);
        assert!(matches!(refused, Err(FabricError::Protocol(_))));
        a.say_goodbye().unwrap();
        drop(a);
        assert!(matches!(
            b.receive(&mut frames),
            Err(FabricError::Disconnected(_))
        ));
        assert_eq!(frames, [Frame::Goodbye]);
    }

    #[test]
    fn who_does_not_read_fills_the_backlog_and_loses_nothing() {
        let (a, b) = mailboxes();
        let mut sent = 0u32;
        let error = loop {
            let mut message = vec![0; 10_000];
            message[..4].copy_from_slice(&sent.to_le_bytes());
            match a.send(&message) {
                Ok(_) => sent += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(error, FabricError::Full);
        assert!(a.is_waiting() && sent as usize * 10_000 >= BACKLOG - 10_000);
        let mut frames = Vec::new();
        while a.flush().unwrap() {
            b.receive(&mut frames).unwrap();
        }
        b.receive(&mut frames).unwrap();
        let order = frames.iter().map(|frame| match frame {
            Frame::Message(body) => u32::from_le_bytes(*body.first_chunk().unwrap()),
            Frame::Goodbye => u32::MAX,
        });
        assert!(order.eq(0..sent));
    }

    #[test]
    fn who_sends_without_end_is_heard_a_part_at_a_time() {
        // Over TCP, whose buffers take more than one part.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let near = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (far, _) = listener.accept().unwrap();
        let (x, y) = pair();
        let a = Mailbox::new(Arc::new(Socket::new(near)), x, 8 << 20);
        let b = Mailbox::new(Arc::new(Socket::new(far)), y, BACKLOG);
        for _ in 0..64 {
            a.send(&[3; MAX_MESSAGE]).unwrap();
        }
        let (mut frames, mut most) = (Vec::new(), 0);
        while frames.len() < 64 {
            let before = frames.len();
            b.receive(&mut frames).unwrap();
            most = most.max(frames.len() - before);
            a.flush().unwrap();
        }
        assert!(
            most >= 2 && most * MAX_MESSAGE <= 2 * ENOUGH,
            "{most} messages at once"
        );
    }

    #[test]
    fn a_forged_record_ends_it() {
        let (a, b) = mailboxes();
        a.socket().send_all(&[&[20, 0][..], &[9; 20]].concat()).unwrap();
        assert!(matches!(
            b.receive(&mut Vec::new()),
            Err(FabricError::Protocol(_))
        ));
    }

    proptest! {
        #[test]
        fn decoding_is_total(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let opened = bytes.split_first().map(|(kind, body)| (*kind, body));
            let decoded = frame(opened);
            prop_assert_eq!(decoded.is_ok(), bytes.first() == Some(&0) || bytes == [1]);
        }
    }
}
