//! What a simulation, its clock and its endpoints share.

use super::world::World;
use parking_lot::{Condvar, Mutex};

/// The one lock of a simulation; only an endpoint's peer lock is ever held when it is taken.
pub(super) struct Shared {
    pub(super) world: Mutex<World>,
    /// Time moved, something became ready, a poller began to wait.
    pub(super) changed: Condvar,
}
