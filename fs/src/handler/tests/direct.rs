//! Changes that pass the kernel's page cache by, while it has pages of the file.
#![expect(clippy::single_range_in_vec_init, reason = "lists of one range are meant")]

use super::world::{World, pattern, world};
use crate::atomic_ioctl::FETCH_ADD;
use crate::executor::Executor;
use crate::handler::{HandleId, KernelNotify, Mount, SpaceChange, WriteMode};
use parking_lot::Mutex;
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::id::InodeId;
use std::ops::Range;
use std::sync::{Arc, Weak};

type Done = Box<dyn FnOnce() + Send>;

/// A kernel with one dirty page, the first of a file, that it writes back before it drops it.
struct Kernel {
    mount: Weak<Mount>,
    executor: Executor,
    file: HandleId,
    page: Mutex<Vec<u8>>,
    dropped: Mutex<Vec<Range<u64>>>,
    /// It never answers.
    hangs: bool,
}

impl KernelNotify for Kernel {
    fn attributes_changed(&self, _: InodeId, done: Option<Done>) {
        done.into_iter().for_each(|done| done());
    }
    fn data_changed(&self, _: InodeId) {}
    fn write_back(&self, _: InodeId, done: Done) {
        done();
    }
    fn drop_range(&self, _: InodeId, range: Range<u64>, done: Done) {
        self.dropped.lock().push(range);
        if self.hangs {
            return std::mem::forget(done);
        }
        let (mount, page, file) = (self.mount.upgrade().unwrap(), self.page.lock().clone(), self.file);
        let executor = self.executor.clone();
        std::thread::spawn(move || {
            executor.block_on(launder(mount, file, page));
            done();
        });
    }
}

async fn launder(mount: Arc<Mount>, file: HandleId, page: Vec<u8>) {
    let mut buffer = mount.clone().wait_buffer(page.len()).await.unwrap();
    buffer.copy_from_slice(&page);
    let mode = WriteMode {
        write_back: true,
        ..WriteMode::default()
    };
    let written = mount.write_as(file, 0, buffer, mode, None).await;
    assert_eq!(written, Ok(page.len()));
}

/// A file of two pages, of which the kernel has the first one, with a store to its last byte.
fn mapped(hangs: bool) -> (World, HandleId, Arc<Kernel>, Vec<u8>) {
    let world = world(1 << 20);
    let (_, file) = world.create("f");
    let old = pattern(8192, 1);
    world.write(file, 0, &old).unwrap();
    let fill = world.mount.clone().read_as(file, 0, 4096, true);
    world.pool.run(fill).unwrap();
    let mut page = old[..4096].to_vec();
    page[4095] = 0xee;
    let kernel = Arc::new(Kernel {
        mount: Arc::downgrade(&world.mount),
        executor: world.pool.executor().clone(),
        file,
        page: Mutex::new(page),
        dropped: Mutex::default(),
        hangs,
    });
    world.mount.set_notify(kernel.clone());
    (world, file, kernel, old)
}

#[test]
fn a_direct_write_outlasts_the_old_page_and_the_page_keeps_its_stores() {
    let (world, file, kernel, mut want) = mapped(false);
    assert_eq!(world.write(file, 100, &[7; 8]), Ok(8));
    assert_eq!(*kernel.dropped.lock(), [100..108]);
    want[100..108].fill(7);
    want[4095] = 0xee;
    assert_eq!(world.read(file, 0, 8192).unwrap(), want);
}

#[test]
fn so_do_zeros_copies_and_atomics_of_the_node() {
    let (world, file, kernel, mut want) = mapped(false);
    let zero = SpaceChange::Zero { keep_size: true };
    let mount = || world.mount.clone();
    let space = mount().fallocate(Credentials::root(), file, (10, 20), zero);
    world.pool.run(space).unwrap();
    want[10..30].fill(0);
    want[4095] = 0xee;
    assert_eq!(world.read(file, 0, 8192).unwrap(), want);
    kernel.page.lock()[10..30].fill(0);

    let word: Vec<u8> = [64_u64, 1, 0, 0]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect();
    let before = u64::from_le_bytes(want[64..72].try_into().unwrap());
    let adding = mount().ioctl(Credentials::root(), file, FETCH_ADD, word);
    world.pool.run(adding).unwrap();
    let after = before.wrapping_add(1).to_le_bytes();
    assert_eq!(world.read(file, 64, 8).unwrap(), after);
    assert_eq!(*kernel.dropped.lock(), [10..30, 64..72]);

    // The kernel would throw the rest of the page away.
    let (_, source) = world.create("source");
    world.write(source, 0, &[9; 100]).unwrap();
    let place = |handle, offset| crate::handler::FilePlace { handle, offset };
    let copying = mount().copy(Credentials::root(), place(source, 0), place(file, 0), 100);
    assert_eq!(world.pool.run(copying).unwrap_err().errno(), libc::EOPNOTSUPP);
    world.write(source, 0, &[9; 4096]).unwrap();
    let copying = mount().copy(Credentials::root(), place(source, 0), place(file, 0), 4096);
    assert_eq!(world.pool.run(copying), Ok(4096));
    assert_eq!(world.read(file, 0, 4096).unwrap(), [9; 4096]);
}

#[test]
fn a_file_without_pages_costs_nobody_a_word() {
    let (world, _, kernel, _) = mapped(false);
    let (_, other) = world.create("other");
    for at in 0..100 {
        world.write(other, at * 8, &[1; 8]).unwrap();
        world.read(other, at * 8, 8).unwrap();
    }
    assert_eq!(*kernel.dropped.lock(), []);
}

#[test]
fn a_kernel_that_does_not_drop_its_pages_is_an_error_in_time() {
    let (world, file, _, _) = mapped(true);
    let error = world.write(file, 100, &[7; 8]).unwrap_err();
    assert_eq!(error.errno(), libc::EIO);
    assert_eq!(world.read(file, 100, 8).unwrap(), [7; 8]);
}
