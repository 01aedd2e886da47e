//! Bytes that the node moves itself before a call is answered: copies and zeroes, and words that it changes.
//!
//! Copies are made in the thread of the peer that asked, outside the service's lock: others are served meanwhile. That peer is not served
//! again, nor said to have left, before its thread is through (see [`PeerHandler`](rdmafs_rdma::server::PeerHandler)), on which all safety rests: see
//! `rdmafs_meta::namespace`'s module about copying.

use super::arena_access::ArenaError;
use super::service::{Service, ServiceState};
use parking_lot::MutexGuard;
use rdmafs_meta::error::MetaError;
use rdmafs_meta::namespace::{AtomicChange, ByteMove, Moving, Output};

impl Service {
    /// Does what a call needs done with bytes before it has an answer; gives the output that answers it. An error is the answer where
    /// that could not be done.
    pub(super) fn with_bytes_done<'a>(
        &'a self,
        mut state: MutexGuard<'a, ServiceState>,
        mut output: Output,
    ) -> (MutexGuard<'a, ServiceState>, Output) {
        if let Some(atomic) = output.atomic.take() {
            output.answer = Some(match self.change_atomically(&atomic) {
                Ok(before) => state.namespace.atomic_done(atomic, before),
                Err(error) => Err(error),
            });
        }
        let Some(moving) = output.moving.take() else {
            return (state, output);
        };
        let prepared = self.perform(state, output, None);
        let moved = prepared.and_then(|()| self.move_bytes(&moving));
        state = self.state.lock();
        let output = match moved {
            Ok(()) => state.namespace.moved(&moving, self.time()),
            Err(error) => state.namespace.not_moved(&moving, error),
        };
        (state, output)
    }

    /// Moves the bytes, up to the first that cannot be. Blocking, for some milliseconds at most.
    fn move_bytes(&self, moving: &Moving) -> Result<(), MetaError> {
        for ByteMove { from, to } in &moving.moves {
            let moved = match from {
                None => self.arena.zero(to),
                Some(from) => self.arena.copy(from, to),
            };
            moved.map_err(|error: ArenaError| {
                tracing::error!(?from, ?to, %error, "bytes were not moved");
                MetaError::from(error)
            })?;
        }
        Ok(())
    }

    /// Changes the atomic and says what it was. Under the service's lock, like every other atomic; never blocks.
    fn change_atomically(&self, change: &AtomicChange) -> Result<u64, MetaError> {
        let changed = self.arena.change_atomically(&change.place, change.op);
        changed.map_err(|error| {
            tracing::error!(?change, %error, "a atomic was not changed");
            error.into()
        })
    }
}
