//! Setting up a link over TCP.

use super::endpoint::TcpEndpoint;
use super::lane::Lane;
use crate::fabric::{ConnectError, Crypt, Endpoint, Fabric, FabricKind, Target};
use crate::handshake::{Hello, Role, Secure, Token, Welcome};
use crate::stream::{Limits, SetupError, Socket, introduce};
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;

/// The tcp fabric.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp;

impl Fabric for Tcp {
    fn kind(&self) -> FabricKind {
        FabricKind::Tcp
    }

    fn connect(&self, target: &Target) -> Result<Arc<dyn Endpoint>, ConnectError> {
        let queues = target.queues.clamp(1, 16);
        let (stream, address) = dial(target)?;
        let role = Role::Control {
            fabric: FabricKind::Tcp,
            // At most 16.
            queues: u8::try_from(queues).unwrap_or(16),
        };
        let (control, secure, welcome) = set_up(stream, target, role)?;
        let encrypted = match target.crypt {
            Crypt::Auto => !address.ip().is_loopback(),
            Crypt::On => true,
            Crypt::Off => false,
        };
        let lanes = (0..queues)
            .map(|_| lane(target, address, welcome.token, encrypted))
            .collect::<Result<Vec<_>, _>>()?;
        let endpoint = TcpEndpoint::new((control, secure), lanes, encrypted, welcome.negotiated());
        let endpoint = endpoint.map_err(|source| io_error(target, source))?;
        Ok(Arc::new(endpoint))
    }
}

/// The first of the node's addresses that answers. Blocking.
pub(crate) fn dial(target: &Target) -> Result<(TcpStream, SocketAddr), ConnectError> {
    let resolve = |source| ConnectError::Resolve {
        host: target.host.clone(),
        source,
    };
    let addresses = (target.host.as_str(), target.port)
        .to_socket_addrs()
        .map_err(resolve)?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match TcpStream::connect_timeout(&address, target.step_timeout) {
            Ok(stream) => return Ok((stream, address)),
            Err(error) => last = error,
        }
    }
    Err(ConnectError::Unreachable {
        address: target.address(),
        source: last,
    })
}

/// One data connection of a peer.
fn lane(target: &Target, address: SocketAddr, token: Token, encrypted: bool) -> Result<Lane, ConnectError> {
    let stream = TcpStream::connect_timeout(&address, target.step_timeout);
    let stream = stream.map_err(|source| ConnectError::Unreachable {
        address: target.address(),
        source,
    })?;
    let (socket, secure, _) = set_up(stream, target, Role::Data { token, encrypted })?;
    Ok(Lane::new(socket, encrypted.then_some(secure)))
}

fn set_up(stream: TcpStream, target: &Target, role: Role) -> Result<(Socket, Secure, Welcome), ConnectError> {
    let socket = Socket::new(stream);
    socket.tune_tcp().map_err(|source| io_error(target, source))?;
    let hello = Hello::to(target, role);
    let limits = Limits::start(target.step_timeout);
    let (secure, welcome) = introduce(&socket, &target.key, &hello, &limits)
        .map_err(|error| error.of(target, FabricKind::Tcp))?;
    Ok((socket, secure, welcome))
}

fn io_error(target: &Target, source: io::Error) -> ConnectError {
    SetupError::Io(source).of(target, FabricKind::Tcp)
}
