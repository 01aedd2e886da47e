//! What the node does in an arena: zero, copy, change a word, and know what each peer may touch.
//!
//! Everything that the node does with an extent goes through here, so that one place decides whose memory it is. A node reaches its own
//! arena. An extent of any other node is an error, never a part of the own arena that happens to have that offset, and never
//! nothing: who takes silence for success would give memory to another file that was not zeroed, or lose a write.

use super::atomics;
use super::grants::Grants;
use rdmafs_meta::error::MetaError;
use rdmafs_meta::extent::Extent;
use rdmafs_meta::id::{Incarnation, NodeId};
use rdmafs_meta::wire::AtomicOp;
use rdmafs_rdma::arena::Arena;
use rdmafs_rdma::server::PeerId;
use std::ops::Range;
use std::sync::Arc;
use thiserror::Error;

/// Why nothing was done with an extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum ArenaError {
    /// It is another node's.
    #[error("it lies in the arena of another node")]
    Unreachable,
    /// Its bytes ended with an earlier incarnation of the arena.
    #[error("it lies in an incarnation of the arena that is over")]
    Gone,
    /// The arena has no such place, or not for this: a word that is not aligned, a copy onto itself.
    #[error("the arena has no such place")]
    NoSuchPlace,
}

impl From<ArenaError> for MetaError {
    fn from(error: ArenaError) -> Self {
        match error {
            ArenaError::Unreachable | ArenaError::NoSuchPlace => Self::Unreachable,
            ArenaError::Gone => Self::Lost,
        }
    }
}

/// The node's own arena.
pub(super) struct ArenaAccess {
    node: NodeId,
    incarnation: Incarnation,
    memory: Arc<Arena>,
    grants: Grants,
}

impl ArenaAccess {
    /// The arena of a node, of which no peer may touch anything yet.
    pub(super) fn new((node, incarnation): (NodeId, Incarnation), memory: Arc<Arena>) -> Self {
        Self {
            node,
            incarnation,
            memory,
            grants: Grants::default(),
        }
    }

    /// What the peers may touch. Asking needs no lock of the service.
    pub(super) fn grants(&self) -> &Grants {
        &self.grants
    }

    /// Zeroes an extent. What is gone with its incarnation needs no zeroing: nobody is given it.
    ///
    /// # Errors
    /// [`ArenaError::Unreachable`], [`ArenaError::NoSuchPlace`]: the bytes are as they were.
    pub(super) fn zero(&self, extent: &Extent) -> Result<(), ArenaError> {
        match self.range(extent) {
            Ok(range) => self.memory.zero(range).ok_or(ArenaError::NoSuchPlace),
            Err(ArenaError::Gone) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Copies an extent to another one of its length.
    ///
    /// # Errors
    /// Either of them is no place of this arena, or they overlap: nothing was copied.
    pub(super) fn copy(&self, from: &Extent, to: &Extent) -> Result<(), ArenaError> {
        let (from, to) = (self.range(from)?, self.range(to)?);
        if from.end - from.start != to.end - to.start {
            return Err(ArenaError::NoSuchPlace);
        }
        self.memory.copy(from.start, to).ok_or(ArenaError::NoSuchPlace)
    }

    /// Changes a word and says what it was.
    ///
    /// # Errors
    /// It is no word of this arena: none was changed.
    pub(super) fn change_atomically(&self, place: &Extent, op: AtomicOp) -> Result<u64, ArenaError> {
        let range = self.range(place)?;
        atomics::apply(&self.memory, range.start, op).ok_or(ArenaError::NoSuchPlace)
    }

    /// Lets a peer read an extent, and write it if `write`.
    ///
    /// # Errors
    /// It is no place of this arena: the peer may not.
    pub(super) fn grant(&self, peer: PeerId, extent: &Extent, write: bool) -> Result<(), ArenaError> {
        self.grants.grant(peer, self.range(extent)?, write);
        Ok(())
    }

    /// Takes every right to an extent away from a peer. To what is gone with its incarnation nobody has any.
    ///
    /// # Errors
    /// [`ArenaError::Unreachable`], [`ArenaError::NoSuchPlace`]: this arena cannot say what the peer may do.
    pub(super) fn revoke(&self, peer: PeerId, extent: &Extent) -> Result<(), ArenaError> {
        match self.range(extent) {
            Ok(range) => self.grants.revoke(peer, &range),
            Err(ArenaError::Gone) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Where an extent lies in this arena.
    fn range(&self, extent: &Extent) -> Result<Range<u64>, ArenaError> {
        match () {
            () if extent.node != self.node => Err(ArenaError::Unreachable),
            () if extent.incarnation != self.incarnation => Err(ArenaError::Gone),
            () if extent.end() > self.memory.len() => Err(ArenaError::NoSuchPlace),
            () => Ok(extent.offset..extent.end()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdmafs_rdma::fabric::Verb;

    const PEER: PeerId = PeerId(3);
    const ADD: AtomicOp = AtomicOp::FetchAdd(1);

    fn extent(node: u16, incarnation: u64, offset: u64, len: u64) -> Extent {
        Extent {
            node: NodeId(node),
            incarnation: Incarnation(incarnation),
            offset,
            len,
        }
    }

    /// An arena of two pages, full of sevens.
    fn access() -> ArenaAccess {
        let memory = Arena::allocate(8192, &mut |_| {}).unwrap();
        memory.write(0, &[7; 8192]).unwrap();
        ArenaAccess::new((NodeId(1), Incarnation(9)), Arc::new(memory))
    }

    fn bytes(access: &ArenaAccess) -> Vec<u8> {
        let mut bytes = vec![0; 8192];
        access.memory.read(0, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn an_extent_that_is_not_of_this_arena_touches_nothing() {
        let own = extent(1, 9, 4096, 8);
        for (other, error) in [
            (extent(2, 9, 0, 8), ArenaError::Unreachable),
            (extent(2, 8, 0, 8), ArenaError::Unreachable),
            (extent(1, 8, 0, 8), ArenaError::Gone),
            (extent(1, 9, 8185, 8), ArenaError::NoSuchPlace),
            (extent(1, 9, 1 << 40, 8), ArenaError::NoSuchPlace),
        ] {
            let access = access();
            let gone = error == ArenaError::Gone;
            let unless_gone = if gone { Ok(()) } else { Err(error) };
            assert_eq!(access.zero(&other), unless_gone);
            assert_eq!(access.revoke(PEER, &other), unless_gone);
            assert_eq!(access.grant(PEER, &other, true), Err(error));
            assert_eq!(access.copy(&own, &other), Err(error));
            assert_eq!(access.copy(&other, &own), Err(error));
            assert_eq!(access.change_atomically(&other, ADD), Err(error));
            assert!(bytes(&access).iter().all(|byte| *byte == 7), "{other:?}");
            assert!(!access.grants().may(PEER, Verb::Read, &(0..8)));
        }
    }

    #[test]
    fn what_is_in_the_arena_is_done() {
        let access = access();
        let (a, b) = (extent(1, 9, 0, 16), extent(1, 9, 4096, 16));
        access.zero(&a).unwrap();
        access.copy(&a, &b).unwrap();
        assert_eq!(access.change_atomically(&b, ADD), Ok(0));
        assert_eq!(access.change_atomically(&b, ADD), Ok(1));
        assert_eq!(
            bytes(&access)[4096..4113],
            [[2].as_slice(), &[0; 15], &[7]].concat()
        );
        access.grant(PEER, &a, true).unwrap();
        assert!(access.grants().may(PEER, Verb::Write, &(0..16)));
        access.revoke(PEER, &a).unwrap();
        assert!(!access.grants().may(PEER, Verb::Read, &(0..16)));
    }

    #[test]
    fn a_word_is_aligned_and_a_copy_goes_elsewhere_and_is_as_long() {
        let access = access();
        let a = extent(1, 9, 0, 16);
        let refused = Err(ArenaError::NoSuchPlace);
        assert_eq!(access.copy(&a, &extent(1, 9, 8, 16)), refused);
        assert_eq!(access.copy(&a, &extent(1, 9, 4096, 8)), refused);
        assert_eq!(
            access.change_atomically(&extent(1, 9, 4, 8), ADD),
            Err(ArenaError::NoSuchPlace)
        );
        assert!(bytes(&access).iter().all(|byte| *byte == 7));
    }
}
