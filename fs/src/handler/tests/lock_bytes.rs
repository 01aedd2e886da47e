//! What who gets a lock sees of what was done before on another host, and what becomes of what was written under one.

use super::sharing::Kernel;
use super::sweep::lab::{Lab, Op, RW, pattern};
use super::world::{World, world};
use crate::errno::Error;
use crate::handler::testing::HostId;
use crate::handler::{HandleId, LockCall, LockCaller, Mount};
use crate::options::CacheMode;
use rdmafs_meta::id::InodeId;
use rdmafs_meta::lock::{LockKind, Span};
use std::sync::Arc;
use std::time::Duration;

const KINDS: [LockKind; 3] = [LockKind::Flock, LockKind::Posix, LockKind::Ofd];

fn call(handle: HandleId, kind: LockKind) -> LockCall {
    LockCall {
        handle,
        owner: 77,
        span: Span::WHOLE,
        exclusive: true,
        process: 77,
        caller: LockCaller::Known(kind),
        uid: Some(0),
    }
}

/// A file that one host writes to, and another one has open and read.
struct Shared {
    near: World,
    far: World,
    kernel: Arc<Kernel>,
    ino: InodeId,
    mine: HandleId,
    theirs: HandleId,
}

impl Shared {
    fn new(cache: CacheMode) -> Self {
        let far = world(4 << 20);
        let kernel = Arc::new(Kernel::default());
        let mount = far.pool.mount_elsewhere(cache);
        mount.set_notify(kernel.clone());
        let near = World {
            mount,
            pool: far.pool.clone(),
        };
        let (ino, theirs) = far.create("f");
        far.truncate(ino, 100_000);
        let mine = near.open(ino, RW).unwrap();
        assert_eq!(near.read(mine, 8192, 3).unwrap(), [0; 3]);
        Self {
            near,
            far,
            kernel,
            ino,
            mine,
            theirs,
        }
    }

    fn lock(&self) -> Result<(), Error> {
        lock(&self.near, call(self.mine, LockKind::Posix))
    }

    /// Takes the lock and gives it back; says whether the kernel had to drop its pages.
    fn drops(&self) -> bool {
        self.kernel.notified.lock().clear();
        self.lock().unwrap();
        unlock(&self.near, call(self.mine, LockKind::Posix));
        self.kernel.notified.lock().contains(&("range", self.ino))
    }

    /// The other host writes under its lock.
    fn they_write(&self, bytes: &[u8]) {
        let call = call(self.theirs, LockKind::Posix);
        lock(&self.far, call).unwrap();
        self.far.write(self.theirs, 8192, bytes).unwrap();
        unlock(&self.far, call);
    }
}

fn lock(world: &World, call: LockCall) -> Result<(), Error> {
    world.pool.run(world.mount.clone().lock(call, false))
}

fn unlock(world: &World, call: LockCall) {
    world.pool.run(world.mount.clone().unlock(call)).unwrap();
}

#[test]
fn a_lock_makes_the_kernel_drop_pages_that_another_host_changed_and_no_others() {
    for cache in [CacheMode::Auto, CacheMode::None] {
        let shared = Shared::new(cache);
        assert!(!shared.drops(), "nothing has changed since the open");
        for bytes in [b"one", b"two"] {
            shared.they_write(bytes);
            assert!(shared.drops());
            assert_eq!(shared.near.read(shared.mine, 8192, 3).unwrap(), bytes);
            assert!(!shared.drops(), "it has pages of this version only");
        }
        // Its own bytes are in its pages.
        shared.near.write(shared.mine, 0, b"mine").unwrap();
        assert!(!shared.drops() && !shared.drops());
    }
}

#[test]
fn a_lock_makes_the_kernel_drop_pages_that_another_mount_of_the_host_changed() {
    let near = world(4 << 20);
    let beside = near.beside(CacheMode::Auto);
    let kernel = Arc::new(Kernel::default());
    beside.mount.set_notify(kernel.clone());
    let (ino, file) = near.create("f");
    let theirs = beside.open(ino, RW).unwrap();
    let drops = || {
        kernel.notified.lock().clear();
        lock(&beside, call(theirs, LockKind::Posix)).unwrap();
        unlock(&beside, call(theirs, LockKind::Posix));
        kernel.notified.lock().contains(&("range", ino))
    };
    assert!(!drops());
    near.write(file, 0, b"one").unwrap();
    assert!(drops(), "not committed yet");
    assert!(drops(), "nor when the lock was taken");
    assert!(!drops());
    lock(&near, call(file, LockKind::Flock)).unwrap();
    near.write(file, 0, b"two").unwrap();
    unlock(&near, call(file, LockKind::Flock));
    assert!(drops() && !drops());
}

#[test]
fn a_lock_under_which_old_pages_might_be_read_is_given_back() {
    let shared = Shared::new(CacheMode::Auto);
    shared.they_write(b"one");
    *shared.kernel.busy.lock() = Some(Vec::new());
    assert_eq!(shared.lock().unwrap_err().errno(), libc::EIO);
    let theirs = call(shared.theirs, LockKind::Posix);
    let free = (0..200).any(|_| {
        let pause = shared.far.mount.executor().sleep(Duration::from_millis(5));
        shared.far.pool.run(pause);
        lock(&shared.far, theirs).is_ok()
    });
    assert!(free);
    unlock(&shared.far, theirs);
    let waiting = shared.kernel.busy.lock().take();
    waiting.into_iter().flatten().for_each(|done| done());
    assert!(shared.drops());
    assert_eq!(shared.near.read(shared.mine, 8192, 3).unwrap(), b"one");
}

/// A file that the first host has open as "f", the second one as "theirs".
fn lab() -> Lab {
    let mut lab = Lab::new();
    lab.create(lab.a, "f").unwrap();
    lab.open(lab.b, "f", RW, "theirs").unwrap();
    lab
}

fn with(lab: &mut Lab, file: &str, operation: impl FnOnce(Arc<Mount>, HandleId) -> Op<()>) {
    let (host, _, handle) = lab.open[file];
    lab.call(host, |mount| operation(mount, handle)).unwrap();
}

fn take(lab: &mut Lab, file: &str, kind: LockKind) {
    with(lab, file, |mount, handle| {
        Box::pin(mount.lock(call(handle, kind), false))
    });
}

/// What ends an exclusive lock of this kind.
type GivesUp = (LockKind, fn(Arc<Mount>, HandleId, LockKind) -> Op<()>);

#[test]
fn what_is_written_under_a_lock_is_there_for_whoever_gets_it_next() {
    let unlocks = KINDS.map(|kind| -> GivesUp {
        (kind, |mount, handle, kind| {
            Box::pin(mount.unlock(call(handle, kind)))
        })
    });
    let shares = KINDS.map(|kind| -> GivesUp {
        (kind, |mount, handle, kind| {
            let exclusive = false;
            let shared = LockCall {
                exclusive,
                ..call(handle, kind)
            };
            Box::pin(mount.lock(shared, false))
        })
    });
    let closes: [GivesUp; 2] = [
        (LockKind::Posix, |mount, handle, _| {
            Box::pin(mount.flush_by(handle, 77))
        }),
        (LockKind::Flock, |mount, handle, _| {
            Box::pin(mount.release(handle))
        }),
    ];
    for (kind, gives_up) in unlocks.into_iter().chain(shares).chain(closes) {
        let mut lab = lab();
        take(&mut lab, "f", kind);
        lab.write("f", 0, &pattern(5000, 3)).unwrap();
        with(&mut lab, "f", |mount, handle| gives_up(mount, handle, kind));
        with(&mut lab, "theirs", |mount, handle| {
            let exclusive = false;
            let shared = LockCall {
                exclusive,
                ..call(handle, kind)
            };
            Box::pin(mount.lock(shared, false))
        });
        assert_eq!(lab.read("theirs", 0, 9000).unwrap(), pattern(5000, 3), "{kind:?}");
    }
}

#[test]
fn a_lock_of_an_unchanged_file_costs_no_look_at_it() {
    for kind in KINDS {
        let mut lab = lab();
        let calls = |lab: &Lab, host: HostId| lab.sim.mount(host).client.counter.traffic().count;
        for _ in 0..3 {
            let before = calls(&lab, lab.a);
            take(&mut lab, "f", kind);
            let locked = calls(&lab, lab.a);
            with(&mut lab, "f", |mount, handle| {
                Box::pin(mount.unlock(call(handle, kind)))
            });
            assert_eq!((locked - before, calls(&lab, lab.a) - locked), (1, 1), "{kind:?}");
        }
    }
}

#[test]
fn an_unlock_without_its_node_takes_no_longer_than_the_mount_waits() {
    let mut lab = lab();
    take(&mut lab, "f", LockKind::Flock);
    lab.write("f", 0, &pattern(5000, 3)).unwrap();
    lab.sim.kill_node();
    let (host, _, handle) = lab.open["f"];
    let mount = lab.sim.mount(host);
    let most = mount.timeout() + mount.timeout() / 10;
    let unlocks = lab.sim.start(host, mount.unlock(call(handle, LockKind::Flock)));
    lab.sim.pass_by(most + Duration::from_millis(100));
    assert_eq!(unlocks.take().unwrap().unwrap_err().errno(), libc::EIO);
}
