//! Openings that this node has answered: each is good for one handshake.
//!
//! Who has seen an opening go by, or has taken the port of a node that was stopped, can say it as often as he likes: it was made with the key. Nothing but a
//! reply that he cannot read comes of it, but that reply costs the node a Diffie-Hellman operation, and he waits for a while among
//! those who have the key. No honest handler says an opening twice, so the second time it is not answered.

use crate::handshake::{OPENING, PROLOGUE};
use std::collections::{HashSet, VecDeque};

/// Openings that are remembered, of the last ones: half a megabyte each for the set and its order. Only who has the key can add one.
const MOST: usize = 16_384;

/// The fresh key in an opening: no other opening has it.
type Fresh = [u8; 32];

/// The last openings, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Openings {
    known: HashSet<Fresh>,
    order: VecDeque<Fresh>,
}

impl Openings {
    /// Whether this very opening was answered before.
    pub(super) fn has(&self, opening: &[u8; OPENING]) -> bool {
        self.known.contains(&fresh(opening))
    }

    /// It was made with the key, and is answered now.
    pub(super) fn add(&mut self, opening: &[u8; OPENING]) {
        let fresh = fresh(opening);
        if !self.known.insert(fresh) {
            return;
        }
        self.order.push_back(fresh);
        if self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

fn fresh(opening: &[u8; OPENING]) -> Fresh {
    let mut fresh = Fresh::default();
    fresh.copy_from_slice(&opening[PROLOGUE..PROLOGUE + 32]);
    fresh
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opening(number: usize) -> [u8; OPENING] {
        let mut opening = [0; OPENING];
        opening[PROLOGUE..PROLOGUE + 8].copy_from_slice(&number.to_le_bytes());
        opening
    }

    #[test]
    fn the_last_ones_are_known_and_no_more_than_there_is_room_for() {
        let mut openings = Openings::default();
        for number in 0..MOST + 10 {
            assert!(!openings.has(&opening(number)));
            openings.add(&opening(number));
            openings.add(&opening(number));
        }
        assert_eq!((openings.known.len(), openings.order.len()), (MOST, MOST));
        assert!(openings.has(&opening(MOST + 9)) && openings.has(&opening(10)));
        assert!(!openings.has(&opening(9)));
    }
}
