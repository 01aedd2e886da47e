//! The authenticated set-up (Noise) and the encrypted channel, as bytes in and bytes out: no I/O.
//!
//! ```text
//! initiator                                              node
//!   opening: magic, version, key id, noise e           ->    66 bytes, always
//!   <-             reply: magic, version, verdict, noise e, ee    59 bytes, always
//!   record: Hello { pool, host, role, protocol }       ->
//!   <-                          record: Answer, Welcome or Refused
//! ```
//! The pattern is NNpsk0: both sides prove the pool's key, and fresh Curve25519 keys give forward secrecy. The first 18
//! bytes are the prologue, so nobody changes version or key id on the way. A replayed opening gets a reply that only the
//! owner of its ephemeral key can use: **nothing is served before the Hello decrypted**. An unknown key id runs the
//! same code with a random key, and so cannot be told from a wrong key. A node answers each opening once, as long as it remembers it.
//!
//! The version of opening and reply says how these two are read, and nothing of what follows: that is negotiated in Hello and Welcome
//! ([`Protocol`](crate::protocol::Protocol)), where nobody on the way can change it. Whoever speaks the first version of the protocol no
//! more raises this one as well: builds of before the negotiation have a line for an opening of another version, and for nothing else.
//!
//! AES-256-GCM, because x86 has instructions for it, which makes it faster than ChaCha20 there; BLAKE2s, because its
//! speed does not matter.

mod noise;
mod secure;
mod ends;
mod messages;

pub(crate) use ends::Ends;
pub(crate) use messages::{
    Answer, Hello, MAX_SETUP_RECORD, PROTECTED_DATA, Protection, Refusal, Role, Token, Welcome,
};
pub(crate) use noise::{
    Initiator, OPENING, OPENING_HEAD, PROLOGUE, REPLY, REPLY_HEAD, Rejected, judge_opening, respond,
};
pub(crate) use secure::{Broken, MAX_PLAIN, Secure};

pub use noise::VERSION;

#[cfg(test)]
pub(crate) use noise::tests;
