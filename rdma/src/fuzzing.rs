//! What holds of any bytes that a peer, or a key file, gives to this crate: one function per fuzz target, which panics where it
//! does not.
//!
//! The fuzzer (`scripts/fuzz`) calls them with bytes of its own, every test run with those it kept (`tests/fuzz/corpus`). Each
//! target plays the peer over a real socket where the decoder reads from one.

use crate::arena::Arena;
use crate::fabric::{FabricError, MAX_MESSAGE};
use crate::handshake::{Answer, Hello, Initiator, REPLY as NOISE_REPLY, Secure, respond};
use crate::key::{self, Key};
use crate::protocol::{Protocol, Versions};
use crate::stream::{Admission, Frame, Limits, Mailbox, Socket, introduce};
use crate::tcp::{self, wire};
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

/// A name, and what holds of any bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All of this crate.
pub const TARGETS: &[Target] = &[
    ("key", key_file),
    ("handshake", handshake),
    ("mailbox", mailbox),
    ("tcp", tcp_requests),
    ("link", link),
    #[cfg(any(feature = "verbs", fuzzing))]
    ("verbs", verbs),
];

/// Longer than any step of a set-up with a peer that has said all it will say.
const STEP: Duration = Duration::from_secs(5);
/// Bytes of the arena that a peer asks for.
const ARENA: u64 = 16 * 1024;
/// Of which it may touch so many, from the first on.
const ALLOWED: u64 = ARENA / 2;

/// A key file is its key: it comes back as it was read, but for the case of its digits and the last end of line.
fn key_file(bytes: &[u8]) {
    let Some(key) = key::parse(bytes) else {
        return;
    };
    let read = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let line = key.line();
    assert!(
        line.strip_suffix(b"\n")
            .is_some_and(|line| line.eq_ignore_ascii_case(read))
    );
}

/// Nobody comes through a set-up without the key, whatever he sends; and the first words are decoded from any bytes.
fn handshake(bytes: &[u8]) {
    let Some((choice, rest)) = bytes.split_first() else {
        return;
    };
    match choice {
        0 => admitted_without_key(rest),
        1 => introduced_without_key(rest),
        2 => {
            if let Some(hello) = Hello::decode(rest) {
                let anew = Hello::new((&hello.pool, &hello.host), hello.role.clone(), hello.protocol);
                assert_eq!(anew, hello, "the host id has a length that fits");
                let encoded = postcard::to_allocvec(&hello).expect("plain data");
                assert_eq!(Hello::decode(&encoded).as_ref(), Some(&hello));
                assert_choice_is_offered(hello.speaks());
            }
        }
        3 => {
            if let Some(answer) = Answer::decode(rest) {
                let encoded = postcard::to_allocvec(&answer).expect("plain data");
                assert!(Answer::decode(&encoded).is_some_and(|anew| anew == answer));
            }
        }
        4 => changed_reply(rest),
        _ => {}
    }
}

/// Whatever a peer says that it speaks: both ends come to one choice, which both offered, or to none.
fn assert_choice_is_offered(theirs: Protocol) {
    let versions = Versions::new(2, 40).expect("a range");
    let ours = Protocol {
        versions,
        features: 0b0110,
    };
    let chosen = ours.negotiate(theirs).ok();
    assert_eq!(chosen, theirs.negotiate(ours).ok());
    assert!(chosen.is_none_or(|chosen| ours.offered(chosen) && theirs.offered(chosen)));
}

fn admitted_without_key(sent: &[u8]) {
    let (node, mut peer) = pair();
    tell(&peer, sent);
    let key = new_key();
    let mut admission = Admission::new();
    // All has come that ever will, and the end of it.
    let admitted = admission.go_on(&node, |_| Some(key.clone()));
    assert!(admitted.is_err(), "a stranger was let in");
    assert!(!admission.has_key(), "a stranger proved a key");
    drop(node);
    let mut reply = Vec::new();
    // A socket closed with bytes unread is reset: what came before that counts.
    let _ = peer.read_to_end(&mut reply);
    assert!(reply.is_empty() || reply.len() == NOISE_REPLY);
}

fn introduced_without_key(sent: &[u8]) {
    let (socket, peer) = pair();
    tell(&peer, sent);
    let role = crate::handshake::Role::Data {
        token: [7; 32],
        encrypted: true,
    };
    let hello = Hello::new(("pool", "host"), role, Some(Protocol::FIRST));
    let introduced = introduce(&socket, &new_key(), &hello, &Limits::start(STEP));
    assert!(introduced.is_err(), "a stranger was taken for the node");
}

/// One changed byte anywhere in the node's reply, and there is no channel.
fn changed_reply(bytes: &[u8]) {
    let Some(&[at, change]) = bytes.first_chunk() else {
        return;
    };
    let key = new_key();
    let (initiator, opening) = Initiator::new(&key).expect("random bytes");
    let (mut reply, _) = respond(&opening, |_| Some(key.clone()));
    let at = usize::from(at) % reply.len();
    reply[at] ^= change;
    // X25519 passes over the highest bit of a public key, but the transcript holds it.
    assert_eq!(initiator.finish(&reply).is_ok(), change == 0, "byte {at}");
}

/// A peer with the key sends any plain text in its records, in pieces of any size, and then bytes that are none:
/// what are frames before the first that is not, arrives, in order, and nothing else.
fn mailbox(bytes: &[u8]) {
    let Some((&[parts, forged], rest)) = bytes.split_first_chunk() else {
        return;
    };
    let (mut sealer, opener) = channel();
    let (mut stream, mut wanted, mut good) = (Vec::new(), Vec::new(), true);
    for plain in cut(rest) {
        sealer.seal(plain, &mut stream).expect("short enough");
        good = good && expected(plain).map(|frame| wanted.push(frame)).is_some();
    }
    if forged > 0 {
        stream.extend_from_slice(&[forged; 40]);
        good = false;
    }
    let (socket, peer) = pair();
    let mailbox = Mailbox::new(Arc::new(socket), opener, 1 << 20);
    let peer = Socket::new(peer);
    let mut frames = Vec::new();
    let mut outcome = Ok(());
    for piece in stream.chunks(usize::from(parts) * 16 + 1) {
        peer.send_all(piece).expect("it is read at once");
        outcome = hear(&mailbox, &mut frames);
        if outcome.is_err() {
            break;
        }
    }
    assert_eq!(frames, wanted);
    // A forged length may promise more than ever comes.
    assert!(
        outcome.is_ok() == good || outcome.is_ok() && forged > 0,
        "{outcome:?}"
    );
    peer.end_sending();
    // After its first error nobody asks a mailbox again.
    if outcome.is_ok() {
        assert!(hear(&mailbox, &mut frames).is_err());
        assert_eq!(frames, wanted);
    }
}

/// All that has come: a part at a time, as endpoints do.
fn hear(mailbox: &Mailbox, frames: &mut Vec<Frame>) -> Result<(), FabricError> {
    loop {
        let mut part = Vec::new();
        let heard = mailbox.receive(&mut part);
        let quiet = part.is_empty();
        frames.append(&mut part);
        if quiet || heard.is_err() {
            return heard;
        }
    }
}

fn expected(plain: &[u8]) -> Option<Frame> {
    match plain {
        [0, body @ ..] if body.len() <= MAX_MESSAGE => Some(Frame::Message(body.to_vec())),
        [1] => Some(Frame::Goodbye),
        _ => None,
    }
}

/// A peer asks for anything on a data connection: what it may not touch stays as it is and is not shown, and each
/// request is answered, as it came, until one makes no sense. The first byte chooses the encryption.
fn tcp_requests(bytes: &[u8]) {
    heads(bytes);
    let Some((choice, rest)) = bytes.split_first() else {
        return;
    };
    // Its second half is not the peer's.
    let arena = Arena::allocate(ARENA, &mut |_| ()).expect("some pages");
    let secret = [0xa5; 8 * 1024];
    arena.write(ALLOWED, &secret).expect("in bounds");
    let (node, mut peer) = pair();
    let (sealer, opener) = match choice & 1 {
        1 => Some(channel()).unzip(),
        _ => (None, None),
    };
    let sent = match sealer {
        Some(mut sealer) => {
            let mut stream = Vec::new();
            cut(rest).for_each(|plain| sealer.seal(plain, &mut stream).expect("short enough"));
            stream
        }
        None => rest.to_vec(),
    };
    let sealed = opener.is_some();
    let replies = std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            // The node reads as it writes: what it has room for is there before it is asked for the rest.
            tell(&peer, &sent);
            let mut replies = Vec::new();
            let _ = peer.read_to_end(&mut replies);
            replies
        });
        let _ = tcp::serve(&node, opener, &arena, &|_, range| range.end <= ALLOWED);
        drop(node);
        reader.join().expect("it only reads")
    });
    let mut after = [0; 8 * 1024];
    arena.read(ALLOWED, &mut after).expect("in bounds");
    assert!(after == secret, "a peer wrote where it may not");
    if !sealed {
        answered(rest, &replies);
    }
}

/// The replies are those of the requests, in order; none shows a byte of what the peer may not read.
fn answered(mut requests: &[u8], mut replies: &[u8]) {
    while let Some((head, rest)) = replies.split_first_chunk() {
        let reply = wire::Reply::decode(head).expect("ours always decode");
        let (asked, more) = requests.split_first_chunk().expect("no reply without a request");
        let request = wire::DataRequest::decode(asked).expect("nonsense is not answered");
        assert_eq!((reply.id, reply.len), (request.id, request.len));
        let len = request.len as usize;
        let may = request.range().is_some_and(|range| range.end <= ALLOWED);
        assert_eq!(reply.refused, !may);
        let (written, read) = match request.verb {
            crate::fabric::Verb::Write => (len, 0),
            crate::fabric::Verb::Read => (0, len),
        };
        let shown = &rest[..read.min(rest.len())];
        assert!(may || shown.iter().all(|byte| *byte == 0), "a secret was shown");
        requests = more
            .get(written..)
            .expect("a write is answered when its bytes came");
        replies = &rest[shown.len()..];
    }
}

fn heads(bytes: &[u8]) {
    if let Some(head) = bytes.first_chunk()
        && let Some(request) = wire::DataRequest::decode(head)
    {
        assert_eq!(request.encode(), *head);
    }
    if let Some(head) = bytes.first_chunk()
        && let Some(reply) = wire::Reply::decode(head)
    {
        assert_eq!(reply.encode(), *head);
    }
}

/// Messages of a node to a link that waits for some.
fn link(bytes: &[u8]) {
    crate::link::fuzzing::answers(cut(bytes));
}

/// What a peer says of its queue pairs, and sends over them. The first byte chooses.
#[cfg(any(feature = "verbs", fuzzing))]
fn verbs(bytes: &[u8]) {
    use crate::verbs::fuzzing::{deal, honest_chunks, hostile_chunks, offer};
    match bytes {
        [0, rest @ ..] => offer(rest),
        [1, rest @ ..] => deal(rest),
        [2, rest @ ..] => hostile_chunks(channel().1, cut(rest)),
        [3, size, rest @ ..] => honest_chunks(channel(), *size, cut(rest)),
        _ => {}
    }
}

/// Pieces of the input: `length u16 little-endian, bytes`, the last one as long as the input is.
fn cut(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first_chunk()?;
        let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
        let (piece, rest) = rest.split_at(length);
        bytes = rest;
        Some(piece)
    })
}

/// Both ends of an encrypted channel.
fn channel() -> (Secure, Secure) {
    let key = new_key();
    let (initiator, opening) = Initiator::new(&key).expect("random bytes");
    let (reply, node) = respond(&opening, |_| Some(key.clone()));
    let ours = initiator.finish(&reply).expect("the same key");
    (ours, node.expect("the same key"))
}

fn new_key() -> Key {
    Key::generate().expect("random bytes")
}

fn pair() -> (Socket, UnixStream) {
    let (a, b) = UnixStream::pair().expect("two sockets");
    (Socket::new(a), b)
}

/// Sends what the peer has to say, and no more after it.
fn tell(peer: &UnixStream, bytes: &[u8]) {
    use std::io::Write;
    let mut peer = peer;
    // The other side may have hung up before the end.
    let _ = peer.write_all(bytes);
    let _ = peer.shutdown(std::net::Shutdown::Write);
}

#[cfg(test)]
#[path = "../../tests/fuzz/src/replay.rs"]
mod replay;
