//! Setting up a link over queue pairs.

use super::addressing::{GidEntry, best, ip_of, source_towards};
use super::completions::Completions;
use super::device::{Device, Port};
use super::domain::Domain;
use super::endpoint::{Parts, VerbsEndpoint};
use super::error::VerbError;
use super::lane::{self, Lane, RemoteArena};
use super::messages::{self, Messages, SLOT, listen_all};
use super::queue::{Path, QueuePair, Shape};
use super::region::Region;
use super::setup::{Deal, End, Ends, Gid, MAX_QUEUES, Offer, decode_deal};
use crate::clock::{Clock, SystemClock};
use crate::fabric::{ConnectError, Endpoint, Event, Fabric, FabricKind, Facts, Target, VerbsOptions};
use crate::handshake::{Hello, Role, Secure, Welcome};
use crate::stream::{Limits, SetupError, Socket, introduce};
use crate::{sys, tcp};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// Most bytes of messages that may wait for a node that does not read.
const BACKLOG: usize = 1 << 20;
/// Waits for an acknowledgement at least so long: 4.096 us times two to the power of this, 0.54 s. With six attempts more, a
/// link may be away for 3 s and a dead one is found out in 4 s, within the default time limit of a mount.
const PATIENCE: u8 = 17;
/// Completions come late here, and polling starves a device that is made of software.
const SPIN: Duration = Duration::ZERO;

/// The verbs fabric.
#[derive(Clone, Copy, Debug, Default)]
pub struct Verbs;

impl Fabric for Verbs {
    fn kind(&self) -> FabricKind {
        FabricKind::Verbs
    }

    fn connect(&self, target: &Target) -> Result<Arc<dyn Endpoint>, ConnectError> {
        let devices = Device::open_active(target.verbs.device.as_deref())
            .map_err(|error| ConnectError::NotHere(error.to_string()))?;
        let (stream, address) = tcp::dial(target)?;
        let towards = source_towards(address.ip().to_canonical());
        let way = Way::choose(devices, &target.verbs, towards)
            .map_err(|error| ConnectError::NotHere(error.to_string()))?;
        let failed = |error: SetupError| error.of(target, FabricKind::Verbs);
        let socket = Socket::new(stream);
        socket.tune_tcp().map_err(|error| failed(error.into()))?;
        let limits = Limits::start(target.step_timeout);
        let queues = target.queues.clamp(1, MAX_QUEUES);
        let role = Role::Control {
            fabric: FabricKind::Verbs,
            // At most 16.
            queues: u8::try_from(queues).unwrap_or(16),
        };
        let hello = Hello::to(target, role);
        let (secure, welcome) = introduce(&socket, &target.key, &hello, &limits).map_err(failed)?;
        // Nothing of the device is used before the node has proved the key.
        let half = Half::new(&way, target, queues)
            .map_err(|error| ConnectError::NotHere(format!("RDMA device {}: {error}", way.device.name())))?;
        let endpoint = agree(half, &way, target, (socket, secure, welcome), &limits)?;
        meet(&endpoint, &way, target)?;
        Ok(Arc::new(endpoint))
    }
}

/// No port of the devices fits, in words for the user.
#[derive(Debug, Error)]
pub(super) enum WayError {
    #[error("no active RDMA port has a GID with index {0} (gid_index=)")]
    GidIndex(u8),
    #[error("RDMA port {0} is not active, or not there (port=)")]
    Port(u8),
    #[error("no active RDMA port has an address")]
    NoAddress,
}

/// The device, port and address that a connection goes through.
pub(super) struct Way {
    pub(super) device: Arc<Device>,
    pub(super) port: Port,
    pub(super) gid: GidEntry,
}

impl Way {
    /// The best GID of all devices' active ports, as far as the options leave a choice.
    ///
    /// # Errors
    /// The options name what is not there.
    pub(super) fn choose(
        devices: Vec<Arc<Device>>,
        options: &VerbsOptions,
        from: Option<IpAddr>,
    ) -> Result<Self, WayError> {
        let mut chosen: Option<Self> = None;
        for device in devices {
            for port in &device.ports {
                if options.port.is_some_and(|wanted| wanted != port.number) {
                    continue;
                }
                let wanted = |gid: &&GidEntry| options.gid_index.is_none_or(|index| index == gid.index);
                let gids: Vec<GidEntry> = port.gids.iter().filter(wanted).copied().collect();
                let Some(gid) = best(&gids, from) else { continue };
                let better = |old: &Self| gid.fitness(from) > old.gid.fitness(from);
                if chosen.as_ref().is_none_or(better) {
                    chosen = Some(Self {
                        device: Arc::clone(&device),
                        port: port.clone(),
                        gid,
                    });
                }
            }
        }
        chosen.ok_or(match (options.port, options.gid_index) {
            (_, Some(index)) => WayError::GidIndex(index),
            (Some(port), None) => WayError::Port(port),
            (None, None) => WayError::NoAddress,
        })
    }

    /// Device and port, for people.
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.device.name(), self.port.number)
    }

    /// What the peer is told.
    pub(super) fn ends(&self, queues: &[(Arc<QueuePair>, u32)]) -> Ends {
        let end = |(queue, first): &(Arc<QueuePair>, u32)| End {
            number: queue.number(),
            first: *first,
        };
        Ends {
            gid: self.gid.gid,
            lid: self.port.lid,
            mtu: self.port.mtu,
            answers: self.device.limits.reads_answered.clamp(1, 16),
            queues: queues.iter().map(end).collect(),
        }
    }

    /// Connects queue pairs to the peer's.
    pub(super) fn connect(
        &self,
        queues: &[(Arc<QueuePair>, u32)],
        theirs: &Ends,
        tclass: u8,
    ) -> Result<(), VerbError> {
        for ((queue, first), end) in queues.iter().zip(&theirs.queues) {
            queue.connect(&Path {
                gid: theirs.gid,
                lid: theirs.lid,
                number: end.number,
                first_theirs: end.first,
                first_ours: *first,
                mtu: self.port.mtu.min(theirs.mtu),
                asks: self.device.limits.reads_asked.clamp(1, 16).min(theirs.answers),
                answers: self.device.limits.reads_answered.clamp(1, 16),
                tclass,
                gid_index: self.gid.index,
                global: self.port.ethernet,
                port: self.port.number,
                patience: PATIENCE
                    .max(self.device.limits.ack_delay.saturating_add(1))
                    .min(31),
            })?;
        }
        Ok(())
    }
}

/// This side, not connected yet.
struct Half {
    completions: Arc<Completions>,
    buffers: Arc<Region>,
    message_buffers: Arc<Region>,
    /// With the first sequence number that each sends.
    queues: Vec<(Arc<QueuePair>, u32)>,
    depth: u32,
}

impl Half {
    fn new(way: &Way, target: &Target, queues: usize) -> io::Result<Self> {
        let device = &way.device;
        let domain = Domain::new(Arc::clone(device))?;
        let buffers = Arc::new(Region::of_buffers(&domain, target.buffers.clone())?);
        let message_buffers = Arc::new(Region::fresh(&domain, SLOT)?);
        // The first queue pair has room for both.
        let room = device.limits.work_requests.saturating_sub(messages::DEPTH);
        let depth = lane::DEPTH.min(room).max(1);
        let count = u32::try_from(queues).unwrap_or(1);
        let completions = Completions::new(device, depth * count + 2 * messages::DEPTH)?;
        let completions = Arc::new(completions);
        let regions = vec![Arc::clone(&buffers), Arc::clone(&message_buffers)];
        let mut made = Vec::new();
        for number in 0..queues {
            let shape = Shape {
                sends: if number == 0 {
                    depth + messages::DEPTH
                } else {
                    depth
                },
                receives: if number == 0 { messages::DEPTH } else { 1 },
                port: way.port.number,
                lends: false,
            };
            let queue = QueuePair::new(&domain, &completions, shape, regions.clone())?;
            if number == 0 {
                listen_all(&queue, &message_buffers, 0)?;
            }
            made.push((queue, first_sequence()?));
        }
        Ok(Self {
            completions,
            buffers,
            message_buffers,
            queues: made,
            depth,
        })
    }
}

/// Exchanges the queue pairs' numbers and connects them.
fn agree(
    half: Half,
    way: &Way,
    target: &Target,
    (socket, mut secure, welcome): (Socket, Secure, Welcome),
    limits: &Limits,
) -> Result<VerbsEndpoint, ConnectError> {
    let failed = |error: SetupError| error.of(target, FabricKind::Verbs);
    let offer = Offer {
        client_owner: target.client_owner,
        ends: way.ends(&half.queues),
    };
    limits
        .seal(&socket, &mut secure, &offer, "queue pair")
        .map_err(failed)?;
    let deal = limits.open(&socket, &mut secure, "queue pair").map_err(failed)?;
    let (ends, base, key) = match decode_deal(&deal) {
        Some(Deal::Accepted { ends, base, key }) if ends.queues.len() == half.queues.len() => {
            (ends, base, key)
        }
        Some(Deal::Refused(why)) => {
            return Err(ConnectError::NotHere(format!(
                "{}: {why} (this host offered {} of {}, gid_index={})",
                target.address(),
                ip_of(way.gid.gid),
                way.name(),
                way.gid.index
            )));
        }
        _ => return Err(failed(SetupError::Ended("queue pair"))),
    };
    way.connect(&half.queues, &ends, target.verbs.tclass.unwrap_or(0))
        .map_err(|error| no_way(target, way, ends.gid, &error.to_string()))?;
    let arena = RemoteArena {
        base,
        key,
        len: welcome.arena,
    };
    let first = Arc::clone(&half.queues[0].0);
    let messages = Messages::new(first, half.message_buffers, 0, secure, BACKLOG);
    let lane = |(number, (queue, _))| Lane::new(queue, number, half.depth, arena, Arc::clone(&half.buffers));
    let parts = Parts {
        facts: Facts {
            kind: FabricKind::Verbs,
            queues: half.queues.len(),
            device: way.name(),
            encrypted: false,
            negotiated: welcome.negotiated(),
            spin: SPIN,
        },
        lanes: half.queues.into_iter().enumerate().map(lane).collect(),
        messages,
        completions: half.completions,
        device: Arc::clone(&way.device),
        socket,
    };
    VerbsEndpoint::new(parts).map_err(|error| failed(error.into()))
}

/// Sends ready to the node over the queue pairs and waits for its ready: packets go both ways.
fn meet(endpoint: &VerbsEndpoint, way: &Way, target: &Target) -> Result<(), ConnectError> {
    let clock = SystemClock::new();
    let nowhere = |why: &str| no_way(target, way, way.gid.gid, why);
    endpoint
        .send_ready()
        .map_err(|error| nowhere(&error.to_string()))?;
    let mut events = Vec::new();
    while !endpoint.hailed() {
        let left = target.step_timeout.saturating_sub(clock.now());
        if left.is_zero() {
            return Err(nowhere("no answer in time"));
        }
        endpoint.wait(left);
        endpoint.poll(&mut events);
        if let Some(Event::Down(reason)) = events.last() {
            return Err(nowhere(&reason.to_string()));
        }
    }
    endpoint.keep(events);
    Ok(())
}

fn no_way(target: &Target, way: &Way, gid: Gid, why: &str) -> ConnectError {
    ConnectError::NotHere(format!(
        "no RDMA packets pass between {} ({}) and {}: {why} (is UDP port 4791 open? choose with device= or gid_index=)",
        way.name(),
        ip_of(gid),
        target.address()
    ))
}

/// Random: who could guess it could forge packets.
pub(super) fn first_sequence() -> io::Result<u32> {
    let mut bytes = [0; 4];
    sys::random(&mut bytes[..3])?;
    Ok(u32::from_le_bytes(bytes))
}
