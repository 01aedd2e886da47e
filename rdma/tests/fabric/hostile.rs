//! Peers that are not what they should be.

use crate::rig::{LIMIT, Rig, WAYS, Way, connect};
use proptest::prelude::*;
use rdmafs_rdma::fabric::{FabricError, FabricKind, Verb};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn socket_file(rig: &Rig) -> std::path::PathBuf {
    rig.run_dir
        .join(format!("node-{}.sock", rig.server.address().port()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn random_bytes_get_nothing_and_the_server_keeps_serving(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        likely: bool,
    ) {
        let rig = Rig::new();
        let mut sent = bytes.clone();
        if likely {
            sent.splice(0..0, *b"\0rdmafs\0\x01\0");
        }
        for local in [false, true] {
            let (reply, said) = if local {
                let mut stream = UnixStream::connect(socket_file(&rig)).unwrap();
                let said = stream.write_all(&sent).and_then(|()| stream.shutdown(Shutdown::Write));
                (read_rest(&mut stream), said)
            } else {
                let mut stream = TcpStream::connect(rig.server.address()).unwrap();
                let said = stream.write_all(&sent).and_then(|()| stream.shutdown(Shutdown::Write));
                (read_rest(&mut stream), said)
            };
            drop(said);
            // Either nothing, or the refusal of a key.
            prop_assert!(reply.is_empty() || reply[10] == 1 && reply[11..].iter().all(|byte| *byte == 0));
        }
        for way in WAYS {
            prop_assert_eq!(rig.client(way).read(0, 3).unwrap(), [0, 0, 0]);
        }
        rig.peer_handler.until("only the honest have arrived", |books| books.arrived == 3);
    }
}

fn read_rest(stream: &mut impl Read) -> Vec<u8> {
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply);
    reply
}

/// Passes one connection on to `to`, and keeps a copy of what the client sent.
fn eavesdrop(to: std::net::SocketAddr) -> (u16, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let copy = Arc::clone(&heard);
    std::thread::spawn(move || {
        while let Ok((client, _)) = listener.accept() {
            let node = TcpStream::connect(to).unwrap();
            let (mut back_from, mut back_to) = (node.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut back_from, &mut back_to));
            let copy = Arc::clone(&copy);
            std::thread::spawn(move || pass_on(client, node, &copy));
        }
    });
    (port, heard)
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, copy: &Mutex<Vec<u8>>) {
    let mut bytes = [0; 4096];
    while let Ok(more @ 1..) = from.read(&mut bytes) {
        copy.lock().unwrap().extend_from_slice(&bytes[..more]);
        if to.write_all(&bytes[..more]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

#[test]
fn a_recorded_set_up_gets_nothing_when_it_is_played_anew() {
    let rig = Rig::with(Duration::from_millis(300), &[FabricKind::Tcp]);
    let (port, heard) = eavesdrop(rig.server.address());
    let mut target = rig.target(Way::Encrypted);
    target.port = port;
    target.queues = 1;
    let endpoint = connect(Way::Encrypted, &target).unwrap();
    endpoint.send(b"quiet").unwrap();
    rig.peer_handler
        .until("the message is there", |books| books.messages.len() == 1);
    let recorded = heard.lock().unwrap().clone();
    let mut anew = TcpStream::connect(rig.server.address()).unwrap();
    anew.write_all(&recorded).unwrap();
    let reply = read_rest(&mut anew);
    assert!(reply.is_empty(), "its opening was answered before");
    rig.peer_handler.until("nothing came of it", |books| {
        books.arrived == 1 && books.messages.len() == 1
    });
}

/// What a handler says first to whoever has taken the port of its node.
fn opening_of_a_handler(rig: &Rig) -> [u8; 66] {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut target = rig.target(Way::Encrypted);
    target.port = listener.local_addr().unwrap().port();
    let handler = std::thread::spawn(move || drop(connect(Way::Encrypted, &target)));
    let mut opening = [0; 66];
    listener.accept().unwrap().0.read_exact(&mut opening).unwrap();
    handler.join().unwrap();
    opening
}

#[test]
fn an_opening_that_somebody_else_recorded_is_answered_once_and_leads_nowhere() {
    let rig = Rig::with(Duration::from_millis(300), &[FabricKind::Tcp, FabricKind::Shm]);
    let opening = opening_of_a_handler(&rig);
    let replay = || {
        let mut stream = TcpStream::connect(rig.server.address()).unwrap();
        stream.write_all(&opening).unwrap();
        read_rest(&mut stream)
    };
    let reply = replay();
    assert_eq!(
        (reply.len(), reply[10]),
        (59, 0),
        "the node never heard it before"
    );
    for _ in 0..3 {
        assert!(replay().is_empty(), "it was answered twice");
    }
    let mut local = UnixStream::connect(socket_file(&rig)).unwrap();
    local.write_all(&opening).unwrap();
    assert!(
        read_rest(&mut local).is_empty(),
        "it was answered by the other listener"
    );
    assert_eq!(rig.client(Way::Encrypted).read(0, 3).unwrap(), [0, 0, 0]);
    rig.peer_handler
        .until("only the honest one has arrived", |books| books.arrived == 1);
}

#[test]
fn silent_connections_are_dropped_and_do_not_stop_others() {
    let rig = Rig::with(Duration::from_millis(500), &[FabricKind::Shm, FabricKind::Tcp]);
    let mut silent: Vec<_> = (0..60)
        .map(|_| TcpStream::connect(rig.server.address()).unwrap())
        .collect();
    drop(rig.client(Way::Plain));
    drop(rig.client(Way::Shm));
    // Far more than there are places for: those beyond are hung up on at once, the others in time.
    silent.extend((0..200).map(|_| TcpStream::connect(rig.server.address()).unwrap()));
    drop(rig.client(Way::Shm));
    for stream in &mut silent {
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        match stream.read(&mut [0]) {
            Ok(0) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            other => panic!("{other:?}"),
        }
    }
    drop(rig.client(Way::Plain));
    rig.peer_handler.until("all have left", |books| books.left == 4);
}

#[test]
fn a_link_that_is_cut_in_the_middle_gives_all_work_back() {
    for way in [Way::Plain, Way::Encrypted] {
        for verb in [Verb::Read, Verb::Write] {
            let rig = Rig::new();
            let mut client = rig.client(way);
            let posted: Vec<_> = (0..15)
                .map(|queue| client.post(queue, verb, 0, &vec![1; 1_000_000]))
                .collect();
            rig.peer_handler.peer().close();
            let down = client.down();
            assert!(matches!(down, FabricError::Disconnected(_)), "{down}");
            for id in posted {
                let result = client.completion(id).1;
                assert!(result.is_ok() || result == Err(down.clone()), "{result:?}");
            }
            rig.peer_handler
                .until("the peer has left", |books| books.left == 1);
        }
    }
}

#[test]
fn queues_are_kept_within_their_bounds() {
    let rig = Rig::new();
    for (asked, got) in [(0, 1), (1, 1), (16, 16), (17, 16), (1000, 16)] {
        let mut target = rig.target(Way::Plain);
        target.queues = asked;
        assert_eq!(connect(Way::Plain, &target).unwrap().facts().queues, got);
    }
}
