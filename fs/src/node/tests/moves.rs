//! Bytes that the node moves, on every fabric.

use super::client::{Client, FABRICS, TestNode};
use rdmafs_meta::attr::SetAttr;
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::error::MetaError;
use rdmafs_meta::id::{InodeId, RequestId};
use rdmafs_meta::time::{AccessTime, Timestamp};
use rdmafs_meta::wire::{self, Answer, Call, OpenAccess, Reply, Request};
use std::ops::Range;
use std::time::Duration;

const MIB: u64 = 1 << 20;

/// Fills a file with one byte and says where it lies.
fn fill(client: &mut Client, ino: InodeId, size: u64, byte: u8) -> Vec<Range<u64>> {
    let mut found = Vec::new();
    let mut start = 0;
    while start < size {
        let layout = patient(client, ino, start..size);
        let (extents, end) = Client::extents(&layout);
        found.extend(extents);
        start = end;
    }
    for range in &found {
        for at in range.clone().step_by(1 << 20) {
            let len = usize::try_from((range.end - at).min(MIB)).unwrap();
            client.write(at, &vec![byte; len]).unwrap();
        }
    }
    let commit = Request::Commit {
        ino,
        size,
        truncate_seq: truncate_seq(client, ino),
        mtime: Timestamp::default(),
        clear_set_id: false,
        sync: false,
    };
    assert!(matches!(client.call(commit), Ok(Reply::Attr(_))));
    found
}

fn truncate_seq(client: &mut Client, ino: InodeId) -> u64 {
    match client.call(Request::GetAttr { ino }) {
        Ok(Reply::Attr(attr)) => attr.truncate_seq,
        other => panic!("{other:?}"),
    }
}

fn patient(client: &mut Client, ino: InodeId, range: Range<u64>) -> Answer {
    for _ in 0..2000 {
        let layout = client.layout(ino, range.clone(), true);
        if layout != Err(MetaError::Cleaning) {
            return layout;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("freed space was never cleaned");
}

fn bytes_of(client: &mut Client, ino: InodeId, size: u64) -> Vec<u8> {
    let (mut bytes, mut start) = (vec![0; usize::try_from(size).unwrap()], 0);
    while start < size {
        let layout = client.layout(ino, start..size, false);
        let Ok(Reply::Layout(slice)) = &layout else {
            panic!("{layout:?}");
        };
        for run in &slice.runs {
            let (first, end) = (run.start.max(start), run.end().min(size));
            for at in (first..end).step_by(1 << 20) {
                let len = usize::try_from((end - at).min(MIB)).unwrap();
                let place = usize::try_from(at).unwrap();
                let remote = run.replicas[0].extent.offset + (at - run.start);
                bytes[place..place + len].copy_from_slice(&client.read(remote, len).unwrap());
            }
        }
        start = slice.end;
    }
    bytes
}

fn copy(from: InodeId, to: InodeId, to_offset: u64, len: u64) -> Request {
    Request::Copy {
        from,
        from_offset: 0,
        to,
        to_offset,
        len,
    }
}

#[test]
fn bytes_are_copied_and_zeroed_at_the_node() {
    for kind in FABRICS {
        let node = TestNode::start(false);
        let mut client = Client::new(&node, kind);
        let (from, to) = (client.create("from"), client.create("to"));
        fill(&mut client, from, 5000, 7);
        let copied = client.call(copy(from, to, 3000, MIB));
        assert!(
            matches!(copied, Ok(Reply::Copied { len: 5000, .. })),
            "{copied:?}"
        );
        let wanted = [vec![0; 3000], vec![7; 5000]].concat();
        assert_eq!(bytes_of(&mut client, to, 8000), wanted);
        let zero = Request::Allocate {
            ino: to,
            start: 4000,
            end: 20_000,
            keep_size: false,
            zero: true,
        };
        assert!(matches!(client.call(zero), Ok(Reply::Spaced { end: 20_000, .. })));
        let wanted = [vec![0; 3000], vec![7; 1000], vec![0; 16_000]].concat();
        assert_eq!(bytes_of(&mut client, to, 20_000), wanted);
    }
}

/// A handler dies in the middle of many copies, while another host truncates their target and takes its space.
#[test]
fn copies_of_a_handler_that_dies_never_touch_what_took_their_place() {
    for kind in FABRICS {
        for round in 0..10 {
            let node = TestNode::start(false);
            let mut owner = Client::new(&node, kind);
            let mut copier = Client::new(&node, kind);
            let (from, to) = (
                copier.create(&format!("from {round}")),
                copier.create(&format!("to {round}")),
            );
            fill(&mut copier, from, 2 * MIB, 1);
            fill(&mut copier, to, 2 * MIB, 1);
            let access = OpenAccess {
                write: true,
                ..OpenAccess::default()
            };
            assert!(owner.call(Request::Open { ino: to, access }).is_ok());
            for number in 0..50 {
                let call = Call {
                    session: copier.begun.session,
                    term: copier.begun.term,
                    id: RequestId(1_000_000 + number),
                    caller: Credentials::root(),
                    access_time: AccessTime::default(),
                    request: copy(from, to, 0, 2 * MIB),
                    closes: Vec::new(),
                };
                let message = wire::encode(&call, wire::WireVersion::NEWEST).unwrap();
                let frame = [&(1_000_000 + number).to_le_bytes(), message.as_slice()];
                copier.send_raw(&frame.concat());
            }
            cut(&mut owner, to);
            if round % 2 == 0 {
                copier.close();
            }
            acknowledge(&mut owner);
            drop(copier);
            // All that the pool has left when later copies have filled the target again, so what was cut off is in it.
            let next = owner.create(&format!("next {round}"));
            let extents = fill(&mut owner, next, 4 * MIB, 9);
            assert!(!extents.is_empty());
            std::thread::sleep(Duration::from_millis(20));
            assert!(
                bytes_of(&mut owner, next, 4 * MIB).iter().all(|byte| *byte == 9),
                "{kind:?}, round {round}"
            );
        }
    }
}

fn cut(client: &mut Client, ino: InodeId) {
    let change = SetAttr {
        size: Some(0),
        ..SetAttr::default()
    };
    let by_handle = false;
    let shrunk = client.call(Request::SetAttr {
        ino,
        change,
        by_handle,
    });
    assert!(matches!(shrunk, Ok(Reply::Attr(_))), "{shrunk:?}");
}

fn acknowledge(client: &mut Client) {
    for notice in std::mem::take(&mut client.notices) {
        if let wire::Notice::Recall { recall, .. } = notice {
            assert_eq!(client.call(Request::Recalled { recall }), Ok(Reply::Done));
        }
    }
}
