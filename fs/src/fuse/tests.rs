//! The adapter under a real kernel: a mount whose memory node is in this process. Needs root and /dev/fuse, as every mount
//! does; without them there is nothing to test and each test ends at once.

use super::session::FuseSession;
use super::{Callers, Meter, Reading};
use crate::handler::testing::mount_on_sim;
use crate::mount::{Attached, Detach, KernelFlags, Namespace, Sought};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::sys::statvfs::statvfs;
use nix::unistd::{Whence, lseek};
use std::collections::BTreeSet;
use std::fs::{self, File, FileTimes, OpenOptions, Permissions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

const ARENA: u64 = 64 << 20;

/// Mounts, tests, unmounts; the session must end well. Gives the counters of the mount.
fn mounted(test: impl FnOnce(&Path)) -> Option<Reading> {
    if !nix::unistd::geteuid().is_root() || !Path::new("/dev/fuse").exists() {
        return None;
    }
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().canonicalize().unwrap();
    let (mount, _pool) = mount_on_sim(ARENA, 1);
    let made = Namespace::own()
        .unwrap()
        .enter(|view| view.attach("node1:/pool", &dir, KernelFlags::default(), None));
    let Attached { fuse, .. } = made.unwrap().unwrap();
    let guard = Unmount(&dir);
    let callers = Callers {
        visible: true,
        idmapped: false,
    };
    let session = FuseSession::start(mount.clone(), fuse, callers).unwrap();
    let meter: Arc<Meter> = session.meter();
    let served = thread::spawn(move || session.run());
    test(&dir);
    drop(guard);
    served.join().unwrap().unwrap();
    mount.close();
    Some(meter.read())
}

/// Also when a test fails: else the test process would wait for itself.
struct Unmount<'a>(&'a Path);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        let sought = Sought {
            dir: self.0,
            source: "node1:/pool",
            device: None,
            dead: false,
        };
        let namespace = Namespace::own().unwrap();
        let _done = namespace.enter(|view| view.detach(sought, &|_| false));
    }
}

#[test]
fn a_served_mount_is_not_taken_for_a_dead_one() {
    mounted(|dir| {
        let sought = Sought {
            dir,
            source: "node1:/pool",
            device: None,
            dead: true,
        };
        let namespace = Namespace::own().unwrap();
        let found = namespace.enter(|view| (view.detach(sought, &|_| false), view.dead_on(dir)));
        assert_eq!(found.unwrap(), (Detach::Alive, None));
    });
}

#[test]
fn bytes_come_back_in_every_way_of_reading_and_writing() {
    let reading = mounted(|dir| {
        let path = dir.join("file");
        let bytes: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
        fs::write(&path, &bytes).unwrap();
        assert!(fs::read(&path).unwrap() == bytes);
        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        file.write_all_at(b"in the middle", 1_500_001).unwrap();
        let mut part = [0; 15];
        file.read_exact_at(&mut part, 1_500_000).unwrap();
        assert_eq!(&part[1..14], b"in the middle");
        file.set_len(10).unwrap();
        file.set_len(2_000_000).unwrap();
        let cut = fs::read(&path).unwrap();
        assert!(cut.len() == 2_000_000 && cut[..10] == bytes[..10] && cut[10..].iter().all(|b| *b == 0));
        let mut end = OpenOptions::new().append(true).open(&path).unwrap();
        end.write_all(b"tail").unwrap();
        file.sync_all().unwrap();
        let mut tail = Vec::new();
        let mut anew = File::open(&path).unwrap();
        anew.seek(SeekFrom::Start(2_000_000)).unwrap();
        anew.read_to_end(&mut tail).unwrap();
        assert_eq!(tail, b"tail");
        File::create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), 0);
    });
    if let Some(reading) = reading {
        assert!(reading.answered > 10 && reading.in_flight == 0, "{reading:?}");
        assert!(reading.mean_latency > Duration::ZERO);
    }
}

#[test]
fn a_large_directory_is_listed_whole_and_once() {
    mounted(|dir| {
        let wanted: BTreeSet<String> = (0..700).map(|i| format!("a longer name of file {i}")).collect();
        for name in &wanted {
            File::create(dir.join(name)).unwrap();
        }
        let list: Vec<_> = fs::read_dir(dir).unwrap().map(Result::unwrap).collect();
        assert_eq!(list.len(), wanted.len());
        let found: BTreeSet<_> = list
            .iter()
            .map(|e| e.file_name().into_string().unwrap())
            .collect();
        assert_eq!(found, wanted);
        assert!(list.iter().all(|entry| entry.metadata().unwrap().is_file()));
    });
}

#[test]
fn attributes_are_shown_as_they_were_set() {
    mounted(|dir| {
        let path = dir.join("file");
        let file = File::create(&path).unwrap();
        let early = UNIX_EPOCH - Duration::new(1, 200_000_000);
        let late = UNIX_EPOCH + Duration::new(5_000_000_000, 7);
        file.set_times(FileTimes::new().set_modified(early).set_accessed(late))
            .unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o4751)).unwrap();
        std::os::unix::fs::chown(&path, Some(7), Some(8)).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o4751)).unwrap();
        let shown = fs::metadata(&path).unwrap();
        assert_eq!(shown.modified().unwrap(), early);
        assert_eq!(shown.accessed().unwrap(), late);
        assert_eq!((shown.mode() & 0o7777, shown.uid(), shown.gid()), (0o4751, 7, 8));
        assert_eq!((shown.blksize(), shown.blocks()), (4096, 0));
        file.write_all_at(b"x", 1 << 40).unwrap();
        file.sync_all().unwrap();
        let shown = fs::metadata(&path).unwrap();
        assert_eq!(shown.len(), (1 << 40) + 1);
        assert!((8..=128).contains(&shown.blocks()), "{}", shown.blocks());
        let space = statvfs(dir).unwrap();
        assert_eq!((space.block_size(), space.name_max()), (4096, 255));
        assert_eq!(space.blocks() * space.fragment_size(), ARENA);
    });
}

#[test]
fn names_move_and_what_is_not_offered_is_said_so_that_callers_fall_back() {
    mounted(|dir| {
        let (a, b) = (dir.join("a"), dir.join("b"));
        fs::write(&a, "a").unwrap();
        fs::write(&b, "b").unwrap();
        let rename = |flags| renameat2(AT_FDCWD, &a, AT_FDCWD, &b, flags);
        assert_eq!(rename(RenameFlags::RENAME_NOREPLACE), Err(Errno::EEXIST));
        let both = RenameFlags::RENAME_EXCHANGE | RenameFlags::RENAME_WHITEOUT;
        assert_eq!(rename(both), Err(Errno::EINVAL));
        rename(RenameFlags::RENAME_EXCHANGE).unwrap();
        assert_eq!(fs::read(&a).unwrap(), b"b");
        fs::hard_link(&a, dir.join("c")).unwrap();
        assert_eq!(fs::metadata(&a).unwrap().nlink(), 2);
        symlink("a", dir.join("l")).unwrap();
        assert_eq!(fs::read_link(dir.join("l")).unwrap(), Path::new("a"));
        assert_eq!(fs::read(dir.join("l")).unwrap(), b"b");
        fs::create_dir(dir.join("d")).unwrap();
        assert!(fs::remove_file(dir.join("d")).is_err());
        fs::remove_dir(dir.join("d")).unwrap();
        fs::remove_file(&a).unwrap();
        assert!(!a.exists());
        // The kernel copies and seeks by itself.
        assert_eq!(fs::copy(&b, dir.join("copy")).unwrap(), 1);
        let copy = File::open(dir.join("copy")).unwrap();
        assert_eq!(lseek(&copy, 0, Whence::SeekHole), Ok(1));
    });
}
