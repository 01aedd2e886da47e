//! What the bare fabrics cost: `cargo run --release --example bare`. A node and a handler in one process, over loopback.

use rdmafs_rdma::arena::Arena;
use rdmafs_rdma::buffer::BufferPool;
use rdmafs_rdma::clock::{Clock, SystemClock};
use rdmafs_rdma::fabric::{Completion, Crypt, Endpoint, Event, Fabric, FabricKind, Target, Verb, Work};
use rdmafs_rdma::key::Key;
use rdmafs_rdma::protocol::Protocol;
use rdmafs_rdma::server::{Peer, PeerHandler, PeerId, Server, ServerConfig};
use rdmafs_rdma::{shm::Shm, tcp::Tcp};
use std::error::Error;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

const ARENA: u64 = 256 << 20;

/// Allows everything.
struct Open;

impl PeerHandler for Open {
    fn arrived(&self, _: Arc<dyn Peer>) {}
    fn message(&self, _: PeerId, _: &[u8]) {}
    fn may(&self, _: PeerId, _: Verb, _: Range<u64>) -> bool {
        true
    }
    fn left(&self, _: PeerId) {}
}

#[expect(clippy::too_many_lines, reason = "one story, in its order")]
fn main() -> Result<(), Box<dyn Error>> {
    let run_dir = std::env::temp_dir().join(format!("rdmafs-bare-{}", std::process::id()));
    let config = ServerConfig {
        listen: "127.0.0.1:0".parse()?,
        pool: "pool".into(),
        key: Key::generate()?,
        fabrics: vec![FabricKind::Shm, FabricKind::Tcp],
        device: None,
        peers: 64,
        step_timeout: Duration::from_secs(5),
        run_dir: run_dir.clone(),
        encrypted: false,
        protocol: Protocol::FIRST,
    };
    let key = config.key.clone();
    let server = Server::open(
        config,
        Arc::new(Arena::allocate(ARENA, &mut |_| ())?),
        Arc::new(Open),
    )?;
    let buffers = BufferPool::new(0, 16)?;
    println!(
        "{:24} {:>12} {:>12} {:>12} {:>12}",
        "", "4K read us", "4K write us", "1M read MB/s", "1M write MB/s"
    );
    for (name, fabric, crypt) in [
        ("shm", &Shm as &dyn Fabric, Crypt::Auto),
        ("tcp", &Tcp, Crypt::Auto),
        ("tcp, encrypted", &Tcp, Crypt::On),
    ] {
        let target = Target {
            host: "127.0.0.1".into(),
            port: server.address().port(),
            pool: "pool".into(),
            key: key.clone(),
            host_id: "bare".into(),
            step_timeout: Duration::from_secs(5),
            queues: 4,
            crypt,
            client_owner: rdmafs_rdma::fabric::ClientOwner::random()?,
            verbs: Default::default(),
            run_dir: run_dir.clone(),
            buffers: buffers.clone(),
            protocol: Protocol::FIRST,
        };
        let endpoint = fabric.connect(&target)?;
        let run = |verb, len, depth, count| {
            measure(
                &*endpoint,
                &buffers,
                &Load {
                    verb,
                    len,
                    depth,
                    count,
                },
            )
        };
        run(Verb::Read, 4096, 1, 2000);
        let micros = |verb| run(verb, 4096, 1, 20_000).as_secs_f64() * 1e6 / 20_000.0;
        let rate = |verb| 2000.0 * 1.048_576 / run(verb, 1 << 20, 8, 2000).as_secs_f64();
        println!(
            "{name:24} {:12.2} {:12.2} {:12.0} {:12.0}",
            micros(Verb::Read),
            micros(Verb::Write),
            rate(Verb::Read),
            rate(Verb::Write)
        );
    }
    server.close();
    std::fs::remove_dir_all(&run_dir)?;
    Ok(())
}

/// `count` operations of `len` bytes, `depth` of them in flight.
struct Load {
    verb: Verb,
    len: usize,
    depth: u64,
    count: u64,
}

fn measure(endpoint: &dyn Endpoint, buffers: &BufferPool, load: &Load) -> Duration {
    let clock = SystemClock::new();
    let mut done = 0;
    let mut posted = 0;
    let mut events = Vec::new();
    while done < load.count {
        while posted < load.count && posted - done < load.depth {
            let Some(buffer) = buffers.try_get(load.len) else {
                break;
            };
            let remote = posted * 1_048_576 % ARENA;
            let (id, verb) = (posted, load.verb);
            let work = Work {
                id,
                verb,
                remote,
                buffer,
            };
            // Which queue does not matter here: one after the other.
            let completed = endpoint.post(usize::try_from(posted).unwrap_or(0), work);
            events.extend(completed.map(Event::Done));
            posted += 1;
        }
        endpoint.poll(&mut events);
        if events.is_empty() {
            endpoint.wait(Duration::from_millis(100));
        }
        for event in events.drain(..) {
            if let Event::Done(Completion { result, .. }) = event {
                assert_eq!(result, Ok(()));
                done += 1;
            }
        }
    }
    clock.now()
}
