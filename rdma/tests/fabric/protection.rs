//! Who sits in between reads and changes nothing: what protects data on tcp.

use crate::rig::{Client, Rig, Way, connect, target};
use rdmafs_rdma::fabric::{Crypt, FabricKind, Target};
use rdmafs_rdma::protocol::{Protocol, Versions};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const SECRET: &[u8] = b"pay Alice 100, password hunter2";
const FORGED: &[u8] = b"pay Mallo 100, password hunter2";

/// Bytes that a relay passed on, both ways.
type Heard = Arc<Mutex<Vec<u8>>>;

/// An ordinary user's relay on a loopback address; it keeps what it hears and puts `FORGED` in the place of `SECRET` where it can.
fn relay(to: SocketAddr) -> (u16, Heard) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = Heard::default();
    let copy = Arc::clone(&heard);
    std::thread::spawn(move || {
        while let Ok((client, _)) = listener.accept() {
            let Ok(node) = TcpStream::connect(to) else { break };
            for (from, to) in [
                (client.try_clone().unwrap(), node.try_clone().unwrap()),
                (node, client),
            ] {
                let copy = Arc::clone(&copy);
                std::thread::spawn(move || pass_on(from, to, &copy));
            }
        }
    });
    (port, heard)
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, copy: &Mutex<Vec<u8>>) {
    let mut bytes = [0; 4096];
    while let Ok(more @ 1..) = from.read(&mut bytes) {
        copy.lock().unwrap().extend_from_slice(&bytes[..more]);
        let passed = &mut bytes[..more];
        if let Some(at) = passed.windows(SECRET.len()).position(|part| part == SECRET) {
            passed[at..at + FORGED.len()].copy_from_slice(FORGED);
        }
        if to.write_all(passed).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

fn contains(heard: &Heard, what: &[u8]) -> bool {
    heard.lock().unwrap().windows(what.len()).any(|part| part == what)
}

fn through(rig: &Rig, port: u16, crypt: Crypt) -> Target {
    Target {
        crypt,
        ..target(Way::Plain, port, &rig.key, &rig.run_dir)
    }
}

#[test]
fn data_is_plain_only_where_nobody_can_be_in_between() {
    let rig = Rig::new();
    let direct = connect(Way::Plain, &rig.target(Way::Plain)).unwrap();
    assert!(!direct.facts().encrypted, "both ends see one connection");
    let (port, heard) = relay(rig.server.address());
    let target = through(&rig, port, Crypt::Auto);
    let relayed = connect(Way::Plain, &target).unwrap();
    assert!(relayed.facts().encrypted);
    drop((direct, relayed));
    let mut client = Client::connect(Way::Plain, &target);
    client.write(4096, SECRET).unwrap();
    assert_eq!(client.read(4096, SECRET.len()).unwrap(), SECRET);
    assert_eq!(rig.bytes(4096, SECRET.len()), SECRET);
    assert!(!contains(&heard, SECRET), "the relay has read it");
}

#[test]
fn what_is_not_to_be_encrypted_can_be_read_in_between_and_not_changed() {
    let rig = Rig::new();
    let (port, heard) = relay(rig.server.address());
    let mut client = Client::connect(Way::Plain, &through(&rig, port, Crypt::Off));
    client.write(0, b"as it was").unwrap();
    assert_eq!(client.read(0, 9).unwrap(), b"as it was");
    assert!(contains(&heard, b"as it was"));
    // A command with other bytes is none.
    client.write(0, SECRET).unwrap_err();
    assert_eq!(rig.bytes(0, 9), b"as it was");
}

#[test]
fn an_answer_that_was_changed_in_between_is_none() {
    let rig = Rig::new();
    rig.client(Way::Plain).write(0, SECRET).unwrap();
    let (port, _) = relay(rig.server.address());
    let mut client = Client::connect(Way::Plain, &through(&rig, port, Crypt::Off));
    client.read(0, SECRET.len()).unwrap_err();
}

#[test]
fn a_node_can_demand_encryption() {
    let rig = Rig::demanding();
    let port = rig.server.address().port();
    let auto = connect(Way::Plain, &through(&rig, port, Crypt::Auto)).unwrap();
    assert!(auto.facts().encrypted);
    let refused = connect(Way::Plain, &through(&rig, port, Crypt::Off))
        .err()
        .unwrap();
    assert!(refused.to_string().contains("leave crypt=off out"), "{refused}");
}

/// An older end proves nothing, so what is plain with it is what somebody asked for.
#[test]
fn with_an_older_end_data_is_encrypted_unless_that_is_refused() {
    let old = Protocol {
        versions: Versions::new(1, 5).unwrap(),
        features: 0,
    };
    let rig = Rig::with(Duration::from_secs(5), &[FabricKind::Tcp]);
    let demanding = Rig::demanding();
    for (crypt, encrypted) in [(Crypt::Auto, true), (Crypt::On, true), (Crypt::Off, false)] {
        let mut target = through(&rig, rig.server.address().port(), crypt);
        target.protocol = old;
        assert_eq!(
            connect(Way::Plain, &target).unwrap().facts().encrypted,
            encrypted,
            "{crypt:?}"
        );
        let mut target = through(&demanding, demanding.server.address().port(), crypt);
        target.protocol = old;
        assert_eq!(connect(Way::Plain, &target).is_ok(), encrypted, "{crypt:?}");
    }
}
