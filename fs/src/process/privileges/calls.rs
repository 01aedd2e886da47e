//! The system calls of the daemons: the only list, by groups, each with its reason.
//!
//! What is not here does not exist for a daemon (ENOSYS). A call that the C library may choose instead of another one is here as
//! well, whichever this build's C library chooses: a daemon that was built here runs on hosts with others. Names that only x86_64
//! has stand in groups of their own.

use super::capabilities::Role;

/// A system call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) name: &'static str,
    pub(super) number: i64,
    pub(super) only: Only,
}

/// With which arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Only {
    /// With any.
    Any,
    /// A thread of this process, never a process (clone(2) without CLONE_THREAD).
    Thread,
    /// A signal to this process.
    OwnProcess,
    /// AF_UNIX, AF_INET, AF_INET6 and AF_NETLINK (getaddrinfo(3) and libibverbs ask the kernel for addresses and devices).
    Family,
    /// Memory that can be written or executed, not both.
    WriteOrExecute,
    /// Memory that cannot be executed.
    NoExecute,
    /// Reading limits, not changing them.
    ReadLimit,
    /// Names of threads and mappings.
    Names,
    /// Everything but typing into a terminal (TIOCSTI, TIOCLINUX).
    NoTyping,
    /// Of the working directory alone.
    WorkingDirectory,
    /// Mount namespaces.
    MountNamespace,
}

/// Calls that are there for one reason.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    pub(super) reason: &'static str,
    pub(super) calls: &'static [Call],
}

macro_rules! calls {
    ($($name:ident $(: $only:ident)?),* $(,)?) => {
        &[$(Call { name: stringify!($name), number: libc::$name, only: calls!(@only $($only)?) }),*]
    };
    (@only) => { Only::Any };
    (@only $only:ident) => { Only::$only };
}

/// Of all daemons.
const EVERY: &[Group] = &[
    Group {
        reason: "bytes of files, sockets, pipes and /dev/fuse",
        calls: calls![
            SYS_read,
            SYS_write,
            SYS_readv,
            SYS_writev,
            SYS_pread64,
            SYS_pwrite64,
            SYS_preadv,
            SYS_pwritev,
            SYS_lseek
        ],
    },
    Group {
        reason: "waiting: for descriptors, other threads and time",
        calls: calls![
            SYS_ppoll,
            SYS_pselect6,
            SYS_epoll_create1,
            SYS_epoll_ctl,
            SYS_epoll_pwait,
            SYS_epoll_pwait2,
            SYS_eventfd2,
            SYS_timerfd_create,
            SYS_timerfd_settime,
            SYS_futex,
            SYS_nanosleep,
            SYS_clock_nanosleep,
            SYS_restart_syscall,
            SYS_sched_yield,
            SYS_pidfd_open
        ],
    },
    Group {
        reason: "the time, where the vDSO has no clock of the kernel",
        calls: calls![SYS_clock_gettime, SYS_clock_getres, SYS_gettimeofday],
    },
    Group {
        reason: "memory: of the allocator and of stacks; the arena; libraries that getaddrinfo(3), a backtrace or libibverbs load late",
        calls: calls![
            SYS_brk, SYS_mmap: WriteOrExecute, SYS_mprotect: NoExecute, SYS_mremap, SYS_munmap, SYS_madvise, SYS_memfd_create,
            SYS_mlock, SYS_munlock, SYS_membarrier
        ],
    },
    Group {
        reason: "threads: their beginning and end, names, and stacks for signals",
        calls: calls![
            SYS_clone: Thread, SYS_set_robust_list, SYS_rseq, SYS_sigaltstack, SYS_sched_getaffinity, SYS_gettid,
            SYS_prctl: Names, SYS_exit, SYS_exit_group
        ],
    },
    Group {
        reason: "signals: SIGTERM is waited for, abort(3) after a panic, `rdmafs stop` of a node",
        calls: calls![
            SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_rt_sigtimedwait, SYS_signalfd4, SYS_kill: OwnProcess,
            SYS_tgkill: OwnProcess
        ],
    },
    Group {
        reason: "what this process and host are",
        calls: calls![
            SYS_getpid, SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid, SYS_prlimit64: ReadLimit, SYS_uname, SYS_sysinfo, SYS_getrandom
        ],
    },
    Group {
        reason: "files by name: keys, /proc, /sys, the log, the run and state directories, what getaddrinfo(3) reads",
        calls: calls![
            SYS_openat,
            SYS_openat2,
            SYS_close,
            SYS_close_range,
            SYS_fstat,
            SYS_newfstatat,
            SYS_statx,
            SYS_faccessat,
            SYS_faccessat2,
            SYS_readlinkat,
            SYS_getdents64,
            SYS_getcwd,
            SYS_statfs,
            SYS_fstatfs,
            SYS_fcntl,
            SYS_dup,
            SYS_dup3,
            SYS_pipe2
        ],
    },
    Group {
        reason: "changing files: the store, records of mounts, pid files, sockets' names and modes",
        calls: calls![
            SYS_ftruncate,
            SYS_fallocate,
            SYS_fsync,
            SYS_fdatasync,
            SYS_flock,
            SYS_mkdirat,
            SYS_unlinkat,
            SYS_renameat,
            SYS_renameat2,
            SYS_linkat,
            SYS_fchmod,
            SYS_fchmodat
        ],
    },
    Group {
        reason: "messages over sockets that are there, and descriptors passed on",
        calls: calls![
            SYS_sendto, SYS_recvfrom, SYS_sendmsg, SYS_recvmsg, SYS_shutdown, SYS_socketpair: Family
        ],
    },
];

/// Of those that have peers.
const PEERS: &[Group] = &[
    Group {
        reason: "sockets: peers, the control socket, the service manager, names of hosts",
        calls: calls![
            SYS_socket: Family, SYS_bind, SYS_listen, SYS_accept, SYS_accept4, SYS_connect, SYS_getsockname,
            SYS_getpeername, SYS_getsockopt, SYS_setsockopt, SYS_sendmmsg, SYS_recvmmsg
        ],
    },
    Group {
        reason: "devices: RDMA cards, copies of /dev/fuse; what kind of descriptor one is",
        calls: calls![SYS_ioctl: NoTyping],
    },
];

/// What a C library may choose where the architecture has it: these came before those above.
#[cfg(target_arch = "x86_64")]
const OLD: &[Group] = &[Group {
    reason: "older names of calls above, which C libraries choose on x86_64",
    calls: calls![
        SYS_open,
        SYS_stat,
        SYS_lstat,
        SYS_access,
        SYS_readlink,
        SYS_mkdir,
        SYS_rmdir,
        SYS_unlink,
        SYS_link,
        SYS_rename,
        SYS_chmod,
        SYS_dup2,
        SYS_pipe,
        SYS_poll,
        SYS_select,
        SYS_epoll_wait,
        SYS_eventfd,
        SYS_time
    ],
}];
#[cfg(not(target_arch = "x86_64"))]
const OLD: &[Group] = &[];

/// Of a node.
const LENDS: &[Group] = &[Group {
    reason: "a low priority of the thread that unauthenticated connections wait on",
    calls: calls![SYS_setpriority],
}];

/// Of the process that mounts.
const MOUNTS: &[Group] = &[
    Group {
        reason: "mounting in the place of a dead mount, unmounting it, and ending a FUSE connection",
        calls: calls![
            SYS_mount,
            SYS_umount2,
            SYS_fsopen,
            SYS_fsconfig,
            SYS_fsmount,
            SYS_open_tree,
            SYS_move_mount
        ],
    },
    Group {
        reason: "work in the mount namespace that a mount was made in",
        calls: calls![SYS_setns: MountNamespace, SYS_unshare: WorkingDirectory, SYS_chdir, SYS_fchdir],
    },
];

/// The groups of a daemon.
pub(super) fn groups(role: Role) -> impl Iterator<Item = &'static Group> {
    let (peers, own) = match role {
        Role::Node { .. } => (PEERS, LENDS),
        Role::Handler { .. } => (PEERS, &[][..]),
        Role::Mounter => (&[][..], MOUNTS),
    };
    EVERY.iter().chain(OLD).chain(peers).chain(own)
}
