//! `rdmafs fsck` on a store that is broken in its file: the node refuses it, fsck says what is wrong and repairs it, and the pool is
//! mounted again with what was lost in `/lost+found`. Everything is done by the program that is installed; only the breaking is ours.
#![allow(clippy::unwrap_used, reason = "a failing helper fails its test")]

use redb::{Database, TableDefinition};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

const PAIRS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("namespace");

/// A directory with a run directory, a state directory and a mount point in it.
struct TestPool {
    dir: tempfile::TempDir,
    port: u16,
    node: Option<Child>,
}

impl TestPool {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["run", "mnt"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        let node = None;
        Self { dir, port, node }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn rdmafs(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rdmafs"));
        command.args(words).env("RDMAFS_RUN_DIR", self.path("run"));
        command
    }

    fn state(&self) -> String {
        self.path("state").display().to_string()
    }

    fn source(&self) -> String {
        format!("127.0.0.1:{}:/p", self.port)
    }

    fn serve(&self, memory: &str) -> Command {
        let (listen, key) = (format!("127.0.0.1:{}", self.port), self.path("key"));
        let mut serve = self.rdmafs(&["serve", "--pool", "p", "--foreground", "--memory", memory]);
        serve.args(["--listen", &listen, "--state", &self.state(), "--key"]);
        serve.arg(key);
        serve.stdout(Stdio::null());
        serve
    }

    fn start(&mut self) {
        let mut node = self.serve("16M").stderr(Stdio::null()).spawn().unwrap();
        let pid_file = self.path(&format!("run/node-{}.pid", self.port));
        while !pid_file.exists() {
            assert!(node.try_wait().unwrap().is_none(), "the node ended early");
            sleep(Duration::from_millis(20));
        }
        self.node = Some(node);
        let options = format!("key={}", self.path("key").display());
        let mnt = self.mount();
        let mount = self.rdmafs(&["mount", &self.source(), mnt.to_str().unwrap(), "-o", &options]);
        expect(mount, 0);
    }

    fn mount(&self) -> PathBuf {
        self.path("mnt")
    }

    fn stop(&mut self) {
        let mnt = self.mount();
        expect(self.rdmafs(&["umount", mnt.to_str().unwrap()]), 0);
        expect(self.rdmafs(&["stop", "--yes", &self.port.to_string()]), 0);
        assert!(self.node.take().unwrap().wait().unwrap().success());
    }

    fn fsck(&self, words: &[&str], code: i32) -> String {
        let state = self.state();
        let mut fsck = self.rdmafs(&["fsck", "--state", &state]);
        fsck.args(words);
        let output = expect(fsck, code);
        String::from_utf8(output.stdout).unwrap()
    }

    /// Changes pairs of the store in its file.
    fn edit(&self, edit: impl FnOnce(&mut redb::Table<'_, &'static [u8], &'static [u8]>)) {
        let store = Database::open(self.path("state/namespace.redb")).unwrap();
        let transaction = store.begin_write().unwrap();
        edit(&mut transaction.open_table(PAIRS).unwrap());
        transaction.commit().unwrap();
    }
}

impl Drop for TestPool {
    fn drop(&mut self) {
        if let Some(mut node) = self.node.take() {
            let mnt = self.mount();
            let _gone = self.rdmafs(&["umount", "-l", mnt.to_str().unwrap()]).output();
            let _gone = node.kill();
            let _gone = node.wait();
        }
    }
}

/// Runs it to its end, which must have this code.
fn expect(mut command: Command, code: i32) -> Output {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{command:?}: {output:?}");
    output
}

fn inode(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    path.symlink_metadata().unwrap().ino()
}

fn key(kind: u8, ino: u64, rest: &[u8]) -> Vec<u8> {
    [&[kind], &ino.to_be_bytes()[..], rest].concat()
}

#[test]
#[expect(clippy::too_many_lines, reason = "one story, in its order")]
fn a_broken_store_is_refused_repaired_and_mounted_anew() {
    let mut place = TestPool::new();
    place.start();
    let mnt = place.mount();
    for dir in ["a", "a/below", "b"] {
        fs::create_dir(mnt.join(dir)).unwrap();
    }
    for (file, bytes) in [("a/kept", 10), ("a/below/kept", 70_000), ("b/nameless", 5)] {
        fs::write(mnt.join(file), vec![b'x'; bytes]).unwrap();
    }
    let [a, b, below, nameless] = ["a", "b", "a/below", "b/nameless"].map(|path| inode(&mnt.join(path)));
    place.stop();
    assert!(place.fsck(&[], 0).contains("7 inodes, 6 entries"));

    place.edit(|pairs| {
        // The record of `/a`, the name of `/b/nameless`, and a key of nobody.
        pairs.remove(&key(b'I', a, b"")[..]).unwrap().unwrap();
        pairs.remove(&key(b'D', b, b"nameless")[..]).unwrap().unwrap();
        pairs.insert(&b"nobody's"[..], &b""[..]).unwrap();
    });
    let refused = expect(place.serve("16M"), 1);
    let line = String::from_utf8(refused.stderr).unwrap();
    let line = line.lines().last().unwrap();
    assert!(
        line.contains("damaged") && line.contains("rdmafs fsck --state"),
        "{line}"
    );

    let text = place.fsck(&[], 4);
    for wanted in [
        format!("lost-directory: inode {a} (/a): "),
        format!("orphan: inode {nameless}: "),
        "malformed-key: ".to_owned(),
    ] {
        assert!(text.contains(&wanted), "{text}");
    }
    let before = place.fsck(&["--json"], 4);
    assert_eq!(before, place.fsck(&["--json"], 4), "looking changes nothing");
    assert!(
        before.contains(r#""kind":"orphan""#) && before.contains(r#""repaired":false"#),
        "{before}"
    );

    let text = place.fsck(&["--repair"], 1);
    assert!(text.contains("0 left after the repair"), "{text}");
    // The node does not run: what files had in its memory is lost.
    assert!(place.fsck(&[], 0).ends_with(": no damage\n"));
    assert!(place.fsck(&["--repair"], 0).ends_with(": no damage\n"));

    place.start();
    assert_eq!(inode(&mnt.join("a/below")), below);
    assert_eq!(fs::metadata(mnt.join("a/below/kept")).unwrap().len(), 70_000);
    let found = mnt.join(format!("lost+found/#{nameless}"));
    assert_eq!((inode(&found), found.metadata().unwrap().len()), (nameless, 5));
    let lost = fs::read(mnt.join("a/kept")).unwrap_err();
    assert_eq!(
        lost.raw_os_error(),
        Some(5),
        "the old memory is gone, and says so"
    );
    fs::write(mnt.join("b/new"), "after").unwrap();
    assert_eq!(fs::read(mnt.join("b/new")).unwrap(), b"after");
    let live = place.rdmafs(&[
        "fsck",
        &place.source(),
        "--key",
        place.path("key").to_str().unwrap(),
    ]);
    expect(live, 0);
    place.stop();
}

#[test]
fn another_size_is_refused_until_it_is_wanted() {
    let mut place = TestPool::new();
    place.start();
    place.stop();
    let refused = expect(place.serve("24M"), 1);
    let line = String::from_utf8(refused.stderr).unwrap();
    let remedy = format!("rdmafs fsck --state {} --memory 24M", place.state());
    assert!(
        line.contains("--memory 16M, not 24M") && line.contains(&remedy),
        "{line}"
    );
    place.fsck(&["--memory", "24M"], 0);
    let refused = expect(place.serve("16M"), 1);
    assert!(
        String::from_utf8(refused.stderr)
            .unwrap()
            .contains("--memory 24M, not 16M")
    );
    place.fsck(&["--memory", "16M"], 0);
    place.start();
    place.stop();
}
