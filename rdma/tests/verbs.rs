//! The verbs fabric on a real device, between two sides in one process.
//!
//! `scripts/rxe 'RDMAFS_VERBS_TEST=1 target/debug/deps/verbs-HASH --ignored --test-threads 1'` runs it on soft-RoCE. The device's
//! objects are counted: neither other tests nor other programs may use one meanwhile.
#![cfg(feature = "verbs")]
#![allow(clippy::unwrap_used, reason = "a failing helper fails its test")]

#[path = "fabric/rig.rs"]
#[allow(dead_code, reason = "the other test program uses the rest")]
mod rig;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rdmafs_rdma::buffer::BufferPool;
use rdmafs_rdma::clock::{Clock, SystemClock};
use rdmafs_rdma::fabric::{
    ClientOwner, ConnectError, Event, FabricError, FabricKind, MAX_MESSAGE, Verb, VerbsOptions,
};
use rdmafs_rdma::key::Key;
use rig::{ARENA, Client, Rig, Way, connect};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A node that offers verbs. Without a device the test fails, and says why.
fn rig() -> Rig {
    assert!(
        std::env::var_os("RDMAFS_VERBS_TEST").is_some(),
        "these tests need an RDMA device: run them by scripts/rxe, or set RDMAFS_VERBS_TEST=1 where there is one"
    );
    Rig::with(Duration::from_secs(10), &[FabricKind::Verbs, FabricKind::Tcp])
}

/// Objects of a kind (`qp`, `mr`, `pd`, `cq`, `ctx`) that programs have on all devices: these tests only. The kernel's own
/// name no process; the number it shows is a thread's.
fn objects(kind: &str) -> usize {
    let mut command = Command::new("rdma");
    command.args(["resource", "show", kind]);
    let output = command.output().expect("rdma(8) of iproute2");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter(|line| line.contains(" pid ")).count()
}

/// Waits until so many objects are left.
fn until_objects(kind: &str, wanted: usize) {
    for _ in 0..500 {
        if objects(kind) == wanted {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("{} {kind} are left, not {wanted}", objects(kind));
}

#[test]
#[ignore = "needs an RDMA device: scripts/rxe runs it"]
fn facts_are_true_and_objects_are_few() {
    let rig = rig();
    assert_eq!(
        (objects("qp"), objects("mr")),
        (0, 3),
        "the node: the arena twice, and messages"
    );
    let client = rig.client(Way::Verbs);
    let facts = client.endpoint.facts();
    assert_eq!(
        (facts.kind, facts.queues, facts.encrypted),
        (FabricKind::Verbs, 3, false)
    );
    assert!(!facts.device.is_empty());
    let peer = rig.peer_handler.peer();
    let identity = peer.identity();
    assert_eq!(
        (identity.host.as_str(), identity.fabric, identity.pid),
        ("tester", FabricKind::Verbs, None)
    );
    assert_eq!(
        (objects("qp"), objects("mr")),
        (6, 5),
        "the handler adds its buffers and its messages"
    );
}

#[test]
#[ignore = "needs an RDMA device: scripts/rxe runs it"]
fn random_reads_see_what_random_writes_wrote() {
    let rig = rig();
    let mut client = rig.client(Way::Verbs);
    let mut model = vec![0; usize::try_from(ARENA).unwrap()];
    let mut random = SmallRng::seed_from_u64(7);
    for round in 0..200u64 {
        let longest = if round % 10 == 0 { BufferPool::LARGE } else { 9000 };
        let len = random.random_range(1..=longest);
        let at = random.random_range(0..=model.len() - len);
        if random.random() {
            let bytes: Vec<u8> = (0..len).map(|_| random.random()).collect();
            client.write(at as u64, &bytes).unwrap();
            model[at..at + len].copy_from_slice(&bytes);
        } else {
            assert_eq!(client.read(at as u64, len).unwrap(), model[at..at + len]);
        }
    }
    assert!(rig.bytes(0, model.len()) == model);
}

#[test]
#[ignore = "needs an RDMA device: scripts/rxe runs it"]
fn bounds_hold_at_below_and_above_and_the_connection_stays() {
    let rig = rig();
    let mut client = rig.client(Way::Verbs);
    for len in [1, 4096, BufferPool::LARGE] {
        let last = ARENA - len as u64;
        client.write(last, &vec![7; len]).unwrap();
        assert_eq!(client.read(last, len).unwrap(), vec![7; len]);
        for remote in [last + 1, ARENA, ARENA + 1, u64::MAX - len as u64 + 1, u64::MAX] {
            assert_eq!(
                client.write(remote, &vec![1; len]),
                Err(FabricError::AccessRefused)
            );
            assert_eq!(client.read(remote, len), Err(FabricError::AccessRefused));
        }
    }
    assert_eq!(client.read(ARENA - 1, 1).unwrap(), [7]);
}

#[test]
#[ignore = "needs an RDMA device: scripts/rxe runs it"]
fn more_work_than_the_device_takes_waits_and_completes_in_order() {
    let rig = rig();
    let mut target = rig.target(Way::Verbs);
    target.queues = 2;
    target.buffers = BufferPool::new(700, 1).unwrap();
    let mut client = Client::connect(Way::Verbs, &target);
    let ids: Vec<u64> = (0..700u64)
        .map(|number| {
            let mark = u8::try_from(number % 251).unwrap();
            client.post(0, Verb::Write, number * 4096, &[mark; 4096])
        })
        .collect();
    let mut done = Vec::new();
    while done.len() < ids.len() {
        done.push(client.until("a completion", |event| match event {
            Event::Done(done) => Some(done.result.clone().map(|()| done.id).unwrap()),
            _ => None,
        }));
    }
    assert_eq!(done, ids);
    assert_eq!(
        rig.bytes(699 * 4096, 4096),
        [u8::try_from(699 % 251).unwrap(); 4096]
    );
    for number in [0, 250, 699] {
        let mark = u8::try_from(number % 251).unwrap();
        assert_eq!(client.read(number * 4096, 4096).unwrap(), [mark; 4096]);
    }
}

#[test]
#[ignore = "needs an RDMA device: scripts/rxe runs it"]
fn messages_of_every_length_go_both_ways_in_order() {
    let rig = rig();
    let mut client = rig.client(Way::Verbs);
    let lengths = [0, 1, 100, 4075, 4076, 4077, 40_000, MAX_MESSAGE - 1, MAX_MESSAGE];
    for (mark, len) in (1u8..).zip(lengths) {
        client.endpoint.send(&vec![mark; len]).unwrap();
    }
    for (mark, len) in (1u8..).zip(lengths) {
        assert!(client.message() == vec![mark; len], "{len}");
    }
    let too_long = client.endpoint.send(&vec![0; MAX_MESSAGE + 1]);
    assert!(matches!(too_long, Err(FabricError::Protocol(_))));
    for round in 0..2000u32 {
        client.endpoint.send(&round.to_le_bytes()).unwrap();
    }
    for round in 0..2000u32 {
        assert_eq!(client.message(), round.to_le_bytes());
    }
    rig.peer_handler.peer().send(b"of its own accord").unwrap();
    assert_eq!(client.message(), b"of its own accord");
}

#[test]
#[ignore = "needs an RDMA device: scripts/rxe runs it"]
fn work_and_messages_mix() {
    let rig = rig();
    let mut client = rig.client(Way::Verbs);
    for round in 0..100u8 {
        client.endpoint.send(&vec![round; 5000]).unwrap();
        client.write(u64::from(round) * 4096, &[round; 4096]).unwrap();
        assert_eq!(client.message(), vec![round; 5000]);
        assert_eq!(client.read(u64::from(round) * 4096, 4096).unwrap(), [round; 4096]);
    }
}

#[test]
#[ignore = "needs an RDMA device: scripts/rxe runs it"]
fn closing_gives_all_work_back_and_takes_the_queue_pairs_away() {
    let rig = rig();
    let mut client = rig.client(Way::Verbs);
    for number in 0..12 {
        client.post(number, Verb::Read, 0, &vec![0; 1 << 20]);
    }
    client.endpoint.close();
    assert_eq!(client.down(), FabricError::Flushed);
    let back = client
        .events
        .iter()
        .filter(|event| matches!(event, Event::Done(_)))
        .count();
    assert_eq!(back, 12);
    assert!(client.endpoint.send(b"late").is_err());
    let id = client.post(0, Verb::Read, 0, &[0; 8]);
    assert_eq!(client.completion(id).1, Err(FabricError::Flushed));
    rig.peer_handler
        .until("the peer has left", |books| books.left == 1);
    until_objects("qp", 0);
}

#[test]
#[ignore = "needs an RDMA device: scripts/rxe runs it"]
fn a_peer_that_the_node_closes_is_fenced_and_can_come_anew() {
    let rig = rig();
    let target = rig.target(Way::Verbs);
    let mut client = Client::connect(Way::Verbs, &target);
    client.write(0, &[1; 64]).unwrap();
    rig.peer_handler.peer().close();
    rig.peer_handler
        .until("the peer has left", |books| books.left == 1);
    let id = client.post(0, Verb::Write, 0, &[2; 64]);
    assert!(client.completion(id).1.is_err());
    assert!(matches!(client.down(), FabricError::Disconnected(_)));
    assert_eq!(rig.bytes(0, 64), [1; 64], "a fenced peer has written");
    let mut anew = Client::connect(Way::Verbs, &target);
    anew.write(0, &[3; 64]).unwrap();
    assert_eq!(rig.bytes(0, 64), [3; 64]);
}

#[test]
#[ignore = "needs an RDMA device: scripts/rxe runs it"]
fn a_new_connection_replaces_the_one_before_and_no_other() {
    let rig = rig();
    let target = rig.target(Way::Verbs);
    let other = rdmafs_rdma::fabric::Target {
        client_owner: ClientOwner::random().unwrap(),
        ..target.clone()
    };
    let mut stays = Client::connect(Way::Verbs, &other);
    let mut first = Client::connect(Way::Verbs, &target);
    let mut second = Client::connect(Way::Verbs, &target);
    let id = first.post(0, Verb::Write, 0, &[1; 8]);
    assert!(first.completion(id).1.is_err());
    first.down();
    second.write(8, &[2; 8]).unwrap();
    stays.write(16, &[3; 8]).unwrap();
    assert_eq!(rig.bytes(0, 24), [[0; 8], [2; 8], [3; 8]].concat());
}

#[test]
#[ignore = "needs an RDMA device: scripts/rxe runs it"]
fn without_the_key_nobody_gets_a_queue_pair() {
    let rig = rig();
    let before = [objects("qp"), objects("mr"), objects("pd")];
    let mut half_open = rig.target(Way::Verbs);
    half_open.key = Key::generate().unwrap();
    let refused = connect(Way::Verbs, &half_open).err().unwrap();
    assert!(matches!(refused, ConnectError::BadKey { .. }), "{refused}");
    let mut elsewhere = rig.target(Way::Verbs);
    elsewhere.pool = "another".into();
    let refused = connect(Way::Verbs, &elsewhere).err().unwrap();
    assert!(matches!(refused, ConnectError::NoSuchPool { .. }), "{refused}");
    assert_eq!([objects("qp"), objects("mr"), objects("pd")], before);
    assert_eq!(objects("qp"), 0);
}

#[test]
#[ignore = "needs an RDMA device: scripts/rxe runs it"]
fn what_is_not_there_is_named() {
    let rig = rig();
    let said = |options: VerbsOptions| {
        let target = rdmafs_rdma::fabric::Target {
            verbs: options,
            ..rig.target(Way::Verbs)
        };
        connect(Way::Verbs, &target).err().unwrap().to_string()
    };
    let options = VerbsOptions {
        device: Some("mlx9".into()),
        ..VerbsOptions::default()
    };
    assert!(said(options).contains("no RDMA device 'mlx9' (there is "));
    let options = VerbsOptions {
        port: Some(9),
        ..VerbsOptions::default()
    };
    assert!(said(options).contains("port 9"));
    let options = VerbsOptions {
        gid_index: Some(200),
        ..VerbsOptions::default()
    };
    assert!(said(options).contains("index 200"));
    let tcp_only = Rig::with(Duration::from_secs(5), &[FabricKind::Tcp]);
    let said = connect(Way::Verbs, &tcp_only.target(Way::Verbs))
        .err()
        .unwrap()
        .to_string();
    assert!(said.contains("does not offer verbs"), "{said}");
}

#[test]
#[ignore = "needs an RDMA device: scripts/rxe runs it"]
fn a_hundred_connections_leave_nothing_behind() {
    let rig = rig();
    let kinds = ["qp", "mr", "cq", "pd", "ctx"];
    let before = kinds.map(objects);
    for round in 0..100u8 {
        let mut client = Client::connect(Way::Verbs, &rig.target(Way::Verbs));
        client.write(0, &[round; 16]).unwrap();
        if round % 2 == 0 {
            client.endpoint.close();
        }
    }
    rig.peer_handler.until("all have left", |books| books.left == 100);
    for (kind, before) in kinds.into_iter().zip(before) {
        until_objects(kind, before);
    }
    drop(rig);
    kinds.into_iter().for_each(|kind| until_objects(kind, 0));
}

const PART: &str = "RDMAFS_TEST_PART";

/// This program again, as a node or a handler of its own; killed when dropped.
struct Player {
    child: Child,
    /// What it said when it was ready.
    word: String,
}

impl Player {
    fn start(part: &str, dir: &Path, port: u16) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "play_a_part", "--ignored", "--nocapture"])
            .env(PART, format!("{part} {port} {}", dir.display()))
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
}

impl Drop for Player {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Does nothing unless another test started this program to play a part.
#[test]
#[ignore = "needs an RDMA device: scripts/rxe runs it"]
fn play_a_part() {
    let Ok(part) = std::env::var(PART) else { return };
    let mut words = part.splitn(3, ' ');
    let mut word = || words.next().unwrap();
    let (part, port, dir) = (word(), word().parse().unwrap(), Path::new(word()));
    if part == "node" {
        let rig = Rig::at(dir, Duration::from_secs(10), &[FabricKind::Verbs]);
        println!("ready {}", rig.server.address().port());
        park(&rig);
    }
    let key = Key::load(&dir.join("key")).unwrap();
    let client = Client::connect(Way::Verbs, &rig::target(Way::Verbs, port, &key, dir));
    println!("ready handler");
    park(&client);
}

/// Keeps `what` until the process is killed.
fn park<T>(what: &T) -> ! {
    loop {
        std::thread::park();
        std::hint::black_box(what);
    }
}

fn away() -> (tempfile::TempDir, Player, Client) {
    drop(rig());
    let dir = tempfile::tempdir().unwrap();
    let node = Player::start("node", dir.path(), 0);
    let port = node.word.parse().unwrap();
    let key = Key::load(&dir.path().join("key")).unwrap();
    let target = rig::target(Way::Verbs, port, &key, dir.path());
    let client = Client::connect(Way::Verbs, &target);
    (dir, node, client)
}

#[test]
#[ignore = "needs an RDMA device: scripts/rxe runs it"]
fn a_killed_node_ends_all_work_with_an_error_at_once() {
    let (_dir, node, mut client) = away();
    client.write(0, b"alive").unwrap();
    let posted: Vec<_> = (0..12)
        .map(|queue| client.post(queue, Verb::Write, 0, &vec![1; 1_000_000]))
        .collect();
    let start = SystemClock::new();
    drop(node);
    assert!(matches!(client.down(), FabricError::Disconnected(_)));
    // The queue pairs alone would take 4 s to find out.
    assert!(start.now() < Duration::from_secs(3), "{:?}", start.now());
    for id in posted {
        let result = client.completion(id).1;
        assert!(
            matches!(result, Ok(()) | Err(FabricError::Disconnected(_))),
            "{result:?}"
        );
    }
    until_objects("qp", 0);
}

#[test]
#[ignore = "needs an RDMA device: scripts/rxe runs it"]
fn a_stopped_node_is_read_and_written_all_the_same() {
    let (_dir, node, mut client) = away();
    node.signal(Signal::SIGSTOP);
    client.write(4096, &[9; 100_000]).unwrap();
    assert_eq!(client.read(4096, 100_000).unwrap(), vec![9; 100_000]);
    node.signal(Signal::SIGCONT);
    client.endpoint.send(b"awake?").unwrap();
    assert_eq!(client.message(), b"awake?");
}

#[test]
#[ignore = "needs an RDMA device: scripts/rxe runs it"]
fn a_killed_handler_leaves_and_its_queue_pairs_with_it() {
    drop(rig());
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::at(dir.path(), Duration::from_secs(10), &[FabricKind::Verbs]);
    let handler = Player::start("handler", dir.path(), rig.server.address().port());
    rig.peer_handler
        .until("it has arrived", |books| books.arrived == 1);
    assert_eq!(objects("qp"), 6);
    drop(handler);
    rig.peer_handler.until("it has left", |books| books.left == 1);
    until_objects("qp", 0);
}

/// Not a promise: `--nocapture` shows what this device does.
#[test]
#[ignore = "needs an RDMA device: scripts/rxe runs it"]
fn the_bare_fabric_is_measured() {
    let rig = rig();
    let mut client = rig.client(Way::Verbs);
    for verb in [Verb::Read, Verb::Write] {
        let mut times: Vec<Duration> = (0..500)
            .map(|round| {
                let start = SystemClock::new();
                let id = client.post(0, verb, round % 100 * 4096, &[5; 4096]);
                client.completion(id).1.unwrap();
                start.now()
            })
            .collect();
        times.sort();
        let start = SystemClock::new();
        for _ in 0..4 {
            let ids: Vec<u64> = (0..8)
                .map(|at| client.post(0, verb, at << 20, &vec![6; 1 << 20]))
                .collect();
            ids.into_iter().for_each(|id| client.completion(id).1.unwrap());
        }
        let rate = 32.0 / start.now().as_secs_f64();
        println!(
            "{verb:?}: 4 KiB p50 {:?}, 1 MiB x 8 in flight {rate:.0} MiB/s",
            times[250]
        );
        assert!(rate > 0.0);
    }
}
