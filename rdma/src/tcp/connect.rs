//! Setting up a link over TCP.

use super::endpoint::TcpEndpoint;
use super::lane::Lane;
use crate::fabric::{ConnectError, Crypt, Endpoint, Fabric, FabricKind, Target};
use crate::handshake::{Ends, Hello, PROTECTED_DATA, Protection, Refusal, Role, Secure, Token, Welcome};
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
        let (control, secure, welcome) =
            set_up(stream, target, role).map_err(|error| error.of(target, FabricKind::Tcp))?;
        let (lanes, encrypted) = lanes(target, address, &welcome)?;
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

/// All data connections of a peer, and whether all are encrypted.
fn lanes(target: &Target, address: SocketAddr, welcome: &Welcome) -> Result<(Vec<Lane>, bool), ConnectError> {
    let mut wishes = wishes(target.crypt, welcome.negotiated().version);
    let queues = target.queues.clamp(1, 16);
    let mut lanes = Vec::with_capacity(queues);
    while lanes.len() < queues {
        match lane(target, address, (welcome.token, wishes[0]))? {
            Some(lane) => lanes.push(lane),
            // Never the last one: only what is less than the last wish is refused so.
            None => wishes = &wishes[1..],
        }
    }
    let encrypted = matches!(wishes[0], Wish::Encrypted | Wish::OldEncrypted);
    Ok((lanes, encrypted))
}

/// What is asked for in turn; the next where the node will not, or cannot be sure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    /// Nothing but the kernel of the one host that both ends are on.
    Kernel,
    Authenticated,
    Encrypted,
    /// Of a node that does not prove what it sees of a connection.
    OldPlain,
    OldEncrypted,
}

fn wishes(crypt: Crypt, version: u16) -> &'static [Wish] {
    match (version >= PROTECTED_DATA, crypt) {
        (true, Crypt::Auto) => &[Wish::Kernel, Wish::Encrypted],
        (true, Crypt::On) => &[Wish::Encrypted],
        (true, Crypt::Off) => &[Wish::Kernel, Wish::Authenticated],
        (false, Crypt::Auto | Crypt::On) => &[Wish::OldEncrypted],
        (false, Crypt::Off) => &[Wish::OldPlain],
    }
}

/// One data connection of a peer; `None` where what is wished is not to be had.
fn lane(
    target: &Target,
    address: SocketAddr,
    (token, wish): (Token, Wish),
) -> Result<Option<Lane>, ConnectError> {
    let stream = TcpStream::connect_timeout(&address, target.step_timeout);
    let stream = stream.map_err(|source| ConnectError::Unreachable {
        address: target.address(),
        source,
    })?;
    let mut key = [0; 32];
    if wish == Wish::Authenticated {
        crate::sys::random(&mut key).map_err(|source| io_error(target, source))?;
    }
    let ends = Socket::new(stream.try_clone().map_err(|source| io_error(target, source))?).ends();
    if wish == Wish::Kernel && !ends.is_some_and(|ends| ends.is_local()) {
        return Ok(None);
    }
    match set_up(stream, target, role(token, wish, (key, ends))) {
        Ok((socket, secure, _)) => {
            let secure = match wish {
                Wish::Kernel | Wish::OldPlain => None,
                Wish::Authenticated => Some(Secure::authenticated(&key, true)),
                Wish::Encrypted | Wish::OldEncrypted => Some(secure),
            };
            Ok(Some(Lane::new(socket, secure)))
        }
        Err(SetupError::Refused(Refusal::NotProven | Refusal::EncryptionDemanded))
            if wish == Wish::Kernel =>
        {
            Ok(None)
        }
        Err(error) => Err(error.of(target, FabricKind::Tcp)),
    }
}

fn role(token: Token, wish: Wish, (key, ends): ([u8; 32], Option<Ends>)) -> Role {
    let protection = match wish {
        Wish::Kernel => Protection::Kernel,
        Wish::Authenticated => Protection::Authenticated(key),
        Wish::Encrypted => Protection::Encrypted,
        Wish::OldPlain | Wish::OldEncrypted => {
            let encrypted = wish == Wish::OldEncrypted;
            return Role::Data { token, encrypted };
        }
    };
    Role::ProtectedData {
        token,
        protection,
        ends,
    }
}

fn set_up(stream: TcpStream, target: &Target, role: Role) -> Result<(Socket, Secure, Welcome), SetupError> {
    let socket = Socket::new(stream);
    socket.tune_tcp()?;
    let hello = Hello::to(target, role);
    let limits = Limits::start(target.step_timeout);
    let (secure, welcome) = introduce(&socket, &target.key, &hello, &limits)?;
    Ok((socket, secure, welcome))
}

fn io_error(target: &Target, source: io::Error) -> ConnectError {
    SetupError::Io(source).of(target, FabricKind::Tcp)
}
