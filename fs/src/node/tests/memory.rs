//! No byte of a removed file is ever readable again.

use super::client::{Client, FABRICS, TestNode};
use rdmafs_meta::error::MetaError;
use rdmafs_meta::id::InodeId;
use rdmafs_meta::name::Name;
use rdmafs_meta::wire::{Answer, Notice, Reply, Request};
use std::ops::Range;
use std::time::Duration;

/// Allocates `file` bytes up to `size` and answers where they lie.
fn fill(client: &mut Client, ino: InodeId, size: u64) -> Vec<Range<u64>> {
    let mut found = Vec::new();
    let mut start = 0;
    while start < size {
        let layout = patient(client, ino, start..size);
        let (extents, end) = Client::extents(&layout);
        assert!(end > start, "an answer covers something");
        found.extend(extents);
        start = end;
    }
    found
}

/// Asks again while freed space is being cleaned, as a handler does.
fn patient(client: &mut Client, ino: InodeId, range: Range<u64>) -> Answer {
    for _ in 0..1000 {
        let layout = client.layout(ino, range.clone(), true);
        if layout != Err(MetaError::Cleaning) {
            return layout;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("freed space was never cleaned");
}

fn pool_size(client: &mut Client) -> u64 {
    match client.call(Request::StatFs) {
        Ok(Reply::Space(space)) => space.total,
        other => panic!("{other:?}"),
    }
}

fn assert_all(client: &mut Client, extents: &[Range<u64>], expected: u8) {
    for range in extents {
        for start in range.clone().step_by(1 << 20) {
            let len = usize::try_from((range.end - start).min(1 << 20)).unwrap();
            let bytes = client.read(start, len).unwrap();
            assert!(bytes.iter().all(|byte| *byte == expected), "at {start}");
        }
    }
}

fn write_all(client: &mut Client, extents: &[Range<u64>], byte: u8) {
    for range in extents {
        for start in range.clone().step_by(1 << 20) {
            let len = usize::try_from((range.end - start).min(1 << 20)).unwrap();
            client.write(start, &vec![byte; len]).unwrap();
        }
    }
}

fn total(extents: &[Range<u64>]) -> u64 {
    extents.iter().map(|range| range.end - range.start).sum()
}

#[test]
fn freed_memory_is_zeroed_before_it_is_reused() {
    for kind in FABRICS {
        let node = TestNode::start(false);
        let mut client = Client::new(&node, kind);
        let size = pool_size(&mut client);
        let ino = client.create("secret");
        let extents = fill(&mut client, ino, size);
        assert_eq!(total(&extents), size);
        assert_all(&mut client, &extents, 0);
        write_all(&mut client, &extents, 0xa5);
        let next = client.create("next");
        assert_eq!(client.layout(next, 0..1, true), Err(MetaError::NoSpace));

        let (parent, name) = (InodeId::ROOT, Name::new("secret").unwrap());
        assert_eq!(client.call(Request::Unlink { parent, name }), Ok(Reply::Done));
        assert_eq!(client.call(Request::Release { ino, opens: 1 }), Ok(Reply::Done));
        let reused = fill(&mut client, next, size);
        assert_eq!(total(&reused), size);
        assert_all(&mut client, &reused, 0);
    }
}

#[test]
fn truncated_memory_is_not_reused_before_every_holder_gave_it_up() {
    for kind in FABRICS {
        let node = TestNode::start(false);
        let mut holder = Client::new(&node, kind);
        let mut other = Client::new(&node, kind);
        let size = pool_size(&mut holder);
        let ino = holder.create("shared");
        let extents = fill(&mut holder, ino, size);
        write_all(&mut holder, &extents, 0xa5);
        let change = rdmafs_meta::attr::SetAttr {
            size: Some(0),
            ..Default::default()
        };
        let shrink = Request::SetAttr {
            ino,
            change,
            by_handle: false,
        };
        assert!(matches!(other.call(shrink), Ok(Reply::Attr(_))));
        let next = other.create("next");
        assert_eq!(
            other.layout(next, 0..1, true),
            Err(MetaError::Cleaning),
            "the holder may still write"
        );

        // A renewal is an exchange: what was sent before it has arrived with its answer.
        assert!(matches!(holder.call(Request::Renew), Ok(Reply::Renewed { .. })));
        let mut recalls = holder.notices.iter().filter_map(|notice| match notice {
            Notice::Recall {
                recall,
                ino: of,
                from: 0,
                ..
            } if *of == ino => Some(*recall),
            _ => None,
        });
        let recall = recalls.next_back().expect("the layout is recalled");
        write_all(&mut holder, &extents[..1], 0xa6);
        assert_eq!(holder.call(Request::Recalled { recall }), Ok(Reply::Done));
        let reused = fill(&mut other, next, size);
        assert_eq!(total(&reused), size);
        assert_all(&mut other, &reused, 0);
    }
}
