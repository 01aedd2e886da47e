//! Two mounts of one pool, on one host and on two.

use super::world::{RW, World, pattern, world};
use crate::errno::Error;
use crate::handler::{HandleId, KernelNotify, OpenMode, Opened};
use crate::options::CacheMode;
use parking_lot::Mutex;
use rdmafs_meta::attr::SetAttr;
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::id::InodeId;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const MIB: usize = 1 << 20;

type Done = Box<dyn FnOnce() + Send>;

/// A kernel that only remembers what it was told.
#[derive(Default)]
pub(super) struct Kernel {
    pub(super) notified: Mutex<Vec<(&'static str, InodeId)>>,
    /// While it is here: it does not answer, and this is who waits.
    pub(super) busy: Mutex<Option<Vec<Done>>>,
}

impl KernelNotify for Kernel {
    fn attributes_changed(&self, ino: InodeId, done: Option<Done>) {
        self.notified.lock().push(("attributes", ino));
        match self.busy.lock().as_mut() {
            Some(waiting) => waiting.extend(done),
            None => done.into_iter().for_each(|done| done()),
        }
    }
    fn data_changed(&self, ino: InodeId) {
        self.notified.lock().push(("data", ino));
    }
    fn write_back(&self, ino: InodeId, done: Done) {
        self.notified.lock().push(("write back", ino));
        done();
    }
    fn drop_range(&self, ino: InodeId, _: Range<u64>, done: Done) {
        self.notified.lock().push(("range", ino));
        match self.busy.lock().as_mut() {
            Some(waiting) => waiting.push(done),
            None => done(),
        }
    }
}

#[test]
fn mounts_of_one_handler_see_each_others_bytes_at_once() {
    let a = world(4 << 20);
    let b = a.beside(CacheMode::None);
    let (ino, file) = a.create("f");
    a.write(file, 0, b"hello").unwrap();
    assert_eq!(b.attr(ino).unwrap().size, 5);
    let other = b.open(ino, RW).unwrap();
    assert_eq!(b.read(other, 0, 10).unwrap(), b"hello");
    b.truncate(ino, 2);
    assert_eq!(a.read(file, 0, 10).unwrap(), b"he");
}

#[test]
fn what_is_closed_on_one_host_is_read_by_a_later_open_on_another() {
    let a = world(4 << 20);
    let b = a.elsewhere();
    let (ino, file) = a.create("f");
    let theirs = b.open(ino, RW).unwrap();
    assert!(b.read(theirs, 0, 10).unwrap().is_empty());
    a.write(file, 0, &pattern(100_000, 1)).unwrap();
    a.flush(file);
    let later = b.open(ino, RW).unwrap();
    assert_eq!(b.read(later, 0, MIB).unwrap(), pattern(100_000, 1));
    // A handle that was open before sees the growth, too: nothing of it is cached here.
    assert_eq!(b.read(theirs, 0, MIB).unwrap(), pattern(100_000, 1));
    a.write(file, 50_000, &[7; 100]).unwrap();
    assert_eq!(b.read(later, 50_000, 100).unwrap(), [7; 100]);
}

#[test]
fn a_hole_known_here_is_forgotten_when_another_host_fills_it() {
    let a = world(4 << 20);
    let b = a.elsewhere();
    let (ino, file) = a.create("f");
    a.truncate(ino, 100_000);
    let theirs = b.open(ino, RW).unwrap();
    assert!(b.read(theirs, 0, MIB).unwrap().iter().all(|byte| *byte == 0));
    a.write(file, 8192, &[5; 10]).unwrap();
    // The other handler hears of it at once, but on a thread of its own.
    let observed = (0..200).any(|_| {
        b.pool.run(b.mount.executor().sleep(Duration::from_millis(5)));
        b.read(theirs, 8192, 10).unwrap() == [5; 10]
    });
    assert!(observed);
}

#[test]
fn a_truncate_elsewhere_never_shows_bytes_of_another_file() {
    let a = world(MIB as u64);
    let b = a.elsewhere();
    let (ino, file) = a.create("victim");
    let (_, thief) = b.create("thief");
    let theirs = b.open(ino, RW).unwrap();
    for round in 0..30_u8 {
        a.write(file, 0, &vec![1; 600_000]).unwrap();
        a.flush(file);
        b.truncate(ino, 0);
        b.write(thief, 0, &vec![2; 600_000]).unwrap();
        let observed = a.read(file, 0, MIB).unwrap();
        assert!(observed.iter().all(|byte| *byte != 2), "round {round}");
        assert!(observed.is_empty());
        let thief_ino = b
            .attr(
                b.pool
                    .run(
                        b.mount
                            .clone()
                            .lookup(Credentials::root(), InodeId::ROOT, b"thief".to_vec()),
                    )
                    .unwrap()
                    .attr
                    .ino,
            )
            .unwrap()
            .ino;
        b.truncate(thief_ino, 0);
    }
    b.release(theirs);
    a.pool.node().check().unwrap();
}

/// Writers and readers on two hosts at full speed while a third party cuts the file: every byte that is ever read is
/// either zero or of this file.
#[test]
fn truncating_under_load_is_safe() {
    let a = world(2 << 20);
    let b = a.elsewhere();
    let (ino, file) = a.create("f");
    let (_, noise) = b.create("noise");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..400 {
                a.write(file, (round % 7) * 40_000, &[1; 90_000]).unwrap();
                assert!(a.read(file, 0, MIB).unwrap().iter().all(|byte| *byte <= 1));
            }
            stop.store(true, Ordering::SeqCst);
        });
        scope.spawn(|| {
            let noise_ino = b
                .mount
                .clone()
                .lookup(Credentials::root(), InodeId::ROOT, b"noise".to_vec());
            let noise_ino = b.pool.run(noise_ino).unwrap().attr.ino;
            while !stop.load(Ordering::SeqCst) {
                b.truncate(ino, 10_000);
                b.write(noise, 0, &[2; 300_000]).unwrap();
                b.truncate(noise_ino, 0);
            }
        });
    });
    a.flush(file);
    a.pool.node().check().unwrap();
}

#[test]
fn an_unchanged_file_keeps_its_cache_and_a_changed_one_does_not() {
    let direct = world(4 << 20);
    let cached = direct.beside(CacheMode::Auto);
    let kernel = Arc::new(Kernel::default());
    cached.mount.set_notify(kernel.clone());
    let (ino, file) = direct.create("f");
    direct.write(file, 0, b"one").unwrap();
    direct.flush(file);
    let open = || {
        let opening = cached.mount.clone().open(Credentials::root(), ino, RW);
        let opened = cached.pool.run(opening).unwrap();
        cached.read(opened.handle, 0, 1).unwrap();
        opened
    };
    assert!(!open().keep_cache);
    assert!(open().keep_cache);
    kernel.notified.lock().clear();
    direct.write(file, 0, b"two!").unwrap();
    assert!(!open().keep_cache, "bytes of another mount are on their way");
    direct.flush(file);
    assert!(kernel.notified.lock().contains(&("data", ino)));
    assert!(!open().keep_cache);
    assert!(open().keep_cache);
    // Its own bytes are in its cache.
    let own = open().handle;
    cached.write(own, 0, b"mine").unwrap();
    kernel.notified.lock().clear();
    cached.flush(own);
    assert!(kernel.notified.lock().is_empty());
    assert!(open().keep_cache);
    direct.truncate(ino, 1);
    assert!(kernel.notified.lock().contains(&("data", ino)));
    assert!(!open().keep_cache);
}

#[test]
fn another_hosts_change_is_notified_to_the_kernel_before_the_open_is_answered() {
    let a = world(4 << 20);
    let b = a.beside(CacheMode::Auto);
    let kernel = Arc::new(Kernel::default());
    b.mount.set_notify(kernel.clone());
    let far = a.elsewhere();
    let (ino, file) = far.create("f");
    let first = b.open(ino, RW).unwrap();
    b.release(first);
    far.write(file, 0, b"grown").unwrap();
    far.flush(file);
    kernel.notified.lock().clear();
    let opened = b
        .pool
        .run(b.mount.clone().open(Credentials::root(), ino, RW))
        .unwrap();
    assert!(!opened.keep_cache && !opened.direct_io);
    assert!(kernel.notified.lock().contains(&("attributes", ino)));
    assert_eq!(b.read(opened.handle, 0, 10).unwrap(), b"grown");
}

/// A mount with a cache beside a host that changes files: what it knows of "f", which is that host's.
fn known_and_changed(kernel: &Arc<Kernel>) -> (World, World, InodeId, HandleId) {
    let far = world(4 << 20);
    let near = far.pool.mount_elsewhere(CacheMode::Auto);
    near.set_notify(kernel.clone());
    let near = World {
        mount: near,
        pool: far.pool.clone(),
    };
    let (ino, file) = far.create("f");
    assert_eq!(near.attr(ino).unwrap().size, 0);
    far.write(file, 0, b"grown").unwrap();
    far.flush(file);
    kernel.notified.lock().clear();
    (near, far, ino, file)
}

fn opening(world: &World, ino: InodeId) -> impl Future<Output = Result<Opened, Error>> + Send + 'static {
    world.mount.clone().open(Credentials::root(), ino, RW)
}

#[test]
fn attributes_that_only_the_handler_saw_are_not_taken_for_the_kernels() {
    let kernel = Arc::new(Kernel::default());
    let (near, _far, ino, _) = known_and_changed(&kernel);
    let directory = near.mount.clone().opendir(Credentials::root(), InodeId::ROOT);
    let directory = near.pool.run(directory).unwrap();
    // The service sends them with the names, and readdir(3) does not pass them on.
    near.pool
        .run(near.mount.clone().readdir(directory, 0, 100))
        .unwrap();
    near.pool.run(opening(&near, ino)).unwrap();
    assert_eq!(*kernel.notified.lock(), [("attributes", ino)]);
}

#[test]
fn of_two_answers_with_different_attributes_the_kernel_may_keep_the_older() {
    let kernel = Arc::new(Kernel::default());
    let (near, _far, ino, _) = known_and_changed(&kernel);
    assert_eq!(near.attr(ino).unwrap().size, 5);
    for notified in [1, 0, 0] {
        let opened = near.pool.run(opening(&near, ino)).unwrap();
        assert_eq!(kernel.notified.lock().drain(..).count(), notified);
        near.flush(opened.handle);
    }
    // Not so when the change was its own, or the answer is one that the kernel always takes.
    let own = near.pool.run(opening(&near, ino)).unwrap().handle;
    near.write(own, 5, b"!").unwrap();
    near.flush(own);
    assert_eq!(near.attr(ino).unwrap().size, 6);
    near.pool.run(opening(&near, ino)).unwrap();
    near.set(
        ino,
        SetAttr {
            mode: Some(0o600),
            ..SetAttr::default()
        },
    )
    .unwrap();
    near.pool.run(opening(&near, ino)).unwrap();
    assert!(kernel.notified.lock().is_empty());
}

#[test]
fn two_opens_at_once_both_wait_for_the_kernel_and_drop_its_pages() {
    let kernel = Arc::new(Kernel::default());
    let (near, _far, ino, _) = known_and_changed(&kernel);
    *kernel.busy.lock() = Some(Vec::new());
    let (send, opened) = std::sync::mpsc::channel();
    for _ in 0..2 {
        let send = send.clone();
        near.mount
            .executor()
            .run(0, opening(&near, ino), move |opened| send.send(opened).unwrap());
    }
    while kernel.busy.lock().as_ref().unwrap().len() < 2 {
        near.pool
            .run(near.mount.executor().sleep(Duration::from_millis(1)));
        assert!(opened.try_recv().is_err(), "the kernel still has the old size");
    }
    kernel
        .busy
        .lock()
        .take()
        .into_iter()
        .flatten()
        .for_each(|done| done());
    let both = [(); 2].map(|()| opened.recv_timeout(Duration::from_secs(10)).unwrap().unwrap());
    assert!(both.iter().all(|opened| !opened.keep_cache));
    // The kernel drops its pages when it reads the answer: that is sure when somebody uses the file.
    assert!(!near.pool.run(opening(&near, ino)).unwrap().keep_cache);
    assert_eq!(near.read(both[0].handle, 0, 10).unwrap(), b"grown");
    assert!(near.pool.run(opening(&near, ino)).unwrap().keep_cache);
}

#[test]
fn the_writers_own_kernel_hears_that_a_write_cleared_set_id_bits() {
    let world = world(1 << 20);
    let kernel = Arc::new(Kernel::default());
    world.mount.set_notify(kernel.clone());
    let (ino, file) = world.create("f");
    let mode = |mode| SetAttr {
        mode: Some(mode),
        ..SetAttr::default()
    };
    for (before, clears, notified) in [(0o4755, true, true), (0o4755, false, false), (0o755, true, false)] {
        world.set(ino, mode(before)).unwrap();
        kernel.notified.lock().clear();
        let bytes = world.pool.buffer(&world.mount, b"x");
        let write = world.mount.clone().write(file, 0, bytes, clears);
        world.pool.run(write).unwrap();
        assert_eq!(
            kernel.notified.lock().contains(&("attributes", ino)),
            notified,
            "{before:o}"
        );
        assert_eq!(
            world.attr(ino).unwrap().mode,
            if notified { 0o755 } else { before }
        );
    }
}

#[test]
fn a_name_that_another_host_made_is_opened_unless_exclusive() {
    let a = world(1 << 20);
    let b = a.elsewhere();
    let (ino, _) = a.create("f");
    let anew = |exclusive, name: &[u8]| {
        let making = b.mount.clone().create(
            Credentials::root(),
            (InodeId::ROOT, name.to_vec()),
            0o600,
            RW,
            exclusive,
        );
        b.pool.run(making)
    };
    assert_eq!(anew(false, b"f").unwrap().0.attr.ino, ino);
    assert_eq!(anew(true, b"f").unwrap_err().errno(), libc::EEXIST);
    let making = rdmafs_meta::wire::NewInode::Directory;
    b.pool
        .run(
            b.mount
                .clone()
                .make(Credentials::root(), InodeId::ROOT, b"d".to_vec(), making, 0o755),
        )
        .unwrap();
    assert_eq!(anew(false, b"d").unwrap_err().errno(), libc::EISDIR);
}

#[test]
fn a_directory_is_read_with_what_is_not_committed() {
    let a = world(1 << 20);
    let (_, file) = a.create("f");
    a.write(file, 0, b"12345").unwrap();
    let handle = a
        .pool
        .run(a.mount.clone().opendir(Credentials::root(), InodeId::ROOT))
        .unwrap();
    let mut names = Vec::new();
    let mut after = 0;
    loop {
        let page = a.pool.run(a.mount.clone().readdir(handle, after, 1)).unwrap();
        let Some(last) = page.last() else { break };
        after = last.cookie;
        names.extend(page.into_iter().map(|entry| (entry.name, entry.attr.size)));
    }
    assert_eq!(names.last().unwrap(), &(b"f".to_vec(), 5));
    assert_eq!(names.len(), 3);
    a.pool.run(a.mount.clone().releasedir(handle)).unwrap();
    assert_eq!(
        a.pool.run(a.mount.clone().readdir(handle, 0, 1)),
        Err(Error::BadHandle)
    );
    assert!(
        a.open(
            InodeId::ROOT,
            OpenMode {
                write: true,
                ..OpenMode::default()
            }
        )
        .is_err()
    );
}
