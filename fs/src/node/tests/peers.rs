//! Who may say and do what.

use super::client::{Client, FABRICS, TestNode};
use rdmafs_meta::error::MetaError;
use rdmafs_meta::id::{InodeId, SessionId};
use rdmafs_meta::name::Name;
use rdmafs_meta::wire::{Reply, Request};
use rdmafs_rdma::fabric::{FabricError, FabricKind};

#[test]
fn a_file_is_made_written_and_read_back() {
    for kind in FABRICS {
        let node = TestNode::start(false);
        let mut client = Client::new(&node, kind);
        let ino = client.create("file");
        let layout = client.layout(ino, 0..10_000, true);
        let (extents, end) = Client::extents(&layout);
        assert!(end >= 10_000);
        for range in extents {
            let bytes = vec![0x5a; usize::try_from(range.end - range.start).unwrap()];
            client.write(range.start, &bytes).unwrap();
            assert_eq!(client.read(range.start, bytes.len()).unwrap(), bytes, "{kind:?}");
        }
    }
}

#[test]
fn a_peer_speaks_for_its_own_session_only() {
    for kind in FABRICS {
        let node = TestNode::start(false);
        let mut owner = Client::new(&node, kind);
        let ino = owner.create("file");
        let mut thief = Client::new(&node, FabricKind::Tcp);
        let release = || Request::Release { ino, opens: 1 };
        let forged = thief.call_as(owner.begun.session, release());
        assert_eq!(forged, Err(MetaError::SessionEnded));
        let none = thief.call_as(SessionId(0), release());
        assert_eq!(none, Err(MetaError::SessionEnded));
        let mut silent = Client::silent(&node, kind);
        silent.begun.term = owner.begun.term;
        let early = silent.call_as(owner.begun.session, release());
        assert_eq!(early, Err(MetaError::SessionEnded));
        assert_eq!(owner.begin(), Err(MetaError::Invalid), "one session per peer");
        assert_eq!(owner.call(release()), Ok(Reply::Done), "it is untouched");
    }
}

#[test]
fn who_holds_the_key_has_the_namespace_examined_without_a_session() {
    for kind in FABRICS {
        let node = TestNode::start(false);
        let mut owner = Client::new(&node, kind);
        owner.create("file");
        let examine = || Request::Examine { skip: 0 };
        let mut silent = Client::silent(&node, kind);
        for answer in [silent.call_as(SessionId(0), examine()), owner.call(examine())] {
            let Ok(Reply::Examined(found)) = answer else {
                panic!("{answer:?}")
            };
            assert_eq!((found.inodes, found.entries, found.wrong), (2, 1, 0));
        }
        let more = silent.call_as(SessionId(0), Request::StatFs);
        assert_eq!(more, Err(MetaError::SessionEnded), "it may ask for nothing else");
    }
}

#[test]
fn on_tcp_the_node_refuses_what_was_not_granted() {
    let node = TestNode::start(false);
    let mut owner = Client::new(&node, FabricKind::Tcp);
    let ino = owner.create("file");
    let (extents, _) = Client::extents(&owner.layout(ino, 0..4096, true));
    let range = extents[0].clone();
    let refused = Err(FabricError::AccessRefused);
    assert_eq!(owner.write(range.start, &[1; 4096]), Ok(()));
    let arena = owner.begun.arenas[0].len;
    let past = owner.read(arena - 1, 2);
    assert_eq!(past, Err(FabricError::AccessRefused), "beyond the arena");

    let mut other = Client::new(&node, FabricKind::Tcp);
    assert_eq!(other.write(range.start, &[2; 16]), refused);
    assert_eq!(other.read(range.start, 16), Err(FabricError::AccessRefused));

    let opened = other.call(Request::Open {
        ino,
        access: rdmafs_meta::wire::OpenAccess {
            read: true,
            ..Default::default()
        },
    });
    assert!(matches!(opened, Ok(Reply::Opened { .. })), "{opened:?}");
    other.layout(ino, 0..4096, false).unwrap();
    assert_eq!(other.read(range.start, 16).unwrap(), [1; 16]);
    assert_eq!(
        other.write(range.start, &[2; 16]),
        refused,
        "it opened for reading"
    );

    assert_eq!(other.call(Request::Release { ino, opens: 1 }), Ok(Reply::Done));
    assert_eq!(
        other.read(range.start, 16),
        Err(FabricError::AccessRefused),
        "it gave the file back"
    );
    assert_eq!(owner.read(range.start, 16).unwrap(), [1; 16]);
}

#[test]
fn a_peer_that_sends_garbage_is_hung_up_on_and_others_are_not() {
    for kind in FABRICS {
        let node = TestNode::start(false);
        let mut good = Client::new(&node, kind);
        for garbage in [&b"short"[..], &[0xff; 100], &[0; 64]] {
            let mut bad = Client::new(&node, kind);
            bad.send_raw(garbage);
            assert!(bad.is_hung_up_on(), "{kind:?}");
        }
        assert!(matches!(good.call(Request::Renew), Ok(Reply::Renewed { .. })));
    }
}

#[test]
fn what_a_gone_peer_held_open_is_given_back() {
    for kind in FABRICS {
        let node = TestNode::start(false);
        let mut stays = Client::new(&node, kind);
        let free = |client: &mut Client| match client.call(Request::StatFs) {
            Ok(Reply::Space(space)) => (space.free, space.inodes),
            other => panic!("{other:?}"),
        };
        let before = free(&mut stays);
        let mut goes = Client::new(&node, kind);
        let ino = goes.create("orphan");
        goes.layout(ino, 0..1 << 20, true).unwrap();
        let name = Name::new("orphan").unwrap();
        let parent = InodeId::ROOT;
        assert_eq!(goes.call(Request::Unlink { parent, name }), Ok(Reply::Done));
        assert_ne!(free(&mut stays), before, "it is open");
        goes.close();
        assert!(goes.is_hung_up_on());
        assert_ne!(free(&mut stays), before, "it may come back");
        // The node learns of it from its socket, within a tick, and keeps it for one lease (10 s).
        let reclaimed = (0..3000).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            free(&mut stays) == before
        });
        assert!(reclaimed, "{kind:?}");
    }
}
