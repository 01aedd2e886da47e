//! Who is let in, and what the others are told.

use crate::rig::{Rig, SPOKEN, WAYS, Way, connect};
use rdmafs_rdma::arena::Arena;
use rdmafs_rdma::fabric::{ConnectError, FabricKind};
use rdmafs_rdma::key::Key;
use rdmafs_rdma::server::{Server, ServerConfig};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::Duration;

fn error(way: Way, target: &rdmafs_rdma::fabric::Target) -> ConnectError {
    connect(way, target).err().expect("it must not be let in")
}

#[test]
fn a_wrong_key_and_an_unknown_id_are_refused_alike() {
    for way in WAYS {
        let rig = Rig::new();
        let mut target = rig.target(way);
        target.key = Key::generate().unwrap();
        let unknown = error(way, &target);
        target.key.id = rig.key.id;
        let wrong = error(way, &target);
        assert!(matches!(wrong, ConnectError::BadKey { .. }), "{wrong}");
        assert_eq!(unknown.to_string(), wrong.to_string());
        let wanted = format!(
            "{} refused the key: another pool than '{}' is served there, or it has another key: use the key file that 'rdmafs serve' wrote there (option key=FILE)",
            target.address(),
            target.pool
        );
        assert_eq!(wrong.to_string(), wanted);
        rig.server.close();
        rig.peer_handler
            .until("nobody has arrived", |books| books.arrived == 0);
    }
}

#[test]
fn another_pool_is_named() {
    for way in WAYS {
        let rig = Rig::new();
        let mut target = rig.target(way);
        target.pool = "other".into();
        let said = error(way, &target);
        assert!(matches!(said, ConnectError::NoSuchPool { .. }));
        let wanted = format!(
            "{} serves no pool 'other': the name after ':/' must be that of its --pool",
            target.address()
        );
        assert_eq!(said.to_string(), wanted);
    }
}

#[test]
fn a_fabric_that_is_not_offered_is_not_here() {
    let rig = Rig::with(Duration::from_secs(5), &[FabricKind::Shm]);
    let said = error(Way::Plain, &rig.target(Way::Plain));
    assert!(
        matches!(&said, ConnectError::NotHere(why) if why.ends_with("does not offer tcp")),
        "{said}"
    );
    drop(connect(Way::Shm, &rig.target(Way::Shm)).unwrap());
    let rig = Rig::with(Duration::from_secs(5), &[FabricKind::Tcp]);
    let said = error(Way::Shm, &rig.target(Way::Shm));
    assert!(
        matches!(&said, ConnectError::NotHere(why) if why.contains("no node of this host offers shm")),
        "{said}"
    );
    drop(connect(Way::Plain, &rig.target(Way::Plain)).unwrap());
}

#[test]
fn shm_says_why_it_cannot_be() {
    let rig = Rig::new();
    let mut target = rig.target(Way::Shm);
    target.host = "192.0.2.1".into();
    let said = error(Way::Shm, &target).to_string();
    assert_eq!(said, "192.0.2.1 is another host");
    let mut target = rig.target(Way::Shm);
    let path = rig.run_dir.join("node-9.sock");
    drop(UnixListener::bind(&path).unwrap());
    target.port = 9;
    let said = error(Way::Shm, &target).to_string();
    assert!(said.contains("node-9.sock any more"), "{said}");
    target.host = "no-such-host.invalid".into();
    assert!(matches!(error(Way::Shm, &target), ConnectError::Resolve { .. }));
    assert!(matches!(error(Way::Plain, &target), ConnectError::Resolve { .. }));
}

#[test]
fn nobody_there_is_unreachable() {
    let rig = Rig::new();
    let target = rig.target(Way::Plain);
    rig.server.close();
    let said = error(Way::Plain, &target);
    assert!(matches!(said, ConnectError::Unreachable { .. }));
    assert!(said.to_string().contains("rdmafs serve"));
}

/// A server that says `words` to whoever connects and keeps the connection for as long as the caller wants.
fn half_open(words: &'static [u8]) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let _ = stream.write_all(words);
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    address
}

#[test]
fn what_is_no_memory_node_is_called_so_and_holds_nobody_up() {
    let rig = Rig::new();
    let mut target = rig.target(Way::Plain);
    target.port = half_open(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").port();
    let said = error(Way::Plain, &target).to_string();
    assert!(said.contains("does not speak the rdmafs protocol"), "{said}");
    target.port = half_open(b"").port();
    target.step_timeout = Duration::from_millis(100);
    let said = error(Way::Plain, &target);
    assert!(
        matches!(said, ConnectError::TimedOut { step: "key", .. }),
        "{said}"
    );
}

#[test]
fn versions_that_differ_are_both_named() {
    let rig = Rig::new();
    let mut target = rig.target(Way::Plain);
    target.port = half_open(b"\0rdmafs\0\x63\0\x02 and whatever version 99 adds").port();
    let said = error(Way::Plain, &target);
    assert!(
        matches!(
            said,
            ConnectError::Version {
                theirs: 99,
                ours: 1,
                ..
            }
        ),
        "{said}"
    );
    let mut stream = std::net::TcpStream::connect(rig.server.address()).unwrap();
    stream.write_all(b"\0rdmafs\0\x63\0").unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).unwrap();
    assert_eq!(&reply[..11], b"\0rdmafs\0\x01\0\x02");
}

#[test]
fn the_socket_file_is_private_replaced_when_stale_and_respected_when_live() {
    let rig = Rig::new();
    let path = rig
        .run_dir
        .join(format!("node-{}.sock", rig.server.address().port()));
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let open = |listen: &str| {
        let config = ServerConfig {
            listen: listen.parse().unwrap(),
            pool: "pool".into(),
            key: rig.key.clone(),
            fabrics: vec![FabricKind::Shm],
            device: None,
            peers: 64,
            step_timeout: Duration::from_secs(1),
            run_dir: rig.run_dir.clone(),
            encrypted: false,
            protocol: SPOKEN,
        };
        let arena = Arc::new(Arena::allocate(4096, &mut |_| ()).unwrap());
        Server::open(config, arena, Arc::new(crate::rig::TestPeerHandler::default()))
    };
    let other_address = format!("127.0.0.2:{}", rig.server.address().port());
    let said = open(&other_address).unwrap_err().to_string();
    assert!(said.contains("another memory node uses this socket"), "{said}");
    let said = open(&rig.server.address().to_string()).unwrap_err().to_string();
    assert!(
        said.starts_with(&format!("cannot listen on {}", rig.server.address())),
        "{said}"
    );
    rig.server.close();
    assert!(!path.exists());
    drop(UnixListener::bind(&path).unwrap());
    let server = open(&other_address).unwrap();
    drop(server);
    assert!(!path.exists());
    std::fs::write(&path, "not a socket").unwrap();
    assert!(
        open(&other_address)
            .unwrap_err()
            .to_string()
            .contains("no socket")
    );
    assert!(path.exists());
}

#[test]
fn sim_is_not_offered_by_a_server() {
    let config = ServerConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        pool: "pool".into(),
        key: Key::generate().unwrap(),
        fabrics: vec![FabricKind::Tcp, FabricKind::Sim],
        device: None,
        peers: 64,
        step_timeout: Duration::from_secs(1),
        run_dir: "/nonexistent".into(),
        encrypted: false,
        protocol: SPOKEN,
    };
    let arena = Arc::new(Arena::allocate(4096, &mut |_| ()).unwrap());
    let said = Server::open(config, arena, Arc::new(crate::rig::TestPeerHandler::default()))
        .unwrap_err()
        .to_string();
    assert!(said.contains("cannot offer sim"), "{said}");
}

#[test]
fn who_comes_while_the_memory_is_prepared_hears_how_far_it_is() {
    let run_dir = tempfile::tempdir().unwrap();
    let (key, _) = Key::load_or_create(&run_dir.path().join("key")).unwrap();
    let config = ServerConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        pool: "pool".into(),
        key: key.clone(),
        fabrics: vec![FabricKind::Shm, FabricKind::Tcp],
        device: None,
        peers: 64,
        step_timeout: Duration::from_secs(5),
        run_dir: run_dir.path().to_owned(),
        encrypted: false,
        protocol: SPOKEN,
    };
    let server = Server::listen(config).unwrap();
    server.preparing(40);
    let to = |way| crate::rig::target(way, server.address().port(), &key, run_dir.path());
    for way in WAYS {
        let said = error(way, &to(way));
        assert!(
            matches!(said, ConnectError::Preparing { percent: 40, .. }),
            "{said}"
        );
        let line = said.to_string();
        assert!(
            line.ends_with("is preparing its memory, 40 %: try again in a moment"),
            "{line}"
        );
    }
    let arena = Arc::new(Arena::allocate(1 << 20, &mut |_| ()).unwrap());
    let peer_handler = Arc::new(crate::rig::TestPeerHandler::default());
    assert_eq!(server.begin(arena, peer_handler).unwrap(), None);
    for way in WAYS {
        drop(connect(way, &to(way)).unwrap());
    }
}
