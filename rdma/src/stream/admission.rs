//! The node's side of a handshake, up to the Hello: one step whenever bytes have come. Never blocks.
//!
//! Until the key is proved the connection is half-open and gets as little as possible: no thread, 66 bytes of buffer, no
//! allocation, and nothing whose size the peer names. The proof comes with the first message (`psk0`): what a wrong key costs is a hash and a
//! decryption that fails. After it a record of at most 1 KiB is heard, into a buffer that has that size from the start.

use super::setup::SetupError;
use super::socket::{Received, Socket};
use crate::handshake::{
    Answer, Hello, MAX_SETUP_RECORD, OPENING, OPENING_HEAD, Refusal, Rejected, Secure, judge_opening, respond,
};
use crate::key::{Key, KeyId};
use std::io::{IoSlice, IoSliceMut};

/// Bytes of the longest Hello record with its length.
const HELLO: usize = 2 + MAX_SETUP_RECORD;
/// Most bytes that are thrown away so that the kernel delivers our last word: closing a socket with bytes unread would take it back.
const LEFT_UNREAD: usize = 64 * 1024;

/// What a node knows of keys and of those who proved one.
pub(crate) trait Keys {
    /// The key of an id.
    fn find(&self, id: KeyId) -> Option<Key>;

    /// Whether this opening was answered before.
    fn is_repeated(&self, _opening: &[u8; OPENING]) -> bool {
        false
    }

    /// This opening was made with a key, and is answered.
    fn answered(&self, _opening: &[u8; OPENING]) {}
}

impl<F: Fn(KeyId) -> Option<Key>> Keys for F {
    fn find(&self, id: KeyId) -> Option<Key> {
        self(id)
    }
}

/// A handshake under way.
#[derive(Debug)]
pub(crate) struct Admission {
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Waits for the opening, of which `got` bytes are there.
    Opening { bytes: [u8; OPENING], got: usize },
    /// Waits for the Hello. The key is proved, or an opening that another peer sent was recorded and is played again.
    Hello(Box<Hearing>),
    /// Nothing more to do.
    Over,
}

#[derive(Debug)]
struct Hearing {
    secure: Secure,
    key: KeyId,
    record: [u8; HELLO],
    got: usize,
}

/// A peer that has proved a key.
#[derive(Debug)]
pub(crate) struct Admitted {
    /// The encrypted channel to the peer.
    pub(crate) secure: Secure,
    /// The key it proved.
    pub(crate) key: KeyId,
    /// The peer's Hello.
    pub(crate) hello: Hello,
}

impl Admission {
    pub(crate) fn new() -> Self {
        let (bytes, got) = ([0; OPENING], 0);
        Self {
            stage: Stage::Opening { bytes, got },
        }
    }

    /// True once the opening was right.
    pub(crate) fn has_key(&self) -> bool {
        matches!(self.stage, Stage::Hello(_))
    }

    /// What the peer owes.
    pub(crate) fn step(&self) -> &'static str {
        if self.has_key() { "hello" } else { "key" }
    }

    /// Goes on with what has come; `None` when more must come.
    ///
    /// # Errors
    /// The handshake has failed; the peer has been told why, if anything is owed to it. The socket is to be closed.
    pub(crate) fn go_on(&mut self, socket: &Socket, keys: impl Keys) -> Result<Option<Admitted>, SetupError> {
        if let Stage::Opening { bytes, got } = &mut self.stage {
            let Some(hearing) = hear_opening(socket, bytes, got, keys)? else {
                return Ok(None);
            };
            self.stage = Stage::Hello(Box::new(hearing));
        }
        let Stage::Hello(hearing) = &mut self.stage else {
            return Ok(None);
        };
        let Some(hello) = hearing.hear(socket)? else {
            return Ok(None);
        };
        let Stage::Hello(hearing) = std::mem::replace(&mut self.stage, Stage::Over) else {
            return Ok(None);
        };
        let Hearing { secure, key, .. } = *hearing;
        Ok(Some(Admitted { secure, key, hello }))
    }
}

fn hear_opening(
    socket: &Socket,
    bytes: &mut [u8; OPENING],
    got: &mut usize,
    keys: impl Keys,
) -> Result<Option<Hearing>, SetupError> {
    if !fill(socket, &mut bytes[..OPENING_HEAD], got, "key")? {
        return Ok(None);
    }
    match bytes.first_chunk().map_or(Ok(()), judge_opening) {
        Err(Rejected::OtherProtocol) => return Err(Rejected::OtherProtocol.into()),
        // Another version may have another length: answer at once.
        Err(_) => {}
        Ok(()) if !fill(socket, bytes, got, "key")? => return Ok(None),
        Ok(()) => {}
    }
    if keys.is_repeated(bytes) {
        return Err(Rejected::Repeated.into());
    }
    let (reply, outcome) = respond(bytes, |id| keys.find(id));
    if outcome.is_ok() {
        keys.answered(bytes);
    }
    say(socket, &reply, "key")?;
    let secure = outcome.inspect_err(|_| leave(socket))?;
    let key = bytes[OPENING_HEAD..].first_chunk();
    Ok(Some(Hearing {
        secure,
        key: key.map_or(KeyId([0; 8]), |id| KeyId(*id)),
        record: [0; HELLO],
        got: 0,
    }))
}

impl Hearing {
    fn hear(&mut self, socket: &Socket) -> Result<Option<Hello>, SetupError> {
        let garbled = || SetupError::Ended("hello");
        if !fill(socket, &mut self.record[..2], &mut self.got, "hello")? {
            return Ok(None);
        }
        let end = 2 + usize::from(u16::from_le_bytes([self.record[0], self.record[1]]));
        // No more than this record: what follows is not for here.
        let record = self.record.get_mut(..end).ok_or_else(garbled)?;
        if !fill(socket, record, &mut self.got, "hello")? {
            return Ok(None);
        }
        let mut plain = [0; MAX_SETUP_RECORD];
        let opened = self.secure.open(&record[2..], &mut plain);
        let len = opened.map_err(|_| garbled())?;
        Hello::decode(&plain[..len]).map(Some).ok_or_else(garbled)
    }
}

/// Says the last word to an admitted peer that cannot be served. Never blocks.
pub(crate) fn turn_away(socket: &Socket, secure: &mut Secure, refusal: Refusal) {
    let mut record = Vec::new();
    let word = postcard::to_allocvec(&Answer::Refused(refusal)).unwrap_or_default();
    if secure.seal(&word, &mut record).is_ok() && say(socket, &record, "answer").is_ok() {
        leave(socket);
    }
}

/// Ends our direction after the last word, and reads what the peer said beyond what was asked: closing a socket with bytes unread
/// would make the kernel throw away what we just told it.
fn leave(socket: &Socket) {
    socket.end_sending();
    let (mut scratch, mut read) = ([0; 4096], 0);
    while read < LEFT_UNREAD {
        match socket.try_receive(&mut [IoSliceMut::new(&mut scratch)]) {
            Ok(Received::Bytes(more)) => read += more,
            _ => return,
        }
    }
}

/// Receives until `to` is full, of which `got` bytes are there; false when more must come.
fn fill(socket: &Socket, to: &mut [u8], got: &mut usize, step: &'static str) -> Result<bool, SetupError> {
    while *got < to.len() {
        match socket.try_receive(&mut [IoSliceMut::new(&mut to[*got..])])? {
            Received::Bytes(more) => *got += more,
            Received::Nothing => return Ok(false),
            Received::End => return Err(SetupError::Ended(step)),
        }
    }
    Ok(true)
}

/// Sends a few bytes on a connection on which nothing waits: the kernel takes all of them, or the peer is none of ours.
fn say(socket: &Socket, bytes: &[u8], step: &'static str) -> Result<(), SetupError> {
    match socket.try_send(&[IoSlice::new(bytes)])? {
        sent if sent == bytes.len() => Ok(()),
        _ => Err(SetupError::Ended(step)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fabric::FabricKind;
    use crate::handshake::{Initiator, REPLY, Role};
    use std::os::unix::net::UnixStream;

    fn pair() -> (Socket, Socket) {
        let (a, b) = UnixStream::pair().unwrap();
        (Socket::new(a), Socket::new(b))
    }

    fn hello() -> Hello {
        let role = Role::Control {
            fabric: FabricKind::Tcp,
            queues: 2,
        };
        Hello::new(("pool", "host"), role, None)
    }

    /// A peer that sends its opening, and what came of it.
    fn opened(key: &Key, theirs: &Key) -> (Socket, Socket, Admission, Result<Secure, Rejected>) {
        let (node, peer) = pair();
        let mut admission = Admission::new();
        let (initiator, opening) = Initiator::new(theirs).unwrap();
        peer.send_all(&opening).unwrap();
        let went_on = admission.go_on(&node, |id| (id == key.id).then(|| key.clone()));
        assert!(matches!(went_on, Ok(None)) == (key.id == theirs.id));
        let mut reply = [0; REPLY];
        peer.receive(&mut reply).unwrap();
        (node, peer, admission, initiator.finish(&reply))
    }

    #[test]
    fn it_goes_on_a_byte_at_a_time() {
        let (node, peer) = pair();
        let key = Key::generate().unwrap();
        let find = |id| (id == key.id).then(|| key.clone());
        let mut admission = Admission::new();
        let (initiator, opening) = Initiator::new(&key).unwrap();
        for byte in opening {
            assert!(!admission.has_key());
            assert!(admission.go_on(&node, find).unwrap().is_none());
            peer.send_all(&[byte]).unwrap();
        }
        assert!(admission.go_on(&node, find).unwrap().is_none());
        assert_eq!((admission.has_key(), admission.step()), (true, "hello"));
        let mut reply = [0; REPLY];
        peer.receive(&mut reply).unwrap();
        let mut secure = initiator.finish(&reply).unwrap();
        let mut record = Vec::new();
        let plain = postcard::to_allocvec(&hello()).unwrap();
        secure.seal(&plain, &mut record).unwrap();
        record.extend_from_slice(b"next");
        let (last, first) = (record.len() - 5, &record[..record.len() - 5]);
        for byte in first {
            peer.send_all(&[*byte]).unwrap();
            assert!(admission.go_on(&node, find).unwrap().is_none());
        }
        peer.send_all(&record[last..]).unwrap();
        let admitted = admission.go_on(&node, find).unwrap().unwrap();
        assert_eq!((admitted.key, admitted.hello), (key.id, hello()));
        let mut rest = [0; 8];
        assert_eq!(node.receive(&mut rest).unwrap(), 4, "what follows stays");
    }

    #[test]
    fn a_wrong_key_is_notified_and_hung_up_on_whatever_was_said_beyond() {
        let (key, theirs) = (Key::generate().unwrap(), Key::generate().unwrap());
        let (node, peer, _, outcome) = opened(&key, &theirs);
        assert_eq!(outcome.err(), Some(Rejected::WrongKey));
        assert_eq!(peer.receive(&mut [0; 1]).unwrap(), 0);
        drop(node);
    }

    #[test]
    fn a_hello_has_its_longest_length_and_no_length_makes_room() {
        let key = Key::generate().unwrap();
        for (length, goes_on) in [
            (0, false),
            (1, true),
            (MAX_SETUP_RECORD, true),
            (MAX_SETUP_RECORD + 1, false),
            (65_535, false),
        ] {
            let (node, peer, mut admission, secure) = opened(&key, &key);
            secure.unwrap();
            peer.send_all(&u16::try_from(length).unwrap().to_le_bytes())
                .unwrap();
            let outcome = admission.go_on(&node, |_| None);
            assert_eq!(outcome.is_ok(), goes_on, "{length}: {outcome:?}");
        }
    }

    #[test]
    fn garbage_behind_a_right_opening_ends_it() {
        let key = Key::generate().unwrap();
        let (node, peer, mut admission, _) = opened(&key, &key);
        peer.send_all(&[&[100, 0][..], &[7; 100]].concat()).unwrap();
        let outcome = admission.go_on(&node, |_| None);
        assert!(matches!(outcome, Err(SetupError::Ended("hello"))), "{outcome:?}");
    }

    #[test]
    fn other_protocols_are_known_by_their_first_bytes() {
        let (node, peer) = pair();
        peer.send_all(b"GET / HTTP").unwrap();
        let outcome = Admission::new().go_on(&node, |_| None);
        assert!(matches!(
            outcome,
            Err(SetupError::Rejected(Rejected::OtherProtocol))
        ));
    }

    #[test]
    fn who_is_turned_away_hears_why() {
        let key = Key::generate().unwrap();
        let (node, peer, mut admission, secure) = opened(&key, &key);
        let mut secure = secure.unwrap();
        let mut record = Vec::new();
        secure
            .seal(&postcard::to_allocvec(&hello()).unwrap(), &mut record)
            .unwrap();
        peer.send_all(&record).unwrap();
        let mut admitted = admission.go_on(&node, |_| None).unwrap().unwrap();
        peer.send_all(&[1; 10_000]).unwrap();
        turn_away(&node, &mut admitted.secure, Refusal::NoRoom);
        drop(node);
        let mut sealed = [0; 64];
        let got = peer.receive(&mut sealed).unwrap();
        let mut plain = [0; 64];
        let len = secure.open(&sealed[2..got], &mut plain).unwrap();
        let answer = Answer::decode(&plain[..len]).unwrap();
        assert!(matches!(answer, Answer::Refused(Refusal::NoRoom)));
    }
}
