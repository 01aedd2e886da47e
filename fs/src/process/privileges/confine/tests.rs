//! Confined processes, each of its own: what is refused, and what goes on.

use super::*;
use crate::process::run_in_child;
use nix::errno::Errno;
use nix::mount::MsFlags;
use nix::sched::CloneFlags;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::unistd::{Pid, Uid};
use std::fmt::Debug;
use std::fs;
use std::process::Command;

/// True in the process that a test below starts: alone, the bodies do nothing, since they would confine the test runner.
fn in_child() -> bool {
    std::env::var_os("RDMAFS_TEST_CHILD").is_some()
}

fn assert_runs(body: &str) {
    let output = run_in_child(&format!("process::privileges::confine::tests::{body}"));
    assert!(output.status.success(), "{output:?}");
}

/// What `/proc` says of each thread of this process.
fn of_threads(word: &str) -> Vec<String> {
    let line = |task: fs::DirEntry| {
        let text = fs::read_to_string(task.path().join("status")).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(word));
        line.unwrap().trim().to_owned()
    };
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    tasks.map(|task| line(task.unwrap())).collect()
}

/// The error is that of a kernel that does not have the call.
fn assert_refused<T: Debug>(what: &str, done: nix::Result<T>) {
    assert_eq!(done.unwrap_err(), Errno::ENOSYS, "{what}");
}

fn assert_refused_to_all() {
    let ran = Command::new("/bin/true").output().unwrap_err();
    assert_eq!(ran.raw_os_error(), Some(libc::ENOSYS), "a program was executed");
    assert_refused("ptrace(2)", nix::sys::ptrace::attach(Pid::parent()));
    assert_refused("kill(2)", nix::sys::signal::kill(Pid::parent(), None));
    nix::sys::signal::kill(Pid::this(), None).expect("a signal to itself");
    assert_refused("chroot(2)", nix::unistd::chroot("/"));
    assert_refused("setuid(2)", nix::unistd::setuid(Uid::from_raw(1)));
    let family = |family| socket(family, SockType::Datagram, SockFlag::empty(), None);
    assert_refused("a packet socket", family(AddressFamily::Packet));
    assert_refused("a limit that is set", setrlimit(Resource::RLIMIT_CORE, 0, 0));
    getrlimit(Resource::RLIMIT_CORE).expect("a limit that is read");
    assert_refused("dumping", nix::sys::prctl::set_dumpable(true));
    assert_refused("a namespace", nix::sched::unshare(CloneFlags::CLONE_NEWUSER));
    assert_refused("a namespace", nix::sched::unshare(CloneFlags::CLONE_NEWNS));
}

fn assert_goes_on() {
    let thread = std::thread::Builder::new().name("later".into());
    let in_thread = || (of_threads("Seccomp:"), of_threads("CapEff:"));
    let (filters, _) = thread.spawn(in_thread).unwrap().join().unwrap();
    assert!(
        filters.len() >= 2 && filters.iter().all(|mode| mode == "2"),
        "{filters:?}"
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "bytes").unwrap();
    file.as_file().sync_all().unwrap();
    fs::rename(file.path(), file.path().with_extension("new")).unwrap();
    fs::remove_file(file.path().with_extension("new")).unwrap();
    let backtrace = std::backtrace::Backtrace::force_capture().to_string();
    assert!(backtrace.contains("assert_goes_on"), "{backtrace}");
}

fn confined(role: Role) {
    let mut left_out = LeftOut::default();
    confine(role, &mut left_out);
    let given = of_threads("CapBnd:");
    let kept = u64::from_str_radix(given.last().unwrap(), 16).unwrap();
    // Where tests run without root, nothing was there to be kept.
    if Uid::effective().is_root() {
        assert_eq!(kept & !role.set().bits(), 0, "{kept:x}");
    }
    assert!(format!("{left_out:?}").contains("[]"), "{left_out:?}");
    assert!(of_threads("NoNewPrivs:").iter().any(|set| set == "1"));
}

#[test]
fn a_node_executes_traces_and_mounts_nothing_and_serves() {
    assert_runs("child_node");
}

#[test]
fn child_node() {
    if !in_child() {
        return;
    }
    confined(Role::Node { low_port: false });
    assert_refused_to_all();
    let nothing: Option<&str> = None;
    let mount = nix::mount::mount(nothing, "/nowhere", nothing, MsFlags::MS_BIND, nothing);
    assert_refused("mount(2)", mount);
    assert_goes_on();
    let names = std::net::ToSocketAddrs::to_socket_addrs(&("localhost", 1)).map(Iterator::count);
    assert!(names.is_ok_and(|count| count > 0), "names of hosts are found");
}

#[test]
fn a_handler_mounts_nothing() {
    assert_runs("child_handler");
}

#[test]
fn child_handler() {
    if !in_child() {
        return;
    }
    confined(Role::Handler { hidden_tasks: false });
    assert_refused_to_all();
    assert_refused("umount2(2)", nix::mount::umount("/nowhere"));
    assert_goes_on();
}

#[test]
fn a_mounter_mounts_and_has_no_socket_but_those_it_was_given() {
    assert_runs("child_mounter");
}

#[test]
fn child_mounter() {
    if !in_child() {
        return;
    }
    confined(Role::Mounter);
    assert_refused_to_all();
    assert_ne!(nix::mount::umount("/nowhere"), Err(Errno::ENOSYS));
    let made = socket(AddressFamily::Unix, SockType::Stream, SockFlag::empty(), None);
    assert_refused("a socket", made);
    assert_goes_on();
}

#[test]
fn the_lists_say_what_a_reader_looks_for() {
    let text = describe(Role::Mounter);
    assert!(
        text.starts_with("capabilities 00000000002c0004\nCAP_SYS_ADMIN: "),
        "{text}"
    );
    assert!(
        text.contains("\n  move_mount\n") && text.contains("\n  setns (MountNamespace)\n"),
        "{text}"
    );
    let low = describe(Role::Node { low_port: true });
    assert!(low.starts_with("capabilities 0000000000004400\n"), "{low}");
    assert!(!describe(Role::Handler { hidden_tasks: false }).contains("mount\n"));
    let hidden = describe(Role::Handler { hidden_tasks: true });
    assert!(hidden.starts_with("capabilities 0000000000084000\n"), "{hidden}");
}
