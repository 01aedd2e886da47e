//! The channel that a handshake leaves: records in order, each of them authenticated, and encrypted where that is wished.
//!
//! A record is `length: u16 little-endian`, then that many bytes of ciphertext: at most [`MAX_PLAIN`] bytes of plain
//! text and [`TAG`] of tag. A lost, repeated, reordered or changed record does not open, and that ends the connection. A record that is
//! only authenticated has its text as it is in the place of the ciphertext, and its tag is that of AES-256-GCM over a text
//! that is empty and data that are the record's (GMAC, NIST SP 800-38D).

use aes_gcm::aead::{AeadInPlace, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce};
use snow::TransportState;
use thiserror::Error;

/// Bytes that a record's ciphertext is longer than its plain text.
pub(crate) const TAG: usize = 16;
/// Most bytes of plain text in a record.
pub(crate) const MAX_PLAIN: usize = 65_535 - TAG;
/// Records under one key: at most 64 GiB, far below what AES-GCM bears.
const REKEY_AFTER: u64 = 1 << 20;

/// The record is not what the peer sent next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a record does not decrypt")]
pub(crate) struct Broken;

/// Both directions of an authenticated connection.
pub(crate) struct Secure {
    mode: Mode,
}

enum Mode {
    Encrypted(TransportState),
    Authenticated(Readable),
}

/// Records that can be read on the way.
struct Readable {
    cipher: Box<Aes256Gcm>,
    /// The next record each way: direction and number make a nonce, and none comes twice under one key.
    sent: u64,
    received: u64,
    initiates: bool,
}

impl Secure {
    pub(crate) fn new(noise: TransportState) -> Self {
        let mode = Mode::Encrypted(noise);
        Self { mode }
    }

    /// Records are authenticated by this key, which both ends know and nobody else, and which no other connection uses.
    pub(crate) fn authenticated(key: &[u8; 32], initiates: bool) -> Self {
        Self {
            mode: Mode::Authenticated(Readable {
                cipher: Box::new(Aes256Gcm::new(key.into())),
                sent: 0,
                received: 0,
                initiates,
            }),
        }
    }

    /// Appends the record of `plain` (at most [`MAX_PLAIN`] bytes) to `out`.
    ///
    /// # Errors
    /// `plain` is too long; `out` is then unchanged.
    pub(crate) fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), Broken> {
        let start = out.len();
        let sealed = plain.len() + TAG;
        let length = u16::try_from(sealed).map_err(|_| Broken)?;
        out.extend_from_slice(&length.to_le_bytes());
        out.resize(start + 2 + sealed, 0);
        let done = match &mut self.mode {
            Mode::Encrypted(noise) => encrypt(noise, plain, &mut out[start + 2..]),
            Mode::Authenticated(readable) => readable.seal(plain, &mut out[start + 2..]),
        };
        done.inspect_err(|_| out.truncate(start))
    }

    /// Opens the ciphertext of the next record into the start of `to` and gives its length.
    ///
    /// # Errors
    /// It is not the next record, or longer than `to`. The channel is of no use any more.
    pub(crate) fn open(&mut self, sealed: &[u8], to: &mut [u8]) -> Result<usize, Broken> {
        let len = sealed.len().checked_sub(TAG).ok_or(Broken)?;
        let to = to.get_mut(..len).ok_or(Broken)?;
        match &mut self.mode {
            Mode::Encrypted(noise) => decrypt(noise, sealed, to)?,
            Mode::Authenticated(readable) => readable.open(sealed, to)?,
        }
        Ok(len)
    }
}

fn encrypt(noise: &mut TransportState, plain: &[u8], to: &mut [u8]) -> Result<(), Broken> {
    noise.write_message(plain, to).map_err(|_| Broken)?;
    if noise.sending_nonce().is_multiple_of(REKEY_AFTER) {
        noise.rekey_outgoing();
    }
    Ok(())
}

fn decrypt(noise: &mut TransportState, sealed: &[u8], to: &mut [u8]) -> Result<(), Broken> {
    noise.read_message(sealed, to).map_err(|_| Broken)?;
    if noise.receiving_nonce().is_multiple_of(REKEY_AFTER) {
        noise.rekey_incoming();
    }
    Ok(())
}

impl Readable {
    fn seal(&mut self, plain: &[u8], to: &mut [u8]) -> Result<(), Broken> {
        let nonce = nonce(self.initiates, self.sent);
        let tag = self.cipher.encrypt_in_place_detached(&nonce, plain, &mut []);
        let (text, place) = to.split_at_mut(plain.len());
        text.copy_from_slice(plain);
        place.copy_from_slice(&tag.map_err(|_| Broken)?);
        self.sent += 1;
        Ok(())
    }

    fn open(&mut self, sealed: &[u8], to: &mut [u8]) -> Result<(), Broken> {
        let (text, tag) = sealed.split_at(to.len());
        let nonce = nonce(!self.initiates, self.received);
        let opened = self
            .cipher
            .decrypt_in_place_detached(&nonce, text, &mut [], tag.into());
        opened.map_err(|_| Broken)?;
        to.copy_from_slice(text);
        self.received += 1;
        Ok(())
    }
}

fn nonce(of_initiator: bool, number: u64) -> Nonce<aes_gcm::aead::consts::U12> {
    let mut nonce = [0; 12];
    nonce[0] = u8::from(of_initiator);
    nonce[4..].copy_from_slice(&number.to_be_bytes());
    nonce.into()
}

impl std::fmt::Debug for Secure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secure").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::noise::tests::pair;
    use proptest::prelude::*;

    fn sealed(by: &mut Secure, plain: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        by.seal(plain, &mut out).unwrap();
        assert_eq!(usize::from(u16::from_le_bytes([out[0], out[1]])), out.len() - 2);
        out.split_off(2)
    }

    /// Both ends of a channel whose records can be read.
    fn readable(key: u8) -> (Secure, Secure) {
        let end = |initiates| Secure::authenticated(&[key; 32], initiates);
        (end(true), end(false))
    }

    #[test]
    fn both_directions_carry_any_length_up_to_the_longest() {
        carry_any_length(pair());
        carry_any_length(readable(1));
    }

    fn carry_any_length((mut a, mut b): (Secure, Secure)) {
        let mut to = vec![0; MAX_PLAIN];
        for len in [0, 1, 4096, MAX_PLAIN - 1, MAX_PLAIN] {
            let plain = vec![7; len];
            let record = sealed(&mut a, &plain);
            assert_eq!(b.open(&record, &mut to), Ok(len));
            let record = sealed(&mut b, &to[..len]);
            assert_eq!(a.open(&record, &mut to), Ok(len));
            assert_eq!(&to[..len], plain);
        }
        let mut out = vec![1];
        assert_eq!(a.seal(&vec![0; MAX_PLAIN + 1], &mut out), Err(Broken));
        assert_eq!(out, [1]);
    }

    #[test]
    fn a_repeated_reordered_or_foreign_record_does_not_open() {
        open_in_order(pair(), pair().0);
        open_in_order(readable(1), readable(2).0);
    }

    #[test]
    fn what_can_be_read_cannot_be_changed_or_sent_back() {
        let (mut a, mut b) = readable(1);
        let record = sealed(&mut a, b"pay Alice");
        assert!(record.starts_with(b"pay Alice"));
        let mut to = [0; 16];
        for at in 0..record.len() {
            let mut changed = record.clone();
            changed[at] ^= 1;
            assert_eq!(b.open(&changed, &mut to), Err(Broken), "byte {at}");
        }
        assert_eq!(b.open(&record[..record.len() - 1], &mut to), Err(Broken));
        assert_eq!(a.open(&record, &mut to), Err(Broken), "its own, sent back");
        assert_eq!(b.open(&record, &mut to), Ok(9));
    }

    fn open_in_order((mut a, mut b): (Secure, Secure), mut c: Secure) {
        let (first, second) = (sealed(&mut a, b"1"), sealed(&mut a, b"2"));
        let mut to = [0; 8];
        assert_eq!(b.open(&second, &mut to), Err(Broken));
        assert_eq!(b.open(&first, &mut to), Ok(1));
        assert_eq!(b.open(&first, &mut to), Err(Broken));
        assert_eq!(b.open(&sealed(&mut c, b"2"), &mut to), Err(Broken));
        assert_eq!(b.open(&second, &mut []), Err(Broken));
        assert_eq!(b.open(&second, &mut to), Ok(1));
    }

    #[test]
    fn keys_change_on_both_sides_at_the_same_record() {
        let (mut a, mut b) = pair();
        let mut to = [0; 1];
        let mut out = Vec::new();
        for _ in 0..REKEY_AFTER + 2 {
            out.clear();
            a.seal(b"x", &mut out).unwrap();
            assert_eq!(b.open(&out[2..], &mut to), Ok(1));
        }
    }

    proptest! {
        #[test]
        fn random_bytes_never_open(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let (_, mut b) = pair();
            prop_assert_eq!(b.open(&bytes, &mut [0; 256]), Err(Broken));
        }
    }
}
