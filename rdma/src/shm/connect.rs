//! Setting up a link to a node of this host.

use super::endpoint::ShmEndpoint;
use super::pass::receive_descriptor;
use crate::arena::Arena;
use crate::fabric::{ConnectError, Endpoint, Fabric, FabricKind, Target};
use crate::handshake::{Hello, Role};
use crate::shown::shown;
use crate::stream::{Limits, SetupError, Socket, introduce};
use crate::sys;
use crate::trust::{Distrust, check_listener, check_way};
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, socket, sockopt::PeerCredentials,
};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The shm fabric.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shm;

impl Fabric for Shm {
    fn kind(&self) -> FabricKind {
        FabricKind::Shm
    }

    fn connect(&self, target: &Target) -> Result<Arc<dyn Endpoint>, ConnectError> {
        if !is_this_host(target)? {
            return Err(ConnectError::NotHere(format!("{} is another host", target.host)));
        }
        let path = socket_path(&target.run_dir, target.port);
        let foreign = |error: Distrust| ConnectError::NotHere(error.to_string());
        check_way(&path).map_err(foreign)?;
        let socket = dial(&path, target)?;
        check_listener(&socket, &path).map_err(foreign)?;
        let process = node_process(&socket, target)?;
        let socket = Socket::new(socket);
        let role = Role::Control {
            fabric: FabricKind::Shm,
            queues: 0,
        };
        let hello = Hello::to(target, role);
        let limits = Limits::start(target.step_timeout);
        let failed = |error: SetupError| error.of(target, FabricKind::Shm);
        let (secure, welcome) = introduce(&socket, &target.key, &hello, &limits).map_err(failed)?;
        let negotiated = welcome.negotiated();
        let fd = receive_descriptor(&socket, &limits).map_err(failed)?;
        let endpoint = Arena::attach(fd, welcome.arena)
            .and_then(|arena| ShmEndpoint::new((socket, secure), arena, process, negotiated))
            .map_err(|error| failed(error.into()))?;
        Ok(Arc::new(endpoint))
    }
}

/// Where a node that listens on this TCP port has its socket.
pub(crate) fn socket_path(run_dir: &Path, port: u16) -> PathBuf {
    run_dir.join(format!("node-{port}.sock"))
}

/// True when the name has an address that one of this host's interfaces bears.
fn is_this_host(target: &Target) -> Result<bool, ConnectError> {
    let resolve = |source| ConnectError::Resolve {
        host: target.host.clone(),
        source,
    };
    let addresses = (target.host.as_str(), target.port)
        .to_socket_addrs()
        .map_err(resolve)?;
    let ours = our_addresses();
    Ok(addresses
        .map(|address| address.ip().to_canonical())
        .any(|ip| ip.is_loopback() || ours.contains(&ip)))
}

/// Addresses of the interfaces; empty when the kernel does not tell.
fn our_addresses() -> Vec<IpAddr> {
    let interfaces = getifaddrs().into_iter().flatten();
    interfaces
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
        })
        .filter(|ip| *ip != IpAddr::V4(Ipv4Addr::UNSPECIFIED) && *ip != IpAddr::V6(Ipv6Addr::UNSPECIFIED))
        .collect()
}

/// Connects without waiting: a node whose queue is full has not answered for long.
fn dial(path: &Path, target: &Target) -> Result<OwnedFd, ConnectError> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let made = socket(AddressFamily::Unix, SockType::Stream, flags, None)
        .and_then(|socket| Ok((socket, UnixAddr::new(path)?)))
        .and_then(|(socket, address)| connect(socket.as_raw_fd(), &address).map(|()| socket));
    let (port, path) = (target.port, shown(&path));
    match made {
        Ok(socket) => Ok(socket),
        Err(Errno::ENOENT) => Err(ConnectError::NotHere(format!(
            "no node of this host offers shm on port {port} (there is no {path})"
        ))),
        Err(Errno::ECONNREFUSED) => Err(ConnectError::NotHere(format!(
            "no node listens on {path} any more"
        ))),
        Err(Errno::EACCES) => Err(ConnectError::NotHere(format!(
            "{path} may not be used by this user"
        ))),
        Err(Errno::EAGAIN) => Err(SetupError::TimedOut("connection").of(target, FabricKind::Shm)),
        Err(error) => Err(ConnectError::NotHere(format!(
            "{path}: {}",
            io::Error::from(error)
        ))),
    }
}

/// A descriptor that tells when the node's process ends. Taken before the handshake: who completes that was alive then.
fn node_process(socket: &OwnedFd, target: &Target) -> Result<OwnedFd, ConnectError> {
    let peer = getsockopt(socket, PeerCredentials).map_err(io::Error::from);
    let pid = peer.map(|peer| u32::try_from(peer.pid()).unwrap_or(0));
    // Process 0: it lives where this one cannot see it.
    let process = pid.and_then(|pid| match pid {
        0 => Err(io::Error::from(io::ErrorKind::NotFound)),
        pid => sys::pidfd(pid),
    });
    process.map_err(|_| {
        ConnectError::NotHere(format!(
            "the process of {} cannot be seen (is it in another PID namespace?)",
            target.address()
        ))
    })
}
