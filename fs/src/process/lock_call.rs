//! By which call a thread asks for a file lock.
//!
//! A FUSE request for a lock says nothing of flock(2) or fcntl(2) that fuser would pass on. But the thread that asks is still in its
//! system call, and `/proc/TID/syscall` names that, with its arguments.

use super::of_task::of_task;
use rdmafs_meta::lock::LockKind;
use std::sync::OnceLock;

/// flock, fcntl and fcntl64 of 32-bit programs, on x86 and ARM alike (arch/x86/entry/syscalls/syscall_32.tbl). No call of a 64-bit
/// program with such a number takes locks.
const COMPAT: (i64, [i64; 2]) = (143, [55, 221]);

/// Commands of fcntl: F_SETLK, F_SETLKW, and their 64-bit twins of 32-bit programs.
const POSIX: [u64; 4] = [6, 7, 13, 14];
/// F_OFD_SETLK, F_OFD_SETLKW.
const OFD: [u64; 2] = [37, 38];

/// What a look at a thread gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// It asks for such a lock.
    Kind(LockKind),
    /// It has not come to rest yet: look again.
    Running,
    /// It is gone, cannot be seen, or does something else (a kernel thread of an NFS server).
    Unseen,
}

/// Who looks, where this process may not.
type Looker = Box<dyn Fn(u32) -> Sight + Send + Sync>;
static LOOKER: OnceLock<Looker> = OnceLock::new();

/// From now on another process looks, since that takes CAP_SYS_PTRACE. A second one is not taken.
pub(crate) fn look_by(looker: impl Fn(u32) -> Sight + Send + Sync + 'static) {
    let _ = LOOKER.set(Box::new(looker));
}

/// Looks at a thread. Blocking, for some microseconds where another process looks.
pub(crate) fn lock_call(tid: u32) -> Sight {
    LOOKER.get().map_or_else(|| look(tid), |looker| looker(tid))
}

/// Looks at a thread from this process.
pub(crate) fn look(tid: u32) -> Sight {
    of_task(tid, "syscall").map_or(Sight::Unseen, |line| parse(&line))
}

impl Sight {
    const ALL: [Self; 5] = [
        Self::Unseen,
        Self::Running,
        Self::Kind(LockKind::Flock),
        Self::Kind(LockKind::Posix),
        Self::Kind(LockKind::Ofd),
    ];

    /// As a byte between processes.
    pub(crate) fn to_byte(self) -> u8 {
        (0..)
            .zip(Self::ALL)
            .find(|(_, sight)| *sight == self)
            .map_or(0, |(byte, _)| byte)
    }

    /// What a byte says; one that says nothing is [`Sight::Unseen`].
    pub(crate) fn of_byte(byte: u8) -> Self {
        Self::ALL.get(usize::from(byte)).copied().unwrap_or(Self::Unseen)
    }
}

/// `NUMBER ARGUMENT..`, the arguments in hexadecimal with `0x`; or `running`.
pub(crate) fn parse(line: &str) -> Sight {
    let mut words = line.split_whitespace();
    let number = match words.next() {
        Some("running") => return Sight::Running,
        Some(number) => number.parse::<i64>().unwrap_or(-1),
        None => -1,
    };
    if number == libc::SYS_flock || number == COMPAT.0 {
        return Sight::Kind(LockKind::Flock);
    }
    if number != libc::SYS_fcntl && !COMPAT.1.contains(&number) {
        return Sight::Unseen;
    }
    let command = words.nth(1).and_then(|word| word.strip_prefix("0x"));
    // An int: what stands above it is of no meaning.
    let command = command.and_then(|word| u64::from_str_radix(word, 16).ok());
    match command.map(|command| command & 0xffff_ffff) {
        Some(command) if POSIX.contains(&command) => Sight::Kind(LockKind::Posix),
        Some(command) if OFD.contains(&command) => Sight::Kind(LockKind::Ofd),
        _ => Sight::Unseen,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_call_is_distinguished_from_its_number_and_command() {
        let fcntl = libc::SYS_fcntl;
        let line = |number: i64, command: u64| {
            format!("{number} 0x3 {command:#x} 0x7ffd 0x0 0x0 0x0 0x7ffe 0x7fff\n")
        };
        assert_eq!(parse(&line(libc::SYS_flock, 2)), Sight::Kind(LockKind::Flock));
        assert_eq!(parse(&line(fcntl, 6)), Sight::Kind(LockKind::Posix));
        assert_eq!(
            parse(&line(fcntl, 0xdead_0000_0007)),
            Sight::Kind(LockKind::Posix)
        );
        assert_eq!(parse(&line(fcntl, 38)), Sight::Kind(LockKind::Ofd));
        assert_eq!(parse(&line(221, 13)), Sight::Kind(LockKind::Posix));
        assert_eq!(parse(&line(fcntl, 1)), Sight::Unseen);
        assert_eq!(parse(&line(0, 6)), Sight::Unseen);
        assert_eq!(parse("running\n"), Sight::Running);
        for strange in ["", "-1 0x7ff 0x0", "72", "72 3", "72 0x3 0xzz", "x y z"] {
            assert_eq!(parse(strange), Sight::Unseen, "{strange}");
        }
    }

    #[test]
    fn a_sight_is_a_byte_of_its_own() {
        for sight in Sight::ALL {
            assert_eq!(Sight::of_byte(sight.to_byte()), sight);
        }
        assert_eq!(Sight::of_byte(5), Sight::Unseen);
    }

    #[test]
    fn a_thread_that_is_gone_is_not_observed() {
        assert_eq!(lock_call(u32::MAX), Sight::Unseen);
    }
}
