//! What handlers, nodes and tools of this program speak with each other: the versions of `meta`'s wire, said to the servers and fabrics of `rdma`.

use rdmafs_meta::wire::{FEATURES, NEWEST, OLDEST, WireVersion};
use rdmafs_rdma::protocol::{Negotiated, Protocol, Versions};

/// What this program speaks.
pub(crate) const OURS: Protocol = Protocol {
    versions: match Versions::new(OLDEST, NEWEST) {
        Some(versions) => versions,
        None => panic!("no range of versions"),
    },
    features: FEATURES,
};

/// What messages a peer understands.
pub(crate) fn spoken(negotiated: Negotiated) -> WireVersion {
    let Negotiated { version, features } = negotiated;
    WireVersion { version, features }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_speaks_with_its_like_the_newest_version_with_all_features() {
        let chosen = OURS.negotiate(OURS).map(spoken);
        assert_eq!(chosen, Ok(WireVersion::NEWEST));
    }

    #[test]
    fn builds_of_before_the_negotiation_are_understood() {
        let chosen = OURS.negotiate(Protocol::FIRST).map(spoken);
        assert_eq!(chosen, Ok(WireVersion::FIRST));
    }
}
