//! What only a hostile or broken peer does, on a real device: queue pairs made by hand.
#![allow(clippy::unwrap_used, reason = "a failing helper fails its test")]

use super::addressing::best;
use super::completions::Completions;
use super::device::Device;
use super::domain::Domain;
use super::endpoint::{Parts, VerbsEndpoint};
use super::error::meaning;
use super::lane::{self, Lane};
use super::messages::{Messages, SLOT, listen_all};
use super::queue::{Path, QueuePair, Remote, Shape};
use super::region::Region;
use super::setup::Gid;
use crate::arena::Arena;
use crate::buffer::BufferPool;
use crate::fabric::{Completion, Endpoint, Event, FabricError, FabricKind, Facts, Verb, Work};
use crate::handshake::tests::pair;
use crate::stream::{Socket, ready, watch};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

const LEN: u64 = 64 * 4096;
const LIMIT: Duration = Duration::from_secs(10);

/// Both sides of one queue pair, and what they register.
struct Bench {
    device: Arc<Device>,
    /// The handler's side.
    ours: Arc<QueuePair>,
    completions: Arc<Completions>,
    /// The node's side: with its completion queue, that nobody looks at.
    _theirs: Arc<QueuePair>,
    arena: Arc<Arena>,
    lent: Arc<Region>,
    lent_to_read: Arc<Region>,
    pool: BufferPool,
    buffers: Arc<Region>,
    message_buffers: Arc<Region>,
}

fn bench() -> Bench {
    assert!(
        std::env::var_os("RDMAFS_VERBS_TEST").is_some(),
        "these tests need an RDMA device: run them by scripts/rxe, or set RDMAFS_VERBS_TEST=1 where there is one"
    );
    let device = Device::open_active(None).unwrap().remove(0);
    let domain = Domain::new(Arc::clone(&device)).unwrap();
    let arena = Arc::new(Arena::allocate(LEN, &mut |_| ()).unwrap());
    let pool = BufferPool::new(8, 8).unwrap();
    let lent = Arc::new(Region::of_arena(&domain, Arc::clone(&arena), true).unwrap());
    let lent_to_read = Arc::new(Region::of_arena(&domain, Arc::clone(&arena), false).unwrap());
    let buffers = Arc::new(Region::of_buffers(&domain, pool.clone()).unwrap());
    let message_buffers = Arc::new(Region::fresh(&domain, 2 * SLOT).unwrap());
    let make = |lends: bool, place: usize| {
        let completions = Arc::new(Completions::new(&device, 256).unwrap());
        let shape = Shape {
            sends: 64,
            receives: 32,
            port: device.ports[0].number,
            lends,
        };
        let regions = vec![
            lent.clone(),
            lent_to_read.clone(),
            buffers.clone(),
            message_buffers.clone(),
        ];
        let queue = QueuePair::new(&domain, &completions, shape, regions).unwrap();
        listen_all(&queue, &message_buffers, place).unwrap();
        (queue, completions)
    };
    let (ours, completions) = make(false, 0);
    let (theirs, _) = make(true, SLOT);
    connect(&device, &ours, &theirs);
    Bench {
        device,
        ours,
        completions,
        _theirs: theirs,
        arena,
        lent,
        lent_to_read,
        pool,
        buffers,
        message_buffers,
    }
}

fn connect(device: &Device, a: &QueuePair, b: &QueuePair) {
    let port = &device.ports[0];
    let entry = best(&port.gids, None).unwrap();
    let gid: Gid = entry.gid;
    for (own, other, first_ours, first_theirs) in [(a, b, 7, 9), (b, a, 9, 7)] {
        own.connect(&Path {
            gid,
            lid: port.lid,
            number: other.number(),
            first_theirs,
            first_ours,
            mtu: port.mtu,
            asks: 4,
            answers: 4,
            tclass: 0,
            gid_index: entry.index,
            global: port.ethernet,
            port: port.number,
            patience: 14,
        })
        .unwrap();
    }
}

impl Bench {
    /// Posts by hand, and says how it went.
    fn access(&self, verb: Verb, remote: Remote, len: usize) -> Result<(), FabricError> {
        let buffer = self.pool.try_get(len).unwrap();
        let local = self.buffers.local(buffer.as_ptr().addr() as u64, len).unwrap();
        // SAFETY: the buffer is exclusive, and outlives the completion, which is awaited below.
        unsafe { self.ours.transfer(5, verb, local, remote).unwrap() };
        let mut came = Vec::new();
        while came.is_empty() {
            self.completions.arm().unwrap();
            self.completions.poll(&mut came).unwrap();
            if came.is_empty() {
                assert!(ready(&mut [watch(&*self.completions, false)], LIMIT).unwrap());
                self.completions.drain_events();
            }
        }
        assert_eq!(came[0].wr_id, 5);
        came[0].error().map_or(Ok(()), |status| Err(meaning(status)))
    }
}

#[test]
#[ignore = "needs an RDMA device: scripts/rxe runs it"]
fn the_device_refuses_what_lies_outside_of_the_arena() {
    for (verb, address, len) in [
        (Verb::Read, LEN - 1, 2),
        (Verb::Write, LEN - 1, 2),
        (Verb::Read, LEN, 1),
        (Verb::Write, 0u64.wrapping_sub(1), 1),
    ] {
        let bench = bench();
        let remote = |offset: u64| Remote {
            address: bench.lent.start().wrapping_add(offset),
            key: bench.lent.remote_key(),
        };
        assert_eq!(bench.access(verb, remote(LEN - 1), 1), Ok(()));
        let refused = bench.access(verb, remote(address), len);
        assert_eq!(refused, Err(FabricError::AccessRefused), "{verb:?} {address}");
    }
}

#[test]
#[ignore = "needs an RDMA device: scripts/rxe runs it"]
fn the_key_for_reading_does_not_write_and_a_guessed_key_does_nothing() {
    let bench = bench();
    bench.arena.write(0, b"safe").unwrap();
    let remote = Remote {
        address: bench.lent_to_read.start(),
        key: bench.lent_to_read.remote_key(),
    };
    assert_eq!(bench.access(Verb::Read, remote, 4), Ok(()));
    assert_eq!(
        bench.access(Verb::Write, remote, 4),
        Err(FabricError::AccessRefused)
    );
    let mut bytes = [0; 4];
    bench.arena.read(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"safe");
    let bench = self::bench();
    let remote = Remote {
        address: bench.lent.start(),
        key: bench.lent.remote_key() ^ 0x5555,
    };
    assert_eq!(
        bench.access(Verb::Read, remote, 4),
        Err(FabricError::AccessRefused)
    );
}

#[test]
#[ignore = "needs an RDMA device: scripts/rxe runs it"]
#[expect(clippy::too_many_lines, reason = "one story, in its order")]
fn an_access_that_the_device_refuses_fails_itself_and_ends_the_endpoint() {
    let bench = bench();
    let (control, _other_end) = UnixStream::pair().unwrap();
    let (secure, _) = pair();
    // It believes that the arena is longer than it is.
    let arena = lane::RemoteArena {
        base: bench.lent.start(),
        key: bench.lent.remote_key(),
        len: 2 * LEN,
    };
    let endpoint = VerbsEndpoint::new(Parts {
        facts: Facts {
            kind: FabricKind::Verbs,
            queues: 1,
            device: String::new(),
            encrypted: false,
            negotiated: crate::protocol::Negotiated::FIRST,
            spin: Duration::ZERO,
        },
        lanes: vec![Lane::new(
            Arc::clone(&bench.ours),
            0,
            16,
            arena,
            Arc::clone(&bench.buffers),
        )],
        messages: Messages::new(
            Arc::clone(&bench.ours),
            Arc::clone(&bench.message_buffers),
            0,
            secure,
            1 << 20,
        ),
        completions: Arc::clone(&bench.completions),
        device: Arc::clone(&bench.device),
        socket: Socket::new(control),
    })
    .unwrap();
    for id in 0..8 {
        let work = Work {
            id,
            verb: Verb::Write,
            remote: if id == 3 { LEN } else { 0 },
            buffer: bench.pool.try_get(64).unwrap(),
        };
        assert!(endpoint.post(0, work).is_none());
    }
    let (mut events, mut results) = (Vec::new(), Vec::new());
    let down = 'down: loop {
        for event in events.drain(..) {
            match event {
                Event::Done(Completion { id, result, .. }) => results.push((id, result)),
                Event::Down(reason) => break 'down reason,
                Event::Message(message) => panic!("a message: {message:?}"),
            }
        }
        endpoint.wait(LIMIT);
        endpoint.poll(&mut events);
    };
    assert!(
        matches!(&down, FabricError::Disconnected(why) if why.contains("refused")),
        "{down}"
    );
    let wanted = (0..8).map(|id| match id {
        0..3 => (id, Ok(())),
        3 => (id, Err(FabricError::AccessRefused)),
        _ => (id, Err(down.clone())),
    });
    assert_eq!(results, wanted.collect::<Vec<_>>());
}
