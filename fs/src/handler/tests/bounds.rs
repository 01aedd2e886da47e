//! What a user can make the handler hold, and what others have meanwhile.

use super::world::{RW, World, world};
use crate::errno::Error;
use crate::handler::{OpenMode, ReadData};
use crate::options::CacheMode;
use rdmafs_meta::cred::Credentials;
use rdmafs_rdma::buffer::Buffer;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const MIB: usize = 1 << 20;
const SOON: Duration = Duration::from_secs(20);

/// All large buffers that the mount may have now.
fn large_buffers(world: &World) -> Vec<Buffer> {
    std::iter::from_fn(|| world.mount.try_buffer(MIB)).collect()
}

fn cached_read(world: &World, file: crate::handler::HandleId) -> Receiver<Result<ReadData, Error>> {
    let (send, answers) = channel();
    let reading = world.mount.clone().read_as(file, 0, MIB, true);
    world
        .mount
        .executor()
        .run(0, reading, move |read| send.send(read).unwrap());
    answers
}

#[test]
fn a_mount_leaves_buffers_to_others() {
    let world = world(16 << 20);
    let other = world.beside(CacheMode::None);
    let held = large_buffers(&world);
    assert_eq!(held.len(), 16, "half of them");
    let (_, file) = other.create("f");
    assert_eq!(other.write(file, 0, &vec![1; MIB]), Ok(MIB));
    assert_eq!(other.read(file, 0, MIB).unwrap(), vec![1; MIB]);
}

/// Writes that have their buffers wait for the fills that came before them.
#[test]
fn a_fill_that_waits_for_a_buffer_is_in_nobodys_way() {
    let world = world(16 << 20);
    let (ino, file) = world.create("f");
    world.write(file, 0, &vec![1; MIB]).unwrap();
    let direct = world.open(ino, OpenMode { direct: true, ..RW }).unwrap();
    let mut held = large_buffers(&world);
    let read = cached_read(&world, file);
    assert!(read.recv_timeout(Duration::from_millis(30)).is_err(), "no buffer");
    let (send, wrote) = channel();
    let mut bytes = held.pop().unwrap();
    bytes.fill(2);
    let writing = world.mount.clone().write(direct, 0, bytes, false);
    world
        .mount
        .executor()
        .run(0, writing, move |done| send.send(done).unwrap());
    assert_eq!(wrote.recv_timeout(SOON).unwrap(), Ok(MIB));
    match read.recv_timeout(SOON).unwrap() {
        Ok(ReadData::Bytes(bytes)) => assert!(bytes.iter().all(|byte| *byte == 2)),
        other => panic!("{other:?}"),
    }
}

/// Nor is one that waits for a buffer in the way of who cuts the file, for whom later writes wait.
#[test]
fn a_read_that_waits_for_a_buffer_does_not_hold_the_file() {
    let world = world(16 << 20);
    let (ino, file) = world.create("f");
    world.write(file, 0, &vec![1; MIB]).unwrap();
    let held = large_buffers(&world);
    let read = cached_read(&world, file);
    assert!(read.recv_timeout(Duration::from_millis(30)).is_err(), "no buffer");
    let cut = rdmafs_meta::attr::SetAttr {
        size: Some(100),
        ..Default::default()
    };
    assert_eq!(world.set(ino, cut).unwrap().size, 100);
    drop(held);
    match read.recv_timeout(SOON).unwrap() {
        Ok(ReadData::Bytes(bytes)) => assert_eq!(*bytes, [1; 100]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_read_finds_what_was_written_since_its_length_was_known() {
    let world = world(16 << 20);
    let (ino, file) = world.create("f");
    world.write(file, 0, b"short").unwrap();
    world.flush(file);
    let elsewhere = world.elsewhere();
    let far = elsewhere.open(ino, RW).unwrap();
    elsewhere.write(far, 0, &vec![3; 300_000]).unwrap();
    elsewhere.flush(far);
    let direct = world.open(ino, OpenMode { direct: true, ..RW }).unwrap();
    assert_eq!(world.read(direct, 0, MIB).unwrap(), vec![3; 300_000]);
    assert_eq!(world.read(direct, 299_999, MIB).unwrap(), [3]);
}

#[test]
fn bytes_that_wait_are_bounded_for_each_user() {
    let world = world(16 << 20);
    let held = large_buffers(&world);
    let data = vec![5; MIB];
    let mut taken: Vec<_> = (0..40)
        .map(|_| world.mount.take_bytes(&data, Some(1000)))
        .collect();
    let pages = world.mount.take_bytes(&data, None);
    let small = world.mount.take_bytes(&data[..70_000], Some(1000));
    let other = world.mount.take_bytes(&data, Some(1001));
    taken.extend([pages, small, other]);
    drop(held);
    let length = |taken: crate::handler::TakenBytes| {
        let buffer = world.pool.run(taken.into_buffer(world.mount.clone())).unwrap();
        assert!(buffer.iter().all(|byte| *byte == 5));
        buffer.len()
    };
    let lengths: Vec<_> = taken.into_iter().map(length).collect();
    assert_eq!(lengths[..30], [MIB; 30], "64 MiB, less 4 for root, in two halves");
    assert_eq!(lengths[30..40], [4096; 10], "a first part of each");
    assert_eq!(lengths[40], MIB, "pages go whole");
    assert_eq!(lengths[41..], [4096, MIB], "the other user has room");
    let held = large_buffers(&world);
    let next = world.mount.take_bytes(&data, Some(1000));
    drop(held);
    assert_eq!(length(next), MIB, "what he had is free");
}

#[test]
fn what_is_open_is_bounded_for_each_user() {
    let world = world(1 << 20);
    let (ino, file) = world.create("f");
    world
        .set(
            ino,
            rdmafs_meta::attr::SetAttr {
                mode: Some(0o666),
                ..Default::default()
            },
        )
        .unwrap();
    world.release(file);
    let user = |uid: u32| Credentials::new(uid, uid, vec![]);
    let open = |uid: u32| {
        let opening = world.mount.clone().open(user(uid), ino, RW);
        world.pool.run(opening).map(|opened| opened.handle)
    };
    // A half of what is not root's alone.
    let most = (1 << 17) - (1 << 13);
    let part = world.mount.open_places.take(1000, most - 1).unwrap();
    let last = open(1000).unwrap();
    assert_eq!(open(1000), Err(Error::TooManyOpen));
    let root = rdmafs_meta::id::InodeId::ROOT;
    let list = |uid: u32| world.pool.run(world.mount.clone().opendir(user(uid), root));
    assert_eq!(list(1000), Err(Error::TooManyOpen));
    let listed = list(1001).unwrap();
    world.release(open(1001).unwrap());
    world.pool.run(world.mount.clone().releasedir(listed)).unwrap();
    world.release(last);
    // Its place is free when the last task that knew it is gone, a moment after close(2).
    let last = (0..1000)
        .find_map(|_| {
            std::thread::sleep(Duration::from_millis(5));
            open(1000).ok()
        })
        .expect("a place is free");
    world.release(last);
    drop(part);
    open(1000).unwrap();
}
