//! What stands for verbs in a build without them.

use crate::arena::Arena;
use crate::fabric::{ConnectError, Endpoint, Fabric, FabricError, FabricKind, Target};
use crate::handshake::Secure;
use crate::stream::{Frame, Limits, SetupError, Socket};
use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

const NONE: &str = "this build has no verbs";

/// The verbs fabric, which this build has not.
#[derive(Clone, Copy, Debug, Default)]
pub struct Verbs;

impl Fabric for Verbs {
    fn kind(&self) -> FabricKind {
        FabricKind::Verbs
    }

    fn connect(&self, _target: &Target) -> Result<Arc<dyn Endpoint>, ConnectError> {
        Err(ConnectError::NotHere(NONE.into()))
    }
}

/// A node's device: there is none.
#[derive(Debug)]
pub(crate) struct Responder(Infallible);

impl Responder {
    pub(crate) fn open(_device: Option<&str>, _arena: &Arc<Arena>) -> io::Result<Self> {
        let line = format!("cannot offer verbs: {NONE}");
        Err(io::Error::new(io::ErrorKind::Unsupported, line))
    }

    pub(crate) fn admit(
        &self,
        _socket: &Arc<Socket>,
        _secure: Secure,
        _queues: u8,
        _limits: &Limits,
    ) -> Result<Arc<VerbsSession>, SetupError> {
        match self.0 {}
    }
}

/// A handler's queue pairs: there are none.
#[derive(Debug)]
pub(crate) struct VerbsSession(Infallible);

impl VerbsSession {
    pub(crate) fn socket(&self) -> &Socket {
        match self.0 {}
    }

    pub(crate) fn send(&self, _message: &[u8]) -> Result<(), FabricError> {
        match self.0 {}
    }

    pub(crate) fn receive(&self, _frames: &mut Vec<Frame>) -> Result<(), FabricError> {
        match self.0 {}
    }

    pub(crate) fn rest(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn end(&self, _reason: FabricError) {
        match self.0 {}
    }
}

impl AsFd for VerbsSession {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self.0 {}
    }
}
