//! The handler against a memory node in a process of its own, over shm and tcp.
#![allow(clippy::unwrap_used, reason = "a failing helper fails its test")]

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use rdmafs_fs::control::CallTraffic;
use rdmafs_fs::executor::Executor;
use rdmafs_fs::handler::{HandleId, Handler, Mount, OpenMode, ReadData};
use rdmafs_fs::node::{ServeConfig, serve};
use rdmafs_fs::options::{AccessTimes, CacheMode, MountOptions, NodeAddress, Source};
use rdmafs_meta::attr::SetAttr;
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::id::InodeId;
use rdmafs_rdma::clock::{Clock, SystemClock};
use rdmafs_rdma::fabric::{Crypt, FabricKind};
use rdmafs_rdma::qos::share::Share;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

const FABRICS: [FabricKind; 2] = [FabricKind::Shm, FabricKind::Tcp];
const DIR: &str = "RDMAFS_TEST_NODE_DIR";
const MIB: usize = 1 << 20;
const RW: OpenMode = OpenMode {
    read: true,
    write: true,
    append: false,
    truncate: false,
    execute: false,
    direct: false,
    no_access_time: false,
};

/// Not a test of its own: the other tests start this program again with `DIR` set, to be their node.
#[test]
fn serves_when_asked() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else {
        return;
    };
    let config = ServeConfig {
        pool: "test".into(),
        memory: 16 << 20,
        listen: ([127, 0, 0, 1], 0).into(),
        fabrics: FABRICS.to_vec(),
        device: None,
        state: None,
        new: false,
        key: dir.join("key"),
        root_owner: (0, 0),
        root_mode: 0o755,
        metadata: 64 << 20,
        run_dir: dir.clone(),
        lease: Duration::from_secs(10),
        sessions: 64,
        encrypted: false,
        drain: Duration::from_secs(5),
    };
    let ready = |ready: &rdmafs_fs::node::Ready| {
        std::fs::write(dir.join("port.new"), ready.address.port().to_string()).unwrap();
        std::fs::rename(dir.join("port.new"), dir.join("port")).unwrap();
    };
    serve(config, |_| (), ready).unwrap();
}

struct Node {
    child: Child,
    dir: tempfile::TempDir,
    port: u16,
}

impl Node {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "serves_when_asked", "--nocapture"])
            .env(DIR, dir.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let port = loop {
            assert!(child.try_wait().unwrap().is_none(), "the node ended early");
            match std::fs::read_to_string(dir.path().join("port")) {
                Ok(port) => break port.parse().unwrap(),
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        Self { child, dir, port }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        kill(pid, signal).unwrap();
        if signal == Signal::SIGSTOP {
            // Its last thread has stopped when its parent is told.
            waitpid(pid, Some(WaitPidFlag::WUNTRACED)).unwrap();
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

fn options(dir: &Path, fabric: Option<FabricKind>) -> MountOptions {
    MountOptions {
        fabric,
        key: dir.join("key"),
        crypt: Crypt::Auto,
        verbs: Default::default(),
        timeout_ms: 1000,
        commit_s: 5,
        idmap: false,
        cache: CacheMode::None,
        share: Share::default(),
        read_only: false,
        access_times: AccessTimes::default(),
        root: None,
    }
}

struct Client {
    handler: Arc<Handler>,
    executor: Executor,
    mount: Arc<Mount>,
    note: String,
}

impl Client {
    fn new(node: &Node, fabric: Option<FabricKind>) -> Self {
        let executor = Executor::start();
        let handler = Handler::new(executor.clone(), node.dir.path().to_owned());
        let (mount, note) = handler
            .mount(&source(node), &options(node.dir.path(), fabric))
            .unwrap();
        Self {
            handler,
            executor,
            mount,
            note,
        }
    }

    fn create(&self, name: &str) -> (InodeId, HandleId) {
        let at = (InodeId::ROOT, name.into());
        let making = self
            .mount
            .clone()
            .create(Credentials::root(), at, 0o644, RW, true);
        let (entry, opened) = self.executor.block_on(making).unwrap();
        (entry.attr.ino, opened.handle)
    }

    fn write(&self, file: HandleId, offset: u64, bytes: &[u8]) -> Result<usize, i32> {
        let mut buffer = self
            .executor
            .block_on(self.mount.clone().wait_buffer(bytes.len()))
            .unwrap();
        buffer.copy_from_slice(bytes);
        let writing = self.mount.clone().write(file, offset, buffer, false);
        self.executor.block_on(writing).map_err(|error| error.errno())
    }

    fn read(&self, file: HandleId, offset: u64, len: usize) -> Result<Vec<u8>, i32> {
        match self.executor.block_on(self.mount.clone().read(file, offset, len)) {
            Ok(ReadData::Bytes(buffer)) => Ok(buffer.to_vec()),
            Ok(ReadData::Zeros(len)) => Ok(vec![0; len]),
            Ok(ReadData::End) => Ok(Vec::new()),
            Err(error) => Err(error.errno()),
        }
    }

    fn size(&self, ino: InodeId) -> Result<u64, i32> {
        let asked = self
            .executor
            .block_on(self.mount.clone().getattr(Credentials::root(), ino));
        asked.map(|entry| entry.attr.size).map_err(|error| error.errno())
    }

    fn truncate(&self, ino: InodeId, size: u64) {
        let change = SetAttr {
            size: Some(size),
            ..SetAttr::default()
        };
        let cutting = self.mount.clone().setattr(Credentials::root(), ino, change, None);
        self.executor.block_on(cutting).unwrap();
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.mount.close();
    }
}

fn source(node: &Node) -> Source {
    Source {
        nodes: vec![NodeAddress {
            host: "127.0.0.1".into(),
            port: node.port,
        }],
        pool: "test".into(),
        directory: Vec::new(),
    }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from(at % 251).unwrap() | 1).collect()
}

#[test]
fn bytes_travel_and_come_back_on_every_fabric() {
    let node = Node::start();
    for fabric in FABRICS {
        let client = Client::new(&node, Some(fabric));
        assert_eq!(client.note, fabric.name());
        let (ino, file) = client.create(fabric.name());
        let bytes = pattern(3 * MIB);
        for (at, part) in bytes.chunks(MIB).enumerate() {
            assert_eq!(client.write(file, (at * MIB) as u64, part), Ok(MIB));
        }
        assert_eq!(
            client.read(file, MIB as u64 - 5, MIB).unwrap(),
            bytes[MIB - 5..2 * MIB - 5]
        );
        client.truncate(ino, 100);
        client.truncate(ino, 5000);
        let got = client.read(file, 0, MIB).unwrap();
        assert_eq!(
            (&got[..100], got[100..].iter().all(|byte| *byte == 0)),
            (&bytes[..100], true)
        );
        let (_, all) = client.create(&format!("all-{}", fabric.name()));
        assert_eq!(client.write(all, 15 << 20, b"x"), Ok(1));
        let left = client
            .executor
            .block_on(client.mount.clone().statfs(InodeId::ROOT))
            .unwrap();
        // Two granules of the first file (cut at 100), one of the second; twice for the second fabric.
        assert!(left.space.total - left.space.free <= 6 * 4096, "{left:?}");
    }
}

#[test]
fn two_hosts_share_a_pool_over_different_fabrics() {
    let node = Node::start();
    let near = Client::new(&node, Some(FabricKind::Shm));
    let far = Client::new(&node, Some(FabricKind::Tcp));
    let (ino, file) = near.create("f");
    near.write(file, 0, b"near").unwrap();
    near.executor.block_on(near.mount.clone().flush(file)).unwrap();
    let opened = far
        .executor
        .block_on(far.mount.clone().open(Credentials::root(), ino, RW))
        .unwrap();
    assert_eq!(far.read(opened.handle, 0, 10).unwrap(), b"near");
    far.truncate(ino, 0);
    far.write(opened.handle, 0, b"far away").unwrap();
    far.executor
        .block_on(far.mount.clone().flush(opened.handle))
        .unwrap();
    assert_eq!(near.read(file, 0, 10).unwrap(), b"far away");
}

#[test]
fn mounts_of_one_handler_share_the_link_and_the_note_says_why_it_is_this_one() {
    let node = Node::start();
    let client = Client::new(&node, None);
    assert_eq!(client.note, "shm");
    // How long they are up is not what is compared.
    let links = || {
        let mut links = client.handler.links();
        for link in &mut links {
            (link.for_ms, link.calls) = (0, CallTraffic::default());
        }
        links
    };
    let before = links();
    let (second, _) = client
        .handler
        .mount(&source(&node), &options(node.dir.path(), None))
        .unwrap();
    assert_eq!(links(), before);
    assert_eq!(client.handler.pools()[0].total, 16 << 20);
    second.close();
    assert_eq!(before.len(), 1);
    assert_eq!(links(), before, "the first mount still uses it");
    client.mount.close();
    assert!(links().is_empty());
}

#[test]
fn without_the_nodes_socket_auto_takes_tcp_and_says_so() {
    let node = Node::start();
    let elsewhere = tempfile::tempdir().unwrap();
    let handler = Handler::new(Executor::start(), elsewhere.path().to_owned());
    let (mount, note) = handler
        .mount(&source(&node), &options(node.dir.path(), None))
        .unwrap();
    assert!(
        note.starts_with("tcp; no shm: ") && note.contains("; no verbs: "),
        "{note}"
    );
    mount.close();
    let refused = handler.mount(&source(&node), &options(node.dir.path(), Some(FabricKind::Shm)));
    assert!(refused.err().unwrap().to_string().starts_with("fabric=shm: "));
    let refused = handler.mount(&source(&node), &options(elsewhere.path(), None));
    assert!(refused.err().unwrap().to_string().contains("key"));
}

#[test]
fn a_stopped_node_is_eio_in_time_and_works_anew_afterwards() {
    let clock = SystemClock::new();
    for fabric in FABRICS {
        let node = Node::start();
        let client = Client::new(&node, Some(fabric));
        let (ino, file) = client.create("f");
        client.write(file, 0, b"bytes").unwrap();
        client
            .executor
            .block_on(client.mount.clone().flush(file))
            .unwrap();
        node.signal(Signal::SIGSTOP);
        let start = clock.now();
        // Attributes that are held by lease are answered without the node.
        let asked = client
            .executor
            .block_on(client.mount.clone().statfs(InodeId::ROOT));
        assert_eq!(asked.map_err(|error| error.errno()), Err(libc::EIO), "{fabric:?}");
        assert!(clock.now() - start < Duration::from_secs(3));
        node.signal(Signal::SIGCONT);
        let limit = clock.now() + Duration::from_secs(20);
        while client.read(file, 0, 5).as_deref() != Ok(b"bytes") || client.size(ino) != Ok(5) {
            assert!(clock.now() < limit, "{fabric:?} did not recover");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn a_dead_node_is_eio_in_time() {
    let clock = SystemClock::new();
    for fabric in FABRICS {
        let mut node = Node::start();
        let client = Client::new(&node, Some(fabric));
        let (ino, file) = client.create("f");
        client.write(file, 0, b"bytes").unwrap();
        node.child.kill().unwrap();
        node.child.wait().unwrap();
        let start = clock.now();
        // Until the death is noticed, the mapped bytes of the dead node can still be read; no fsync succeeds on them.
        let synced = client.executor.block_on(client.mount.clone().fsync(file));
        assert_eq!(synced.map_err(|error| error.errno()), Err(libc::EIO));
        while client.handler.links()[0].state == "up" {
            assert!(clock.now() - start < Duration::from_secs(2), "{fabric:?}");
            std::thread::yield_now();
        }
        assert_eq!(client.read(file, 0, 5), Err(libc::EIO), "{fabric:?}");
        assert_eq!(client.write(file, 0, b"more!"), Err(libc::EIO), "{fabric:?}");
        assert_eq!(client.size(ino), Err(libc::EIO), "{fabric:?}");
        assert!(clock.now() - start < Duration::from_secs(6));
        assert_eq!(client.handler.links()[0].state, "down");
    }
}
