//! Nodes and handlers that are processes of their own: stopped, killed.
//!
//! A child is this test binary, told by its environment to run one "test" that plays its part.

use crate::rig::{Client, Rig, WAYS, Way, target};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rdmafs_rdma::clock::{Clock, SystemClock};
use rdmafs_rdma::fabric::{FabricError, FabricKind, Verb};
use rdmafs_rdma::key::Key;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const PART: &str = "RDMAFS_TEST_PART";
const WAY: &str = "RDMAFS_TEST_WAY";
const DIR: &str = "RDMAFS_TEST_DIR";
const PORT: &str = "RDMAFS_TEST_PORT";

/// A child that plays a part; killed when dropped.
struct Player {
    child: Child,
    /// What it said first.
    word: String,
}

impl Player {
    fn start(part: &str, dir: &Path, port: u16, way: Way) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "process::play_a_part", "--nocapture"])
            .env(PART, part)
            .env(DIR, dir)
            .env(PORT, port.to_string())
            .env(WAY, format!("{way:?}"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let word = lines
            .map(Result::unwrap)
            .find_map(|line| Some(line.split_once("ready ")?.1.to_owned()));
        let word = word.expect("the child is ready");
        Self { child, word }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    fn node(dir: &Path) -> (Self, u16) {
        let node = Self::start("node", dir, 0, Way::Shm);
        let port = node.word.parse().unwrap();
        (node, port)
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn play_a_part() {
    let Ok(part) = std::env::var(PART) else {
        return;
    };
    let dir = std::env::var(DIR).unwrap();
    let dir = Path::new(&dir);
    if part == "node" {
        let rig = Rig::at(dir, Duration::from_secs(5), &[FabricKind::Shm, FabricKind::Tcp]);
        println!("ready {}", rig.server.address().port());
        park(rig);
    }
    let port = std::env::var(PORT).unwrap().parse().unwrap();
    let way = WAYS
        .into_iter()
        .find(|way| std::env::var(WAY).unwrap() == format!("{way:?}"))
        .unwrap();
    let key = Key::load(&dir.join("key")).unwrap();
    let client = Client::connect(way, &target(way, port, &key, dir));
    println!("ready client");
    park(client);
}

/// Keeps `what` until the process is killed.
fn park<T>(what: T) -> ! {
    loop {
        std::thread::park();
        std::hint::black_box(&what);
    }
}

#[test]
fn a_killed_node_ends_all_work_with_an_error() {
    for way in WAYS {
        let dir = tempfile::tempdir().unwrap();
        let (node, port) = Player::node(dir.path());
        let key = Key::load(&dir.path().join("key")).unwrap();
        let mut client = Client::connect(way, &target(way, port, &key, dir.path()));
        client.write(0, b"alive").unwrap();
        let posted: Vec<_> = (0..12)
            .map(|queue| client.post(queue, Verb::Write, 0, &vec![1; 1_000_000]))
            .collect();
        drop(node);
        let down = client.down();
        assert!(matches!(down, FabricError::Disconnected(_)), "{way:?} {down}");
        for id in posted {
            let result = client.completion(id).1;
            assert!(
                matches!(result, Ok(()) | Err(FabricError::Disconnected(_))),
                "{way:?} {result:?}"
            );
        }
        assert_eq!(
            client.write(0, &[1]),
            Err(down.clone()),
            "no write into an orphan"
        );
        assert_eq!(client.endpoint.send(b"late"), Err(down));
        let (_node, port) = Player::node(dir.path());
        let mut anew = Client::connect(way, &target(way, port, &key, dir.path()));
        assert_eq!(anew.read(0, 5).unwrap(), [0; 5], "a new life, zeroed");
    }
}

#[test]
fn a_stopped_node_blocks_nobody() {
    for way in WAYS {
        let dir = tempfile::tempdir().unwrap();
        let (node, port) = Player::node(dir.path());
        let key = Key::load(&dir.path().join("key")).unwrap();
        let mut client = Client::connect(way, &target(way, port, &key, dir.path()));
        client.write(0, b"alive").unwrap();
        node.signal(Signal::SIGSTOP);
        // Each of these would hang for ever if anything blocked on the node.
        let posted: Vec<_> = (0..15)
            .map(|queue| client.post(queue, Verb::Write, 0, &vec![1; 1_000_000]))
            .collect();
        let mut sent = 0;
        let error = loop {
            match client
                .endpoint
                .send(b"quiet, and long enough to fill a queue".repeat(1000).as_slice())
            {
                Ok(()) => sent += 1,
                Err(error) => break error,
            }
            client.endpoint.poll(&mut client.events);
            assert!(sent < 5000);
        };
        assert_eq!(error, FabricError::Full);
        client.endpoint.wait(Duration::from_millis(1));
        node.signal(Signal::SIGCONT);
        for id in posted {
            client.completion(id).1.unwrap();
        }
        for _ in 0..sent {
            assert!(client.message().starts_with(b"quiet"));
        }
        node.signal(Signal::SIGSTOP);
        let posted = client.post(0, Verb::Read, 0, &[0; 10]);
        client.endpoint.close();
        let result = client.completion(posted).1;
        assert!(matches!(result, Ok(()) | Err(FabricError::Flushed)), "{result:?}");
        assert_eq!(client.down(), FabricError::Flushed);
    }
}

#[test]
fn a_killed_handler_leaves_and_a_stopped_one_does_not() {
    for way in WAYS {
        let rig = Rig::with(Duration::from_secs(1), &[FabricKind::Shm, FabricKind::Tcp]);
        let handler = Player::start("handler", &rig.run_dir, rig.server.address().port(), way);
        rig.peer_handler
            .until("it has arrived", |books| books.arrived == 1);
        handler.signal(Signal::SIGSTOP);
        if way == Way::Shm {
            // It maps the arena and cannot let go: it has not left, whatever the node does.
            let clock = SystemClock::new();
            rig.server.close();
            assert!(
                clock.now() < Duration::from_millis(1500),
                "{:?} to close",
                clock.now()
            );
            rig.peer_handler.until("it is here", |books| books.left == 0);
        } else {
            drop(handler);
            rig.peer_handler.until("it has left", |books| books.left == 1);
        }
    }
    let rig = Rig::new();
    let handler = Player::start("handler", &rig.run_dir, rig.server.address().port(), Way::Shm);
    rig.peer_handler.peer().close();
    drop(handler);
    rig.peer_handler.until("it has left", |books| books.left == 1);
}
