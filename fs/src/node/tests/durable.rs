//! What outlives a node, and what does not.

use super::client::{Client, FABRICS, TestNode};
use rdmafs_meta::id::InodeId;
use rdmafs_meta::layout::ReplicaState;
use rdmafs_meta::name::Name;
use rdmafs_meta::wire::{OpenAccess, Reply, Request};
use rdmafs_rdma::fabric::FabricKind;

#[test]
fn names_come_back_and_bytes_are_lost() {
    for kind in FABRICS {
        let mut node = TestNode::start(true);
        let mut client = Client::new(&node, kind);
        let first = client.begun.clone();
        let ino = client.create("kept");
        let (extents, _) = Client::extents(&client.layout(ino, 0..8192, true));
        client.write(extents[0].start, &[7; 4096]).unwrap();
        let commit = Request::Commit {
            ino,
            size: 8192,
            truncate_seq: 0,
            mtime: Default::default(),
            clear_set_id: false,
            sync: true,
        };
        assert!(matches!(client.call(commit), Ok(Reply::Attr(_))));
        drop(client);
        node.restart();

        let mut client = Client::new(&node, kind);
        assert!(client.begun.term > first.term);
        assert_ne!(client.begun.arenas[0].incarnation, first.arenas[0].incarnation);
        let (parent, name) = (InodeId::ROOT, Name::new("kept").unwrap());
        let Ok(Reply::Attr(attr)) = client.call(Request::Lookup { parent, name }) else {
            panic!("the name is gone");
        };
        assert_eq!((attr.ino, attr.size, attr.mode), (ino, 8192, 0o600));
        let access = OpenAccess {
            read: true,
            write: true,
            ..Default::default()
        };
        client.call(Request::Open { ino, access }).unwrap();
        let Ok(Reply::Layout(slice)) = client.layout(ino, 0..8192, false) else {
            panic!("no layout");
        };
        assert!(!slice.runs.is_empty());
        let replicas = slice.runs.iter().flat_map(|run| &run.replicas);
        assert!(replicas.into_iter().all(|copy| copy.state == ReplicaState::Lost));
    }
}

#[test]
fn every_change_that_was_answered_survives_a_drain() {
    let mut node = TestNode::start(true);
    let mut client = Client::new(&node, FabricKind::Tcp);
    let names: Vec<String> = (0..300).map(|n| format!("file{n}")).collect();
    for name in &names {
        client.create(name);
    }
    drop(client);
    node.restart();
    let mut client = Client::new(&node, FabricKind::Tcp);
    for name in &names {
        let (parent, name) = (InodeId::ROOT, Name::new(name.as_str()).unwrap());
        let found = client.call(Request::Lookup { parent, name });
        assert!(matches!(found, Ok(Reply::Attr(_))), "{found:?}");
    }
}

#[test]
fn a_state_directory_serves_one_node_at_a_time() {
    let mut node = TestNode::start(true);
    let Err(error) = node.launch(true) else {
        panic!("two nodes share a state directory");
    };
    let line = error.to_string();
    assert!(line.contains("in use by another rdmafs serve"), "{line}");
    node.restart();
}

#[test]
fn a_node_cleans_up_after_itself() {
    let mut node = TestNode::start(false);
    assert!(node.node().ready().key_created);
    let pid_file = node.pid_file();
    let pid = std::fs::read_to_string(&pid_file).unwrap();
    assert_eq!(pid.trim(), std::process::id().to_string());
    let mut client = Client::new(&node, FabricKind::Tcp);
    node.stop();
    assert!(client.is_hung_up_on());
    assert!(!pid_file.exists());
    let anew = node.launch(false).unwrap();
    assert!(!anew.ready().key_created);
    anew.stop().unwrap();
}
