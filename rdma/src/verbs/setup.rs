//! What the two sides tell each other of their queue pairs, on the set-up connection, encrypted.
//!
//! ```text
//! initiator                                    node
//!   Offer { client_owner, ends }          ->     destroys older queue pairs of that owner, makes new ones
//!   <-        Deal::Accepted { ends, base, key } or Deal::Refused
//!   ready on queue 0                      ->
//!   <-                          ready on queue 0
//! ```
//! After that nothing is sent on the set-up connection; its end is the end of the peer.

use crate::fabric::ClientOwner;
use serde::{Deserialize, Serialize};

/// An address of a port, 16 bytes.
pub(super) type Gid = [u8; 16];

/// Most queue pairs of a session.
pub(super) const MAX_QUEUES: usize = 16;

/// One side's queue pairs. Not to be printed: sequence numbers are secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ends {
    /// The port's address.
    pub(super) gid: Gid,
    /// The port's address on InfiniBand.
    pub(super) lid: u16,
    /// Largest packet, as the verbs number it.
    pub(super) mtu: u8,
    /// READs that it answers at once.
    pub(super) answers: u8,
    /// Its queue pairs, in their order.
    pub(super) queues: Vec<End>,
}

/// One side of a queue pair.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct End {
    /// Of the queue pair, 24 bits.
    pub(super) number: u32,
    /// The first sequence number that it sends, 24 bits.
    pub(super) first: u32,
}

/// The initiator's words.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Offer {
    pub(super) client_owner: ClientOwner,
    pub(super) ends: Ends,
}

/// The node's answer.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Deal {
    /// Its queue pairs are connected to the initiator's.
    Accepted {
        ends: Ends,
        /// Address of the arena's first byte.
        base: u64,
        /// The arena's remote key.
        key: u32,
    },
    /// The node makes no queue pairs, for this reason.
    Refused(String),
}

impl Ends {
    /// Whether all numbers are in range.
    pub(super) fn is_sound(&self) -> bool {
        let fits = |end: &End| end.number < 1 << 24 && end.first < 1 << 24;
        (1..=MAX_QUEUES).contains(&self.queues.len())
            && (1..=5).contains(&self.mtu)
            && self.answers > 0
            && self.queues.iter().all(fits)
    }
}

/// Total: any bytes give an Offer or `None`.
pub(super) fn decode_offer(bytes: &[u8]) -> Option<Offer> {
    let offer: Offer = postcard::from_bytes(bytes).ok()?;
    offer.ends.is_sound().then_some(offer)
}

/// Total: any bytes give a Deal or `None`.
pub(super) fn decode_deal(bytes: &[u8]) -> Option<Deal> {
    match postcard::from_bytes(bytes).ok()? {
        Deal::Accepted { ends, .. } if !ends.is_sound() => None,
        deal => Some(deal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::MAX_SETUP_RECORD;
    use proptest::prelude::*;

    fn ends() -> Ends {
        Ends {
            gid: [0xff; 16],
            lid: u16::MAX,
            mtu: 5,
            answers: 255,
            queues: vec![
                End {
                    number: 0xff_ffff,
                    first: 0xff_ffff
                };
                MAX_QUEUES
            ],
        }
    }

    #[test]
    fn the_longest_messages_fit_a_record_and_come_back() {
        let offer = Offer {
            client_owner: ClientOwner::random().unwrap(),
            ends: ends(),
        };
        let bytes = postcard::to_allocvec(&offer).unwrap();
        assert!(bytes.len() < MAX_SETUP_RECORD / 2);
        assert!(decode_offer(&bytes) == Some(offer));
        let deal = Deal::Accepted {
            ends: ends(),
            base: u64::MAX,
            key: u32::MAX,
        };
        assert!(decode_deal(&postcard::to_allocvec(&deal).unwrap()) == Some(deal));
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        let changes: [fn(&mut Ends); 6] = [
            |ends| ends.queues.clear(),
            |ends| ends.queues.push(End { number: 1, first: 1 }),
            |ends| ends.queues[3].number = 1 << 24,
            |ends| ends.queues[0].first = 1 << 24,
            |ends| ends.mtu = 6,
            |ends| ends.answers = 0,
        ];
        for change in changes {
            let mut ends = ends();
            change(&mut ends);
            assert!(!ends.is_sound());
        }
    }

    proptest! {
        #[test]
        fn decoding_is_total(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = decode_offer(&bytes);
            let _ = decode_deal(&bytes);
        }
    }
}
