//! Real mounts: a memory node and a handler of our own, under a temporary run directory, gone without a trace in the end.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// A node with one pool, mounted any number of times.
#[derive(Debug)]
pub struct Fixture {
    dir: tempfile::TempDir,
    node: Child,
    source: String,
    mounts: Vec<PathBuf>,
}

impl Fixture {
    /// Serves `memory` (like `256M`) and mounts it once per entry of `caches` (`auto`, `none`) over `fabric` (`shm`, `tcp`).
    ///
    /// # Panics
    /// With a clear word when this is not root, /dev/fuse or the binary is missing, or the daemons fail. Never skips.
    #[must_use]
    pub fn new(memory: &str, fabric: &str, caches: &[&str]) -> Self {
        assert!(nix::unistd::geteuid().is_root(), "mounted tests need root");
        assert!(
            Path::new("/dev/fuse").exists(),
            "/dev/fuse is missing: run 'modprobe fuse'"
        );
        let dir = tempfile::Builder::new()
            .prefix("rdmafs-test.")
            .tempdir()
            .expect("a temporary directory");
        // Whatever the umask is: other users walk through the one, and must not change the other.
        set_mode(dir.path(), 0o755);
        let run = dir.path().join("run");
        fs::create_dir(&run).expect("a run directory");
        set_mode(&run, 0o755);
        let port = free_port();
        let node = serve(dir.path(), port, memory);
        let source = format!("127.0.0.1:{port}:/p");
        let mounts = Vec::new();
        let mut fixture = Self {
            dir,
            node,
            source,
            mounts,
        };
        fixture.wait_until_serving(port);
        for cache in caches {
            fixture.mount(fabric, cache);
        }
        fixture
    }

    /// The directories of the mounts.
    #[must_use]
    pub fn mounts(&self) -> &[PathBuf] {
        &self.mounts
    }

    fn wait_until_serving(&mut self, port: u16) {
        let ready = self.dir.path().join(format!("run/node-{port}.pid"));
        let served = wait_until(60, || {
            ready.exists() || self.node.try_wait().is_ok_and(|end| end.is_some())
        });
        assert!(served && ready.exists(), "the node is not ready: {}", self.log());
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("node.log")).unwrap_or_default()
    }

    fn mount(&mut self, fabric: &str, cache: &str) {
        let at = self.dir.path().join(format!("mnt{}", self.mounts.len()));
        fs::create_dir(&at).expect("a mount point");
        let key = self.dir.path().join("key");
        // A whiteout is a device node, and is opened as one on the temporary directory.
        let options = format!("key={},fabric={fabric},cache={cache},dev", key.display());
        let mut command = rdmafs(self.dir.path());
        let output = command
            .args(["mount", &self.source])
            .arg(&at)
            .args(["-o", &options])
            .output();
        check("mount", output);
        self.mounts.push(at);
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        for mount in self.mounts.iter().rev() {
            let _gone = Command::new("umount").arg("-l").arg(mount).status();
        }
        let handler = fs::read_to_string(self.dir.path().join("run/handler.pid"));
        if let Some(pid) = handler.ok().and_then(|text| text.trim().parse().ok()) {
            end(nix::unistd::Pid::from_raw(pid));
        }
        terminate(&mut self.node);
    }
}

/// Sets the mode of a file, whatever the umask of this process is.
///
/// # Panics
/// If it cannot be set.
pub fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("the mode of a file of our own");
}

/// The binary: `RDMAFS` names it, or the newest of the build directory is taken.
fn binary() -> PathBuf {
    if let Some(named) = std::env::var_os("RDMAFS") {
        return named.into();
    }
    let here = std::env::current_exe().expect("the path of this test");
    let target = here
        .ancestors()
        .find(|path| path.ends_with("target"))
        .expect("a build directory");
    let built = ["release", "debug"].map(|profile| target.join(profile).join("rdmafs"));
    let newest = built.into_iter().filter(|path| path.exists()).max_by_key(|path| {
        let changed = fs::metadata(path).and_then(|meta| meta.modified());
        changed.expect("a time of change")
    });
    newest.expect("no rdmafs binary: run 'cargo build -p rdmafs-mount-tool' first, or set RDMAFS")
}

fn rdmafs(dir: &Path) -> Command {
    let mut command = Command::new(binary());
    command.env("RDMAFS_RUN_DIR", dir.join("run"));
    command
}

fn serve(dir: &Path, port: u16, memory: &str) -> Child {
    let log = fs::File::create(dir.join("node.log")).expect("a log file");
    let listen = format!("127.0.0.1:{port}");
    let mut command = rdmafs(dir);
    command.args([
        "serve",
        "--pool",
        "p",
        "--memory",
        memory,
        "--listen",
        &listen,
        "--foreground",
        "--key",
    ]);
    command.arg(dir.join("key")).stdout(Stdio::null()).stderr(log);
    command.spawn().expect("the node starts")
}

fn check(what: &str, output: std::io::Result<Output>) {
    let output = output.unwrap_or_else(|error| panic!("{what}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {said}");
}

/// Below the range that outgoing connections take, and random: other tests look for one at the same time.
fn free_port() -> u16 {
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let mut random = std::iter::repeat_with(|| rand::random_range(10_000..32_000));
    random.find(free).expect("a free port")
}

fn wait_until(seconds: u32, mut ready: impl FnMut() -> bool) -> bool {
    for _ in 0..seconds * 50 {
        if ready() {
            return true;
        }
        sleep(Duration::from_millis(20));
    }
    false
}

/// A daemon that is not our child: it ends by itself after its last mount, else it is asked, then made to.
fn end(pid: nix::unistd::Pid) {
    use nix::sys::signal::{Signal, kill};
    let gone = || kill(pid, None).is_err();
    if !wait_until(5, gone) {
        let _asked = kill(pid, Signal::SIGTERM);
    }
    if !wait_until(5, gone) {
        let _killed = kill(pid, Signal::SIGKILL);
    }
}

fn terminate(node: &mut Child) {
    let pid = nix::unistd::Pid::from_raw(node.id().cast_signed());
    let _asked = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
    if !wait_until(10, || node.try_wait().is_ok_and(|end| end.is_some())) {
        let _killed = node.kill();
        let _end = node.wait();
    }
}
