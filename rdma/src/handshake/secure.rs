//! The encrypted channel that a handshake leaves: records in order, each of them authenticated.
//!
//! A record is `length: u16 little-endian`, then that many bytes of ciphertext: at most [`MAX_PLAIN`] bytes of plain
//! text and [`TAG`] of tag. A lost, repeated, reordered or changed record does not decrypt, and that ends the connection.

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
    noise: TransportState,
}

impl Secure {
    pub(crate) fn new(noise: TransportState) -> Self {
        Self { noise }
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
        if self.noise.write_message(plain, &mut out[start + 2..]).is_err() {
            out.truncate(start);
            return Err(Broken);
        }
        if self.noise.sending_nonce().is_multiple_of(REKEY_AFTER) {
            self.noise.rekey_outgoing();
        }
        Ok(())
    }

    /// Decrypts the ciphertext of the next record into the start of `to` and gives its length.
    ///
    /// # Errors
    /// It is not the next record, or longer than `to`. The channel is of no use any more.
    pub(crate) fn open(&mut self, sealed: &[u8], to: &mut [u8]) -> Result<usize, Broken> {
        let len = sealed.len().checked_sub(TAG).ok_or(Broken)?;
        let to = to.get_mut(..len).ok_or(Broken)?;
        self.noise.read_message(sealed, to).map_err(|_| Broken)?;
        if self.noise.receiving_nonce().is_multiple_of(REKEY_AFTER) {
            self.noise.rekey_incoming();
        }
        Ok(len)
    }
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

    #[test]
    fn both_directions_carry_any_length_up_to_the_longest() {
        let (mut a, mut b) = pair();
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
        let (mut a, mut b) = pair();
        let (first, second) = (sealed(&mut a, b"1"), sealed(&mut a, b"2"));
        let mut to = [0; 8];
        assert_eq!(b.open(&second, &mut to), Err(Broken));
        assert_eq!(b.open(&first, &mut to), Ok(1));
        assert_eq!(b.open(&first, &mut to), Err(Broken));
        let (mut c, _) = pair();
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
