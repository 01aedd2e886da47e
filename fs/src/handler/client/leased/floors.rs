//! Up to which stamp things were forgotten, in a fixed amount of memory.
//!
//! An answer that is on its way to its caller when what it says is forgotten must not be taken in afterwards. So each key has a floor, and
//! what is not above its floor is not taken in. Keys share floors by their hash: sharing makes a floor too high, which costs a call,
//! and never too low.

use rdmafs_meta::id::Stamp;
use std::hash::{DefaultHasher, Hash, Hasher};

/// How many floors there are.
const FLOORS: usize = 4096;

/// The floors of one kind of thing.
#[derive(Debug)]
pub(super) struct Floors {
    of: Box<[Stamp]>,
    /// The floor of everything.
    all: Stamp,
}

impl Floors {
    /// Nothing was forgotten yet.
    pub(super) fn new() -> Self {
        Self {
            of: vec![Stamp::NONE; FLOORS].into(),
            all: Stamp::NONE,
        }
    }

    /// What has this stamp or a lower one is forgotten of `key`.
    pub(super) fn raise(&mut self, key: &impl Hash, to: Stamp) {
        let floor = &mut self.of[place(key)];
        *floor = to.max(*floor);
    }

    /// What has this stamp or a lower one is forgotten of everything.
    pub(super) fn raise_all(&mut self, to: Stamp) {
        self.all = to.max(self.all);
    }

    /// True when what was learned of `key` with this stamp was not forgotten since.
    pub(super) fn admit(&self, key: &impl Hash, stamp: Stamp) -> bool {
        stamp > self.of[place(key)].max(self.all)
    }
}

/// Which floor is that of `key`.
fn place(key: &impl Hash) -> usize {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    usize::try_from(hasher.finish() % FLOORS as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_floor_never_sinks_and_admits_what_is_above_it() {
        let mut floors = Floors::new();
        assert!(!floors.admit(&1_u64, Stamp::NONE));
        assert!(floors.admit(&1_u64, Stamp(1)));
        floors.raise(&1_u64, Stamp(5));
        floors.raise(&1_u64, Stamp(3));
        assert!(!floors.admit(&1_u64, Stamp(5)));
        assert!(floors.admit(&1_u64, Stamp(6)));
        floors.raise_all(Stamp(8));
        floors.raise_all(Stamp(7));
        assert!(!floors.admit(&1_u64, Stamp(8)));
        assert!(!floors.admit(&2_u64, Stamp(8)));
        assert!(floors.admit(&2_u64, Stamp(9)));
    }
}
