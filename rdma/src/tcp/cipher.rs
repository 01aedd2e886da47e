//! What an encrypted data connection has in addition, as the endpoint sees it.

use super::wire::REQUEST;
use crate::fabric::{Verb, Work};
use crate::handshake::{Broken, Secure};
use crate::stream::Records;

/// Plain text per record: short enough that the peer decrypts one while the next is on the wire.
const RECORD: usize = 60 * 1024;

/// Seals requests, and keeps what came until it can be opened.
#[derive(Debug)]
pub(super) struct Cipher {
    pub(super) secure: Secure,
    pub(super) records: Records,
}

impl Cipher {
    pub(super) fn new(secure: Secure) -> Self {
        Self {
            secure,
            records: Records::new(),
        }
    }

    /// Appends all of a request to `out`.
    pub(super) fn seal_request(
        &mut self,
        head: &[u8; REQUEST],
        work: &Work,
        out: &mut Vec<u8>,
    ) -> Result<(), Broken> {
        self.secure.seal(head, out)?;
        if work.verb == Verb::Write {
            for piece in work.buffer.chunks(RECORD) {
                self.secure.seal(piece, out)?;
            }
        }
        Ok(())
    }
}
