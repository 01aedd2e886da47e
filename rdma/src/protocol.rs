//! Which versions of the protocol the two ends of a connection speak, and how they agree on one.
//!
//! Each end has a [`Protocol`]: a range of versions, and features, which are bits. The connecting end says its own in its Hello; the
//! node answers with the highest version that both ranges hold and the features that both ends have, or refuses. Both travel in
//! records that are encrypted and authenticated: nobody on the way makes two ends speak an older version than they can.
//!
//! Builds of before this negotiation say nothing, and speak [`Protocol::FIRST`]. What a version or a feature means is not known here: it
//! covers all that the two ends say to each other once they have met, and whoever opens a server or connects says what it speaks.

use serde::{Deserialize, Serialize};
use std::fmt;
use thiserror::Error;

/// The greatest number that a version can have: a peer that names a greater one is none of ours.
const GREATEST: u16 = 9_999;

/// Versions of the protocol, from one to another, both included: `1 <= oldest <= newest <= 9999`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    oldest: u16,
    newest: u16,
}

impl Versions {
    /// A range; `None` where it is empty, or begins or ends beyond what versions can be.
    #[must_use]
    pub const fn new(oldest: u16, newest: u16) -> Option<Self> {
        if 1 <= oldest && oldest <= newest && newest <= GREATEST {
            Some(Self { oldest, newest })
        } else {
            None
        }
    }

    /// The first version of the range.
    #[must_use]
    pub const fn oldest(self) -> u16 {
        self.oldest
    }

    /// The last version of the range.
    #[must_use]
    pub const fn newest(self) -> u16 {
        self.newest
    }

    fn highest_common(self, theirs: Self) -> Option<u16> {
        let newest = self.newest.min(theirs.newest);
        (newest >= self.oldest.max(theirs.oldest)).then_some(newest)
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.oldest == self.newest {
            write!(f, "version {}", self.oldest)
        } else {
            write!(f, "versions {} to {}", self.oldest, self.newest)
        }
    }
}

/// What one end speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Sent", try_from = "Sent")]
pub struct Protocol {
    /// Its versions.
    pub versions: Versions,
    /// Its features, a bit for each.
    pub features: u64,
}

/// What two ends agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Negotiated {
    /// The version that both speak from now on.
    pub version: u16,
    /// The features that both have.
    pub features: u64,
}

/// No version is spoken by both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("it speaks protocol {theirs}, this side {ours}: upgrade rdmafs {}", older_end(.ours, .theirs))]
pub struct NoCommonVersion {
    /// Versions of this end.
    pub ours: Versions,
    /// Versions of the other end.
    pub theirs: Versions,
}

impl Protocol {
    /// What a peer speaks that says nothing of versions: version 1, no features.
    pub const FIRST: Self = Self {
        versions: Versions { oldest: 1, newest: 1 },
        features: 0,
    };

    /// What this end and a peer that speaks `theirs` speak with each other.
    ///
    /// # Errors
    /// [`NoCommonVersion`].
    pub fn negotiate(self, theirs: Self) -> Result<Negotiated, NoCommonVersion> {
        let version = self.versions.highest_common(theirs.versions);
        let version = version.ok_or(NoCommonVersion {
            ours: self.versions,
            theirs: theirs.versions,
        })?;
        let features = self.features & theirs.features;
        Ok(Negotiated { version, features })
    }

    /// True where this end offered what the other one chose.
    #[must_use]
    pub fn offered(self, chosen: Negotiated) -> bool {
        let Versions { oldest, newest } = self.versions;
        (oldest..=newest).contains(&chosen.version) && chosen.features & !self.features == 0
    }
}

impl Negotiated {
    /// What two ends speak of which one says nothing of versions.
    pub const FIRST: Self = Self {
        version: 1,
        features: 0,
    };
}

/// Where the older program of two that have no version in common runs, as the end with `ours` says it.
fn older_end(ours: &Versions, theirs: &Versions) -> &'static str {
    if ours.newest < theirs.oldest {
        "on this side"
    } else {
        "on the other side"
    }
}

/// The bytes of what one end speaks: oldest version, newest version, features.
#[derive(Serialize, Deserialize)]
struct Sent(u16, u16, u64);

impl From<Protocol> for Sent {
    fn from(protocol: Protocol) -> Self {
        let Versions { oldest, newest } = protocol.versions;
        Self(oldest, newest, protocol.features)
    }
}

impl TryFrom<Sent> for Protocol {
    type Error = &'static str;

    fn try_from(Sent(oldest, newest, features): Sent) -> Result<Self, Self::Error> {
        let versions = Versions::new(oldest, newest).ok_or("no range of versions")?;
        Ok(Self { versions, features })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn protocol(oldest: u16, newest: u16, features: u64) -> Protocol {
        let versions = Versions::new(oldest, newest).unwrap();
        Protocol { versions, features }
    }

    #[test]
    fn the_highest_common_version_and_the_common_features_are_spoken() {
        for (ours, theirs, version) in [
            ((1, 1), (1, 1), 1),
            ((1, 3), (2, 7), 3),
            ((2, 7), (1, 3), 3),
            ((3, 3), (1, 9), 3),
            ((1, 9_999), (9_999, 9_999), 9_999),
        ] {
            let (ours, theirs) = (
                protocol(ours.0, ours.1, 0b0110),
                protocol(theirs.0, theirs.1, 0b1100),
            );
            let features = 0b0100;
            assert_eq!(ours.negotiate(theirs), Ok(Negotiated { version, features }));
            assert!(theirs.offered(Negotiated { version, features }));
        }
    }

    #[test]
    fn without_a_common_version_both_ends_name_both_ranges_and_the_older_one() {
        let (old, new) = (protocol(1, 2, 0), protocol(3, 4, 0));
        let said = old.negotiate(new).unwrap_err().to_string();
        let wanted =
            "it speaks protocol versions 3 to 4, this side versions 1 to 2: upgrade rdmafs on this side";
        assert_eq!(said, wanted);
        let said = new.negotiate(Protocol::FIRST).unwrap_err().to_string();
        let wanted =
            "it speaks protocol version 1, this side versions 3 to 4: upgrade rdmafs on the other side";
        assert_eq!(said, wanted);
    }

    #[test]
    fn a_choice_that_was_not_offered_is_none() {
        let ours = protocol(2, 3, 0b01);
        for (version, features) in [(1, 0), (4, 0), (0, 0), (u16::MAX, 0), (2, 0b10), (3, u64::MAX)] {
            assert!(!ours.offered(Negotiated { version, features }));
        }
        assert!(ours.offered(Negotiated {
            version: 2,
            features: 1
        }));
    }

    #[test]
    fn hostile_ranges_are_refused() {
        for (oldest, newest) in [(0, 0), (0, 1), (2, 1), (u16::MAX, 1), (1, 10_000), (1, u16::MAX)] {
            assert_eq!(Versions::new(oldest, newest), None, "{oldest} to {newest}");
            let bytes = postcard::to_allocvec(&Sent(oldest, newest, 0)).unwrap();
            assert!(
                postcard::from_bytes::<Protocol>(&bytes).is_err(),
                "{oldest} to {newest}"
            );
        }
        let greatest = protocol(9_999, 9_999, u64::MAX);
        let bytes = postcard::to_allocvec(&greatest).unwrap();
        assert_eq!(postcard::from_bytes(&bytes), Ok(greatest));
    }

    proptest! {
        #[test]
        fn what_is_decoded_is_a_range_and_both_ends_choose_alike(
            bytes in proptest::collection::vec(any::<u8>(), 0..24),
            oldest in 1..50_u16, more in 0..50_u16,
        ) {
            if let Ok(theirs) = postcard::from_bytes::<Protocol>(&bytes) {
                let Versions { oldest: first, newest: last } = theirs.versions;
                prop_assert!(1 <= first && first <= last && last <= GREATEST);
                let ours = protocol(oldest, oldest + more, 0b1010);
                let chosen = ours.negotiate(theirs);
                prop_assert_eq!(chosen.ok(), theirs.negotiate(ours).ok());
                if let Ok(chosen) = chosen {
                    prop_assert!(ours.offered(chosen) && theirs.offered(chosen));
                }
            }
        }
    }
}
