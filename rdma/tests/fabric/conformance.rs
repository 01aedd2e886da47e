//! The contract of [`Endpoint`](rdmafs_rdma::fabric::Endpoint), on every fabric.

use crate::rig::{ARENA, Rig, WAYS, Way};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rdmafs_rdma::buffer::BufferPool;
use rdmafs_rdma::fabric::{Event, FabricError, FabricKind, MAX_MESSAGE, Verb};
use std::time::Duration;

#[test]
fn facts_are_true() {
    for way in WAYS {
        let rig = Rig::new();
        let client = rig.client(way);
        let facts = client.endpoint.facts();
        let kind = if way == Way::Shm {
            FabricKind::Shm
        } else {
            FabricKind::Tcp
        };
        assert_eq!((facts.kind, facts.encrypted), (kind, way == Way::Encrypted));
        assert_eq!(facts.queues, if way == Way::Shm { 1 } else { 3 });
        let peer = rig.peer_handler.peer();
        let identity = peer.identity();
        assert_eq!(
            (identity.host.as_str(), identity.fabric, identity.key),
            ("tester", kind, rig.key.id)
        );
        assert_eq!(identity.pid, (way == Way::Shm).then(std::process::id));
    }
}

#[test]
fn random_reads_see_what_random_writes_wrote() {
    for way in WAYS {
        let rig = Rig::new();
        let mut client = rig.client(way);
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
                assert_eq!(
                    client.read(at as u64, len).unwrap(),
                    model[at..at + len],
                    "{way:?}"
                );
            }
        }
        assert!(rig.bytes(0, model.len()) == model);
    }
}

#[test]
fn bounds_hold_at_below_and_above_and_the_connection_stays() {
    for way in WAYS {
        let rig = Rig::new();
        let mut client = rig.client(way);
        for len in [1, 4096, BufferPool::LARGE] {
            let last = ARENA - len as u64;
            client.write(last, &vec![7; len]).unwrap();
            assert_eq!(client.read(last, len).unwrap(), vec![7; len]);
            for remote in [last + 1, ARENA, ARENA + 1, u64::MAX - len as u64 + 1, u64::MAX] {
                let refused = Err(FabricError::AccessRefused);
                assert_eq!(
                    client.write(remote, &vec![1; len]),
                    refused,
                    "{way:?} {len} {remote}"
                );
                assert_eq!(client.read(remote, len), Err(FabricError::AccessRefused));
            }
        }
        assert_eq!(client.read(ARENA - 1, 1).unwrap(), [7]);
    }
}

#[test]
fn the_peer_handler_is_asked_for_each_access_over_tcp() {
    for way in [Way::Plain, Way::Encrypted] {
        let rig = Rig::new();
        let mut client = rig.client(way);
        rig.arena.write(4096, b"secret").unwrap();
        *rig.peer_handler.forbidden.lock().unwrap() = Some(4096..8192);
        let before: Vec<_> = (0..3)
            .map(|queue| client.post(queue, Verb::Write, 0, &[1; 4096]))
            .collect();
        assert_eq!(client.read(4095, 2), Err(FabricError::AccessRefused));
        assert_eq!(client.write(8191, &[1; 100_000]), Err(FabricError::AccessRefused));
        let id = client.post(0, Verb::Read, 4096, &[0; 6]);
        let (bytes, result) = client.completion(id);
        assert_eq!(
            (bytes.as_slice(), result),
            (&[0; 6][..], Err(FabricError::AccessRefused))
        );
        client.write(8192, &[2; 10]).unwrap();
        before.into_iter().for_each(|id| client.completion(id).1.unwrap());
        assert_eq!(&rig.bytes(4094, 8), b"\x01\x01secret");
        assert_eq!(rig.bytes(8191, 2), [0, 2]);
    }
}

#[test]
fn work_of_one_queue_completes_in_order_with_many_in_flight() {
    for way in WAYS {
        let rig = Rig::new();
        let mut client = rig.client(way);
        let mut posted = [Vec::new(), Vec::new(), Vec::new()];
        for round in 0..24u8 {
            let queue = usize::from(round % 3);
            let (verb, len) = if round % 2 == 0 {
                (Verb::Write, 300_000)
            } else {
                (Verb::Read, 5000)
            };
            posted[queue].push(client.post(queue, verb, u64::from(round) * 300_000, &vec![round; len]));
        }
        let all: Vec<u64> = (0..24)
            .map(|_| {
                client.until("a completion", |event| match event {
                    Event::Done(done) => Some(done.result.clone().map(|()| done.id)),
                    _ => None,
                })
            })
            .collect::<Result<_, _>>()
            .unwrap();
        for queue in posted {
            let order: Vec<u64> = all.iter().copied().filter(|id| queue.contains(id)).collect();
            assert_eq!(order, queue, "{way:?}");
        }
        assert_eq!(rig.bytes(22 * 300_000, 300_000), vec![22; 300_000]);
    }
}

#[test]
#[expect(
    clippy::excessive_nesting,
    reason = "threads, rounds and a wait stand in one another"
)]
fn threads_share_an_endpoint() {
    for way in WAYS {
        let rig = Rig::new();
        let client = rig.client(way);
        std::thread::scope(|scope| {
            for mark in 0..4u8 {
                let (endpoint, buffers) = (client.endpoint.clone(), client.buffers.clone());
                scope.spawn(move || {
                    let mut events = Vec::new();
                    for round in 0..50u64 {
                        let mut buffer = loop {
                            match buffers.try_get(4000) {
                                Some(buffer) => break buffer,
                                None => endpoint.wait(Duration::from_millis(1)),
                            }
                            endpoint.poll(&mut events);
                            events.clear();
                        };
                        buffer.fill(mark);
                        let id = u64::from(mark) * 1000 + round;
                        let remote = u64::from(mark) * 4096;
                        let verb = Verb::Write;
                        let work = rdmafs_rdma::fabric::Work {
                            id,
                            verb,
                            remote,
                            buffer,
                        };
                        drop(endpoint.post(usize::from(mark), work));
                    }
                });
            }
        });
        let mut client = client;
        let mut all = Vec::new();
        while all.len() < 32 {
            client.endpoint.poll(&mut client.events);
            client.events.clear();
            all.extend(client.buffers.try_get(1));
        }
        for mark in 0..4u8 {
            assert_eq!(
                rig.bytes(u64::from(mark) * 4096, 4000),
                vec![mark; 4000],
                "{way:?}"
            );
        }
    }
}

#[test]
fn messages_go_both_ways_in_order() {
    for way in WAYS {
        let rig = Rig::new();
        let mut client = rig.client(way);
        for number in 0..300u32 {
            client.endpoint.send(&number.to_le_bytes()).unwrap();
        }
        for number in 0..300u32 {
            assert_eq!(client.message(), number.to_le_bytes());
        }
        let longest = vec![5; MAX_MESSAGE];
        client.endpoint.send(&longest).unwrap();
        assert_eq!(client.message(), longest);
        client.endpoint.send(&[]).unwrap();
        assert_eq!(client.message(), []);
        let refused = client.endpoint.send(&vec![0; MAX_MESSAGE + 1]);
        assert!(matches!(refused, Err(FabricError::Protocol(_))));
        rig.peer_handler.peer().send(b"of its own accord").unwrap();
        assert_eq!(client.message(), b"of its own accord");
    }
}

#[test]
fn a_wait_ends_by_a_wake_that_came_before() {
    for way in WAYS {
        let rig = Rig::new();
        let client = rig.client(way);
        client.endpoint.wake();
        client.endpoint.wait(Duration::from_secs(3600));
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| client.endpoint.wait(Duration::from_secs(3600)));
            client.endpoint.wake();
            waiter.join().unwrap();
        });
    }
}

#[test]
fn closing_gives_all_work_back_and_the_node_sees_it() {
    for way in WAYS {
        let rig = Rig::new();
        let mut client = rig.client(way);
        let posted: Vec<_> = (0..9)
            .map(|queue| client.post(queue, Verb::Write, 0, &vec![1; 500_000]))
            .collect();
        client.endpoint.close();
        client.endpoint.close();
        assert_eq!(client.down(), FabricError::Flushed);
        for id in posted {
            let (_, result) = client.completion(id);
            assert!(
                result.is_ok() || result == Err(FabricError::Flushed),
                "{way:?} {result:?}"
            );
        }
        assert_eq!(client.read(0, 1), Err(FabricError::Flushed));
        assert_eq!(client.endpoint.send(b"late"), Err(FabricError::Flushed));
        client.endpoint.poll(&mut client.events);
        assert!(client.events.is_empty());
        rig.peer_handler
            .until("the peer has left", |books| books.left == 1);
        assert!((0..16).all(|_| client.buffers.try_get(BufferPool::LARGE).is_some()));
    }
}

#[test]
fn dropping_an_endpoint_ends_it_too() {
    for way in WAYS {
        let rig = Rig::new();
        drop(rig.client(way));
        rig.peer_handler
            .until("the peer has left", |books| books.left == 1);
    }
}

#[test]
fn a_closing_server_ends_work_with_an_error_and_leaves_nothing() {
    for way in WAYS {
        let rig = Rig::new();
        let mut client = rig.client(way);
        let posted: Vec<_> = (0..12)
            .map(|queue| client.post(queue, Verb::Write, 0, &vec![1; 900_000]))
            .collect();
        let driver = std::thread::spawn(move || {
            let down = client.down();
            assert!(matches!(down, FabricError::Disconnected(_)), "{way:?} {down}");
            for id in posted {
                let result = client.completion(id).1;
                assert!(
                    matches!(result, Ok(()) | Err(FabricError::Disconnected(_))),
                    "{way:?}"
                );
            }
            assert!(matches!(client.write(0, &[1]), Err(FabricError::Disconnected(_))));
            assert!(client.endpoint.send(b"late").is_err());
        });
        rig.server.close();
        rig.peer_handler
            .until("the peer has left", |books| books.left == 1);
        driver.join().unwrap();
        let left: Vec<_> = std::fs::read_dir(&rig.run_dir)
            .unwrap()
            .map(|file| file.unwrap().file_name())
            .collect();
        assert_eq!(left, ["key"]);
        assert!(std::net::TcpStream::connect(rig.server.address()).is_err());
    }
}

#[test]
fn the_node_can_disconnect_a_peer() {
    for way in WAYS {
        let rig = Rig::new();
        let mut client = rig.client(way);
        let peer = rig.peer_handler.peer();
        peer.close();
        assert!(matches!(peer.send(b"late"), Err(FabricError::Disconnected(_))));
        assert!(matches!(client.down(), FabricError::Disconnected(_)));
        rig.peer_handler
            .until("the peer has left", |books| books.left == 1);
        let _another = rig.client(way);
        rig.peer_handler
            .until("another has arrived", |books| books.arrived == 2);
    }
}

#[test]
fn a_peer_that_does_not_read_is_disconnected() {
    for way in WAYS {
        let rig = Rig::new();
        let mut client = rig.client(way);
        let peer = rig.peer_handler.peer();
        let mut sent = 0usize;
        while peer.send(&[1; 60_000]).is_ok() {
            sent += 60_000;
            assert!(sent < 100 << 20);
        }
        assert!(sent > 4 << 20);
        assert!(matches!(client.down(), FabricError::Disconnected(_)));
        rig.peer_handler
            .until("the peer has left", |books| books.left == 1);
    }
}
