//! What registering one memory region per file costs, against one arena: `registration ADDRESS`. For each number of files of 64 KiB:
//! how many regions the device holds, how many bytes they pin, how long registering takes, and how long a handler then takes to
//! connect. The last lines are the arena of the same size, as a node registers it. The table of docs/rdma.md.

use rdmafs_rdma::arena::Arena;
use rdmafs_rdma::buffer::BufferPool;
use rdmafs_rdma::clock::{Clock, SystemClock};
use rdmafs_rdma::fabric::{ClientOwner, Crypt, Fabric, FabricKind, Target, Verb};
use rdmafs_rdma::key::Key;
use rdmafs_rdma::protocol::Protocol;
use rdmafs_rdma::server::{Peer, PeerHandler, PeerId, Server, ServerConfig};
use rdmafs_rdma::verbs::Verbs;
use std::error::Error;
use std::ffi::{c_int, c_void};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

const FILE: usize = 64 << 10;
const COUNTS: [usize; 4] = [1, 100, 1000, 4000];

/// IBV_ACCESS_LOCAL_WRITE, REMOTE_WRITE and REMOTE_READ.
const ACCESS: c_int = 1 | 2 | 4;

// By pointers that are passed by only.
unsafe extern "C" {
    fn ibv_get_device_list(count: *mut c_int) -> *mut *mut c_void;
    fn ibv_open_device(device: *mut c_void) -> *mut c_void;
    fn ibv_alloc_pd(context: *mut c_void) -> *mut c_void;
    fn ibv_reg_mr(domain: *mut c_void, start: *mut c_void, len: usize, access: c_int) -> *mut c_void;
    fn ibv_dereg_mr(region: *mut c_void) -> c_int;
}

type Outcome<T> = Result<T, Box<dyn Error>>;

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

/// The first device, open, with a protection domain. Never freed: the process ends soon.
struct Domain(NonNull<c_void>);

fn main() -> Outcome<()> {
    let address = std::env::args().nth(1).ok_or("usage: registration ADDRESS")?;
    let run_dir = std::env::temp_dir().join(format!("rdmafs-registration-{}", std::process::id()));
    std::fs::create_dir_all(&run_dir)?;
    println!(
        "{:>8} {:>16} {:>12} {:>14} {:>12}",
        "files", "regions", "pinned KiB", "register ms", "connect ms"
    );
    let domain = Domain::open()?;
    for count in COUNTS {
        let mut memory = vec![0_u8; count * FILE];
        let before = pinned()?;
        let clock = SystemClock::new();
        let regions = memory
            .chunks_exact_mut(FILE)
            .map(|file| domain.register(file))
            .collect::<Outcome<Vec<_>>>()?;
        let took = clock.now();
        let pinned = pinned()? - before;
        let connect = connect(&serve(&address, 4096, &run_dir)?, &address, &run_dir)?;
        line(count, regions.len(), pinned, (took, connect));
        for region in regions {
            // SAFETY: registered above, nothing uses it, and its memory is still there.
            unsafe { ibv_dereg_mr(region.as_ptr()) };
        }
    }
    for count in COUNTS {
        let before = pinned()?;
        let clock = SystemClock::new();
        // Opening the server registers the arena; the rest of it (a socket, a thread) is counted too.
        let served = serve(&address, count * FILE, &run_dir)?;
        let took = clock.now() - served.allocating;
        let pinned = pinned()? - before;
        let connect = connect(&served, &address, &run_dir)?;
        line(count, 3, pinned, (took, connect));
    }
    std::fs::remove_dir_all(&run_dir)?;
    Ok(())
}

fn line(files: usize, regions: usize, pinned: u64, (register, connect): (Duration, Duration)) {
    println!(
        "{files:>8} {regions:>16} {pinned:>12} {:>14.2} {:>12.2}",
        register.as_secs_f64() * 1e3,
        connect.as_secs_f64() * 1e3
    );
}

impl Domain {
    fn open() -> Outcome<Self> {
        let mut count = 0;
        // SAFETY: `count` is written before it returns; the list is never freed, so its entries stay.
        let list = unsafe { ibv_get_device_list(&raw mut count) };
        if list.is_null() || count == 0 {
            return Err("this host has no RDMA device".into());
        }
        // SAFETY: the list has `count` entries, at least one.
        let device = unsafe { *list };
        // SAFETY: the device is in the list.
        let context = unsafe { ibv_open_device(device) };
        let context = NonNull::new(context).ok_or_else(std::io::Error::last_os_error)?;
        // SAFETY: the context is open, and never closed.
        let domain = unsafe { ibv_alloc_pd(context.as_ptr()) };
        Ok(Self(
            NonNull::new(domain).ok_or_else(std::io::Error::last_os_error)?,
        ))
    }

    fn register(&self, file: &mut [u8]) -> Outcome<NonNull<c_void>> {
        // SAFETY: the domain is never freed, the memory is the caller's and outlives the region, and no peer is told its key.
        let region = unsafe { ibv_reg_mr(self.0.as_ptr(), file.as_mut_ptr().cast(), file.len(), ACCESS) };
        Ok(NonNull::new(region).ok_or_else(std::io::Error::last_os_error)?)
    }
}

/// A node of our own.
struct Served {
    server: Server,
    key: Key,
    /// What getting and zeroing the memory took, which is no registration.
    allocating: Duration,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.server.close();
    }
}

fn serve(address: &str, memory: usize, run_dir: &Path) -> Outcome<Served> {
    let clock = SystemClock::new();
    let arena = Arc::new(Arena::allocate(memory as u64, &mut |_| ())?);
    let allocating = clock.now();
    let key = Key::generate()?;
    let config = ServerConfig {
        listen: format!("{address}:0").parse()?,
        pool: "pool".into(),
        key: key.clone(),
        fabrics: vec![FabricKind::Verbs],
        device: None,
        peers: 64,
        step_timeout: Duration::from_secs(30),
        run_dir: PathBuf::from(run_dir),
        encrypted: false,
        protocol: Protocol::FIRST,
    };
    let server = Server::open(config, arena, Arc::new(Open))?;
    Ok(Served {
        server,
        key,
        allocating,
    })
}

fn connect(served: &Served, address: &str, run_dir: &Path) -> Outcome<Duration> {
    let target = Target {
        host: address.to_owned(),
        port: served.server.address().port(),
        pool: "pool".into(),
        key: served.key.clone(),
        host_id: "registration".into(),
        step_timeout: Duration::from_secs(30),
        queues: 2,
        crypt: Crypt::Off,
        client_owner: ClientOwner::random()?,
        verbs: Default::default(),
        run_dir: PathBuf::from(run_dir),
        buffers: BufferPool::new(1, 1)?,
        protocol: Protocol::FIRST,
    };
    let clock = SystemClock::new();
    let endpoint = Verbs.connect(&target)?;
    let took = clock.now();
    endpoint.close();
    Ok(took)
}

/// KiB that devices hold in memory for this process.
fn pinned() -> Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmPin:"))
        .ok_or("no VmPin in /proc/self/status")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}
