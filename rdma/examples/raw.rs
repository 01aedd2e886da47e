//! What one 4 KiB operation costs on a fabric: `raw FABRIC ADDRESS [COUNT]` prints the mean of COUNT reads and of COUNT writes,
//! each at a random place, one at a time, in microseconds. A node and a handler in one process.

use rdmafs_rdma::arena::Arena;
use rdmafs_rdma::buffer::BufferPool;
use rdmafs_rdma::clock::{Clock, SystemClock};
use rdmafs_rdma::fabric::{
    ClientOwner, Completion, Crypt, Endpoint, Event, Fabric, FabricKind, Target, Verb, Work,
};
use rdmafs_rdma::key::Key;
use rdmafs_rdma::protocol::Protocol;
use rdmafs_rdma::server::{Peer, PeerHandler, PeerId, Server, ServerConfig};
use rdmafs_rdma::tcp::Tcp;
use rdmafs_rdma::verbs::Verbs;
use std::error::Error;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const ARENA: u64 = 64 << 20;
const LEN: usize = 4096;

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

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [fabric, address, count @ ..] = words.as_slice() else {
        return Err("usage: raw verbs|tcp ADDRESS [COUNT]".into());
    };
    let count: u64 = count.first().map_or(Ok(2000), |word| word.parse())?;
    let (kind, fabric): (_, &dyn Fabric) = match fabric.as_str() {
        "verbs" => (FabricKind::Verbs, &Verbs),
        "tcp" => (FabricKind::Tcp, &Tcp),
        _ => return Err("usage: raw verbs|tcp ADDRESS [COUNT]".into()),
    };
    let run_dir = std::env::temp_dir().join(format!("rdmafs-raw-{}", std::process::id()));
    std::fs::create_dir_all(&run_dir)?;
    let (server, key) = serve(kind, address, &run_dir)?;
    let buffers = BufferPool::new(16, 2)?;
    let target = Target {
        host: address.clone(),
        port: server.address().port(),
        pool: "pool".into(),
        key,
        host_id: "raw".into(),
        step_timeout: Duration::from_secs(30),
        queues: 1,
        crypt: Crypt::Off,
        client_owner: ClientOwner::random()?,
        verbs: Default::default(),
        run_dir: run_dir.clone(),
        buffers: buffers.clone(),
        protocol: Protocol::FIRST,
    };
    let endpoint = fabric.connect(&target)?;
    // The first ones pay for pages and queues that were never used.
    mean(&*endpoint, &buffers, Verb::Write, count / 4)?;
    let read = mean(&*endpoint, &buffers, Verb::Read, count)?;
    let write = mean(&*endpoint, &buffers, Verb::Write, count)?;
    println!("read_us {read:.2} write_us {write:.2}");
    endpoint.close();
    server.close();
    std::fs::remove_dir_all(&run_dir)?;
    Ok(())
}

fn serve(kind: FabricKind, address: &str, run_dir: &Path) -> Result<(Server, Key), Box<dyn Error>> {
    let key = Key::generate()?;
    let config = ServerConfig {
        listen: format!("{address}:0").parse()?,
        pool: "pool".into(),
        key: key.clone(),
        fabrics: vec![kind],
        device: None,
        peers: 64,
        step_timeout: Duration::from_secs(30),
        run_dir: run_dir.to_owned(),
        encrypted: false,
        protocol: Protocol::FIRST,
    };
    let arena = Arc::new(Arena::allocate(ARENA, &mut |_| ())?);
    Ok((Server::open(config, arena, Arc::new(Open))?, key))
}

/// Microseconds for each of `count` operations.
fn mean(
    endpoint: &dyn Endpoint,
    buffers: &BufferPool,
    verb: Verb,
    count: u64,
) -> Result<f64, Box<dyn Error>> {
    let clock = SystemClock::new();
    let mut events = Vec::new();
    let mut place = 1_u64;
    for id in 0..count {
        // A step that is prime to the number of blocks visits them all in no simple order.
        place = (place + 7919) % (ARENA / LEN as u64);
        let work = Work {
            id,
            verb,
            remote: place * LEN as u64,
            buffer: buffers.try_get(LEN).ok_or("no buffer is free")?,
        };
        let mut done = endpoint.post(0, work);
        while done.is_none() {
            endpoint.poll(&mut events);
            if events.is_empty() {
                endpoint.wait(Duration::from_millis(100));
            }
            done = events.drain(..).find_map(completion);
        }
        if let Some(Completion { result, .. }) = done {
            result?;
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    let count = count as f64;
    Ok(clock.now().as_secs_f64() * 1e6 / count)
}

fn completion(event: Event) -> Option<Completion> {
    match event {
        Event::Done(completion) => Some(completion),
        _ => None,
    }
}
