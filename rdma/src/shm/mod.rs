//! The node's arena mapped into the handler: same host only.

use crate::fabric::{ConnectError, Endpoint, Fabric, FabricKind, Target};
use std::sync::Arc;

/// The shm fabric.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shm;

#[allow(unused_variables, clippy::todo, reason = "skeleton")]
impl Fabric for Shm {
    fn kind(&self) -> FabricKind {
        FabricKind::Shm
    }
    fn connect(&self, target: &Target) -> Result<Arc<dyn Endpoint>, ConnectError> {
        todo!()
    }
}
