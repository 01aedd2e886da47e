//! More than there is room for: half-open connections, peers, garbage. Those who are here do not notice, and the honest come in.

use crate::rig::{LIMIT, Rig, WAYS, Way, connect};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect as dial, socket};
use rdmafs_rdma::clock::{Clock, SystemClock};
use rdmafs_rdma::fabric::{ConnectError, Crypt, FabricError, FabricKind, Target};
use rdmafs_rdma::protocol::Protocol;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// A limit of descriptors under which a listener has room for 512 half-open connections.
const DESCRIPTORS: u64 = 4096;
/// Strangers beyond that.
const FLOOD: usize = 700;
/// Nobody's time is up during a test.
const LONG: Duration = Duration::from_secs(60);

fn raise_descriptors() {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let wanted = DESCRIPTORS.min(hard);
    assert!(
        wanted >= DESCRIPTORS,
        "this test needs {DESCRIPTORS} descriptors, {hard} are allowed"
    );
    if soft != wanted {
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).unwrap();
    }
}

fn hung_up_on(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    match stream.read(&mut [0; 64]) {
        Ok(0) => true,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        Ok(_) => false,
    }
}

fn still_there(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let found = stream.read(&mut [0]);
    found.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

fn from_address(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = socket(
        AddressFamily::Inet,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )
    .unwrap();
    let [a, b, c, d] = from.octets();
    bind(socket.as_raw_fd(), &SockaddrIn::new(a, b, c, d, 0)).unwrap();
    let SocketAddr::V4(to) = to else { panic!("{to}") };
    dial(socket.as_raw_fd(), &SockaddrIn::from(to)).unwrap();
    socket.into()
}

#[test]
fn a_half_open_connection_has_one_time_limit_however_it_cuts_its_bytes() {
    let step = Duration::from_millis(600);
    let rig = Rig::with(step, &[FabricKind::Tcp]);
    let clock = SystemClock::new();
    let mut stream = TcpStream::connect(rig.server.address()).unwrap();
    let opening = b"\0rdmafs\0\x01\0".iter().chain(&[7; 56]);
    for byte in opening {
        if stream.write_all(&[*byte]).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
        stream.set_nonblocking(true).unwrap();
        if !matches!(stream.read(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock) {
            break;
        }
    }
    let held = clock.now();
    // All of it would have taken 6.6 s.
    assert!(held >= step && held < Duration::from_secs(5), "{held:?}");
}

#[test]
fn in_a_flood_the_oldest_half_open_connections_go_and_the_honest_come_in() {
    raise_descriptors();
    let rig = Rig::with(LONG, &[FabricKind::Shm, FabricKind::Tcp]);
    let mut elsewhere = from_address(Ipv4Addr::new(127, 0, 0, 9), rig.server.address());
    let mut flood = Vec::new();
    for number in 0..FLOOD {
        flood.push(TcpStream::connect(rig.server.address()).unwrap());
        if number % 100 == 99 {
            for way in WAYS {
                assert_eq!(rig.client(way).read(0, 3).unwrap(), [0; 3], "{way:?}");
            }
        }
    }
    assert!(hung_up_on(&mut flood[0]), "one goes for each that comes");
    let held = flood
        .iter_mut()
        .filter_map(|stream| still_there(stream).then_some(()))
        .count();
    assert!(held <= 512 && held > 400, "{held} are held");
    assert!(still_there(flood.last_mut().unwrap()), "the last has come");
    assert!(
        still_there(&mut elsewhere),
        "who comes from elsewhere is not in their crowd"
    );
}

/// Passes connections on to a node; each is held up after its opening until `go`.
struct Relay {
    port: u16,
    going: Arc<(Mutex<bool>, Condvar)>,
    /// The node's ends, in order.
    to_node: Arc<Mutex<Vec<TcpStream>>>,
}

impl Relay {
    fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let relay = Self {
            port,
            going: Arc::default(),
            to_node: Arc::default(),
        };
        let (going, to_node) = (Arc::clone(&relay.going), Arc::clone(&relay.to_node));
        std::thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                let node = TcpStream::connect(to).unwrap();
                to_node.lock().unwrap().push(node.try_clone().unwrap());
                let (mut back_from, mut back_to) = (node.try_clone().unwrap(), client.try_clone().unwrap());
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut back_from, &mut back_to);
                    let _ = back_to.shutdown(std::net::Shutdown::Both);
                });
                let going = Arc::clone(&going);
                std::thread::spawn(move || pass_on(client, node, &going));
            }
        });
        relay
    }

    fn go(&self) {
        *self.going.0.lock().unwrap() = true;
        self.going.1.notify_all();
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, going: &(Mutex<bool>, Condvar)) {
    let mut opening = [0; 66];
    if from.read_exact(&mut opening).is_ok() && to.write_all(&opening).is_ok() {
        let held = going.0.lock().unwrap();
        drop(going.1.wait_while(held, |going| !*going).unwrap());
        let _ = std::io::copy(&mut from, &mut to);
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}

#[test]
fn who_has_proved_a_key_is_not_pushed_out_by_half_open_connections() {
    raise_descriptors();
    let rig = Rig::with(LONG, &[FabricKind::Tcp]);
    let relay = Relay::start(rig.server.address());
    let mut target = rig.target(Way::Plain);
    (target.port, target.step_timeout) = (relay.port, LONG);
    let honest =
        std::thread::spawn(move || connect(Way::Plain, &target).map(|endpoint| endpoint.facts().queues));
    rig_waits_for(&relay, 1);
    let _flood: Vec<_> = (0..FLOOD)
        .map(|_| TcpStream::connect(rig.server.address()).unwrap())
        .collect();
    // It has been let in behind all of them.
    drop(rig.client(Way::Plain));
    relay.go();
    assert_eq!(honest.join().unwrap().unwrap(), 3);
}

fn rig_waits_for(relay: &Relay, connections: usize) {
    for _ in 0..LIMIT.as_millis() / 10 {
        if relay.to_node.lock().unwrap().len() >= connections {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("never: {connections} connections");
}

#[test]
fn peers_have_a_limit_that_is_named_and_a_place_is_given_back() {
    for way in WAYS {
        let rig = Rig::of(2);
        let first = rig.client(Way::Shm);
        let second = rig.client(Way::Encrypted);
        rig.peer_handler
            .until("both are here", |books| books.here.len() == 2);
        let refused = connect(way, &rig.target(way)).err().expect("a third");
        assert!(
            matches!(refused, ConnectError::TooManySessions { most: 2, .. }),
            "{refused}"
        );
        let said = refused.to_string();
        assert!(
            said.contains("as many sessions as it takes (2)") && said.contains("--sessions"),
            "{said}"
        );
        drop(first);
        rig.peer_handler.until("one has left", |books| books.left == 1);
        let third = (0..100).find_map(|_| {
            std::thread::sleep(Duration::from_millis(20));
            connect(way, &rig.target(way)).ok()
        });
        assert!(third.is_some(), "{way:?}: the place stays taken");
        drop(second);
    }
}

/// As an older handler, whose data is plain by a relay too.
fn by_relay(rig: &Rig, way: Way, port: u16) -> Target {
    let mut target = rig.target(way);
    (target.port, target.protocol) = (port, Protocol::FIRST);
    if way == Way::Plain {
        target.crypt = Crypt::Off;
    }
    target
}

#[test]
fn garbage_behind_a_right_set_up_ends_that_peer_and_no_other() {
    for way in [Way::Plain, Way::Encrypted] {
        // Its control connection, and each of its data connections.
        for connection in 0..4 {
            let forged = [&[20, 0][..], &[9; 100]].concat();
            for garbage in [&forged[..], &[0; 70_000], &[0xff; 200_000]] {
                let rig = Rig::new();
                let mut good = rig.client(way);
                let relay = Relay::start(rig.server.address());
                relay.go();
                let target = by_relay(&rig, way, relay.port);
                let bad = connect(way, &target).unwrap();
                rig.peer_handler
                    .until("it has arrived", |books| books.arrived == 2);
                let mut stream = relay.to_node.lock().unwrap()[connection].try_clone().unwrap();
                let _ = stream.write_all(garbage);
                rig.peer_handler
                    .until("it was hung up on", |books| books.left == 1);
                assert_eq!(good.read(0, 3), Ok(vec![0; 3]), "{way:?} {connection}");
                drop(bad);
            }
        }
    }
}

#[test]
fn half_a_request_holds_up_nobody_else() {
    for connection in 0..4 {
        let rig = Rig::new();
        let relay = Relay::start(rig.server.address());
        relay.go();
        let target = by_relay(&rig, Way::Plain, relay.port);
        let bad = connect(Way::Plain, &target).unwrap();
        let mut stream = relay.to_node.lock().unwrap()[connection].try_clone().unwrap();
        // The length of a record on the control connection; half a head of a request on the others.
        stream.write_all(&[0xff; 2]).unwrap();
        let mut good = rig.client(Way::Plain);
        for _ in 0..100 {
            assert_eq!(good.write(0, &[1; 4096]), Ok(()));
        }
        assert_eq!(good.read(0, 1), Ok(vec![1]));
        // And it does not hold up the end either.
        rig.server.close();
        rig.peer_handler.until("both have left", |books| books.left == 2);
        assert!(matches!(good.down(), FabricError::Disconnected(_)));
        drop(bad);
    }
}
