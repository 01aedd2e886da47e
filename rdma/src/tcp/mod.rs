//! One-sided semantics served by the node's threads: works on any machine.

use crate::fabric::{ConnectError, Endpoint, Fabric, FabricKind, Target};
use std::sync::Arc;

/// The tcp fabric.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp;

#[allow(unused_variables, clippy::todo, reason = "skeleton")]
impl Fabric for Tcp {
    fn kind(&self) -> FabricKind {
        FabricKind::Tcp
    }
    fn connect(&self, target: &Target) -> Result<Arc<dyn Endpoint>, ConnectError> {
        todo!()
    }
}
