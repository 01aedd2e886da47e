//! Opening and reply.

use super::secure::{Secure, TAG};
use crate::key::{Key, KeyId};
use crate::sys;
use snow::{Builder, HandshakeState};
use thiserror::Error;
use zeroize::Zeroizing;

/// The version of opening and reply. The first 10 bytes of an opening and the first 11 of a reply keep their meaning in all versions.
pub const VERSION: u16 = 1;

const MAGIC: [u8; 8] = *b"\0rdmafs\0";
const PATTERN: &str = "Noise_NNpsk0_25519_AESGCM_BLAKE2s";
/// Bytes of a Noise handshake message without payload: an ephemeral key and a tag.
const NOISE: usize = 32 + TAG;
/// Bytes of an opening before the fresh key: magic, version and key id.
pub(crate) const PROLOGUE: usize = OPENING_HEAD + 8;
/// Bytes of an opening that all versions share: magic and version.
pub(crate) const OPENING_HEAD: usize = 10;
/// Bytes of an opening.
pub(crate) const OPENING: usize = PROLOGUE + NOISE;
/// Bytes of a reply that all versions share: magic, version and verdict.
pub(crate) const REPLY_HEAD: usize = 11;
/// Bytes of a reply.
pub(crate) const REPLY: usize = REPLY_HEAD + NOISE;

/// Verdict: go on.
const GO_ON: u8 = 0;
/// Verdict: no such key, or not this one.
const WRONG_KEY: u8 = 1;
/// Verdict: the versions differ.
const WRONG_VERSION: u8 = 2;

/// Why a handshake came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum Rejected {
    /// The other side speaks something else.
    #[error("it does not speak the rdmafs protocol (is another service on that port?)")]
    OtherProtocol,
    /// The other side's version.
    #[error("it speaks protocol version {0}")]
    Version(u16),
    /// The two do not hold the same key.
    #[error("the keys differ")]
    WrongKey,
    /// The opening was answered before: it was recorded, and is played anew.
    #[error("it says an opening that was said before")]
    Repeated,
    /// The kernel gave no random bytes, or Noise failed for another reason that lies on this side.
    #[error("no handshake can be made")]
    Unable,
}

/// The connecting side, between opening and reply.
pub(crate) struct Initiator {
    noise: HandshakeState,
}

impl Initiator {
    /// Begins; the answer is the opening to send.
    pub(crate) fn new(key: &Key) -> Result<(Self, [u8; OPENING]), Rejected> {
        let mut opening = [0; OPENING];
        let (prologue, message) = opening.split_at_mut(PROLOGUE);
        prologue[..8].copy_from_slice(&MAGIC);
        prologue[8..OPENING_HEAD].copy_from_slice(&VERSION.to_le_bytes());
        prologue[OPENING_HEAD..].copy_from_slice(&key.id.0);
        let mut noise = builder(key.secret(), prologue)?
            .build_initiator()
            .map_err(|_| Rejected::Unable)?;
        noise.write_message(&[], message).map_err(|_| Rejected::Unable)?;
        Ok((Self { noise }, opening))
    }

    /// Judges the head of a reply, so that another protocol is recognised by its first bytes.
    pub(crate) fn judge(head: &[u8; REPLY_HEAD]) -> Result<(), Rejected> {
        if head[..8] != MAGIC {
            return Err(Rejected::OtherProtocol);
        }
        let theirs = u16::from_le_bytes([head[8], head[9]]);
        if theirs != VERSION {
            return Err(Rejected::Version(theirs));
        }
        match head[10] {
            GO_ON => Ok(()),
            WRONG_KEY => Err(Rejected::WrongKey),
            _ => Err(Rejected::OtherProtocol),
        }
    }

    /// Checks the reply: after that the channel is up.
    pub(crate) fn finish(mut self, reply: &[u8; REPLY]) -> Result<Secure, Rejected> {
        if let Some(head) = reply.first_chunk() {
            Self::judge(head)?;
        }
        let read = self.noise.read_message(&reply[REPLY_HEAD..], &mut []);
        read.map_err(|_| Rejected::WrongKey)?;
        let noise = self.noise.into_transport_mode().map_err(|_| Rejected::Unable)?;
        Ok(Secure::new(noise))
    }
}

/// The node's side: judges an opening. `find` gives the key of an id. The reply is to be sent in either case; no
/// reply is owed to a [`Rejected::OtherProtocol`].
pub(crate) fn respond(
    opening: &[u8; OPENING],
    find: impl Fn(KeyId) -> Option<Key>,
) -> ([u8; REPLY], Result<Secure, Rejected>) {
    let mut reply = [0; REPLY];
    reply[..8].copy_from_slice(&MAGIC);
    reply[8..10].copy_from_slice(&VERSION.to_le_bytes());
    let outcome = accept(opening, find, &mut reply[REPLY_HEAD..]);
    reply[10] = match outcome {
        Ok(_) => GO_ON,
        Err(Rejected::Version(_)) => WRONG_VERSION,
        Err(_) => WRONG_KEY,
    };
    if outcome.is_err() {
        reply[REPLY_HEAD..].fill(0);
    }
    (reply, outcome)
}

/// Judges the head of an opening.
pub(crate) fn judge_opening(head: &[u8; OPENING_HEAD]) -> Result<(), Rejected> {
    if head[..8] != MAGIC {
        return Err(Rejected::OtherProtocol);
    }
    match u16::from_le_bytes([head[8], head[9]]) {
        VERSION => Ok(()),
        theirs => Err(Rejected::Version(theirs)),
    }
}

fn accept(
    opening: &[u8; OPENING],
    find: impl Fn(KeyId) -> Option<Key>,
    reply: &mut [u8],
) -> Result<Secure, Rejected> {
    if let Some(head) = opening.first_chunk() {
        judge_opening(head)?;
    }
    let (prologue, message) = opening.split_at(PROLOGUE);
    let mut id = KeyId([0; 8]);
    id.0.copy_from_slice(&prologue[OPENING_HEAD..]);
    let mut secret = Zeroizing::new([0; 32]);
    sys::random(secret.as_mut()).map_err(|_| Rejected::Unable)?;
    if let Some(key) = find(id) {
        secret.copy_from_slice(key.secret());
    }
    let mut noise = builder(&secret, prologue)?
        .build_responder()
        .map_err(|_| Rejected::Unable)?;
    noise
        .read_message(message, &mut [])
        .map_err(|_| Rejected::WrongKey)?;
    noise.write_message(&[], reply).map_err(|_| Rejected::Unable)?;
    let noise = noise.into_transport_mode().map_err(|_| Rejected::Unable)?;
    Ok(Secure::new(noise))
}

fn builder<'a>(secret: &'a [u8; 32], prologue: &'a [u8]) -> Result<Builder<'a>, Rejected> {
    let pattern = PATTERN.parse().map_err(|_| Rejected::Unable)?;
    Builder::new(pattern)
        .psk(0, secret)
        .and_then(|builder| builder.prologue(prologue))
        .map_err(|_| Rejected::Unable)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Both ends of a channel.
    pub(crate) fn pair() -> (Secure, Secure) {
        let key = Key::generate().unwrap();
        let (initiator, opening) = Initiator::new(&key).unwrap();
        let (reply, node) = respond(&opening, |_| Some(key.clone()));
        (initiator.finish(&reply).unwrap(), node.unwrap())
    }

    #[test]
    fn a_replayed_opening_gives_no_channel_to_who_replays_it() {
        let key = Key::generate().unwrap();
        let (initiator, opening) = Initiator::new(&key).unwrap();
        let (first, _) = respond(&opening, |_| Some(key.clone()));
        let (second, node) = respond(&opening, |_| Some(key.clone()));
        assert_ne!(first, second);
        let mut hello = Vec::new();
        let mut honest = initiator.finish(&first).unwrap();
        honest.seal(b"hello", &mut hello).unwrap();
        assert!(node.unwrap().open(&hello[2..], &mut [0; 64]).is_err());
    }

    #[test]
    fn an_unknown_id_and_a_wrong_key_get_the_same_reply() {
        let (ours, theirs) = (Key::generate().unwrap(), Key::generate().unwrap());
        let (initiator, opening) = Initiator::new(&theirs).unwrap();
        let (unknown, outcome) = respond(&opening, |_| None);
        assert_eq!(outcome.err(), Some(Rejected::WrongKey));
        let (wrong, outcome) = respond(&opening, |_| Some(ours.clone()));
        assert_eq!(outcome.err(), Some(Rejected::WrongKey));
        assert_eq!(unknown, wrong);
        assert_eq!(initiator.finish(&wrong).err(), Some(Rejected::WrongKey));
    }

    #[test]
    fn a_node_without_the_key_is_found_out() {
        let key = Key::generate().unwrap();
        let (initiator, _) = Initiator::new(&key).unwrap();
        let mut reply = respond(&Initiator::new(&key).unwrap().1, |_| Some(key.clone())).0;
        assert_eq!(initiator.finish(&reply).err(), Some(Rejected::WrongKey));
        reply[0] = b'H';
        let (initiator, _) = Initiator::new(&key).unwrap();
        assert_eq!(initiator.finish(&reply).err(), Some(Rejected::OtherProtocol));
    }

    #[test]
    fn versions_are_compared_on_both_sides() {
        let key = Key::generate().unwrap();
        let (initiator, mut opening) = Initiator::new(&key).unwrap();
        opening[8] = 9;
        let (mut reply, outcome) = respond(&opening, |_| Some(key.clone()));
        assert_eq!(outcome.err(), Some(Rejected::Version(9)));
        reply[8] = 7;
        assert_eq!(initiator.finish(&reply).err(), Some(Rejected::Version(7)));
    }

    proptest! {
        #[test]
        fn no_changed_byte_goes_unnoticed(at in 0..OPENING, flip in 1u8..) {
            let key = Key::generate().unwrap();
            let (_, mut opening) = Initiator::new(&key).unwrap();
            opening[at] ^= flip;
            let (_, outcome) = respond(&opening, |_| Some(key.clone()));
            // The top bit of a Curve25519 key means nothing to it, but is hashed.
            prop_assert!(outcome.is_err());
        }

        #[test]
        fn any_opening_and_any_reply_is_judged(noise in proptest::collection::vec(any::<u8>(), OPENING)) {
            let key = Key::generate().unwrap();
            let opening = <[u8; OPENING]>::try_from(&noise[..]).unwrap();
            prop_assert!(respond(&opening, |_| Some(key.clone())).1.is_err());
            let reply = <[u8; REPLY]>::try_from(&noise[..REPLY]).unwrap();
            prop_assert!(Initiator::new(&key).unwrap().0.finish(&reply).is_err());
        }
    }
}
