//! Random operations as programs make them, and what an operation gives.
//!
//! An operation stands for itself: it names a path or a slot and never what an earlier one gave, so any part of a sequence is
//! a sequence too, and a failing one can be shortened by leaving operations out.

use rand::RngExt;
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::fmt;

/// Open files that a sequence may have at a time.
pub const SLOTS: usize = 6;

/// Modification times from here on (seconds, year 2096) were chosen by a program; all others count as "now".
pub const CHOSEN_TIME: i64 = 4_000_000_000;

/// Who acts: uid and gid, no other groups. The third shares the second's group.
pub const CALLERS: [(u32, u32); 4] = [(0, 0), (1001, 1001), (1002, 1001), (1003, 1003)];

const TOO_LONG: [u8; 256] = [b'x'; 256];
const LONGEST: [u8; 255] = [b'y'; 255];
const NAMES: [&[u8]; 8] = [b"a", b"b", b"c", b"d", b"e", b"\xff odd\n", &LONGEST, &TOO_LONG];

/// A path from the root of the file system; at least one name.
#[derive(Clone, PartialEq, Eq)]
pub struct FilePath(pub Vec<&'static [u8]>);

impl FilePath {
    /// The names joined by '/'.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.0.join(&b'/')
    }
}

impl fmt::Debug for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.bytes().escape_ascii().to_string();
        f.write_str(
            &text
                .replace(&"x".repeat(256), "TOO_LONG")
                .replace(&"y".repeat(255), "LONGEST"),
        )
    }
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the flags of open(2)")]
pub struct How {
    pub read: bool,
    pub write: bool,
    pub append: bool,
    pub truncate: bool,
    pub create: bool,
    pub exclusive: bool,
    pub mode: u16,
}

/// `renameat2(2)` flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the flags of renameat2(2)")]
pub enum Rename {
    Replace,
    NoReplace,
    Exchange,
}

/// A system call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the arguments of the system calls of these names")]
pub enum Action {
    Open {
        slot: usize,
        path: FilePath,
        how: How,
    },
    Close {
        slot: usize,
    },
    Read {
        slot: usize,
        at: u64,
        len: usize,
    },
    Write {
        slot: usize,
        at: u64,
        len: usize,
        fill: u8,
    },
    Sync {
        slot: usize,
    },
    FileTruncate {
        slot: usize,
        size: u64,
    },
    FileStat {
        slot: usize,
    },
    Truncate {
        path: FilePath,
        size: u64,
    },
    Stat {
        path: FilePath,
    },
    MakeDir {
        path: FilePath,
        mode: u16,
    },
    RemoveDir {
        path: FilePath,
    },
    Unlink {
        path: FilePath,
    },
    Link {
        old: FilePath,
        new: FilePath,
    },
    Symlink {
        target: FilePath,
        path: FilePath,
    },
    ReadLink {
        path: FilePath,
    },
    Rename {
        old: FilePath,
        new: FilePath,
        how: Rename,
    },
    Chmod {
        path: FilePath,
        mode: u16,
    },
    Chown {
        path: FilePath,
        uid: Option<u32>,
        gid: Option<u32>,
    },
    SetTime {
        path: FilePath,
        seconds: i64,
    },
    List {
        path: FilePath,
    },
}

/// A system call by somebody, through one of the mounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// Index into [`CALLERS`].
    pub caller: usize,
    /// Which mount, where there are several of one pool. A slot stays with the mount that it was opened through.
    pub mount: usize,
    /// What.
    pub action: Action,
}

/// What a file is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "their names say it")]
pub enum Kind {
    #[default]
    File,
    Directory,
    Symlink,
}

/// What stat(2) shows, as far as it can be compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields of struct stat")]
pub struct Stat {
    pub kind: Kind,
    pub mode: u16,
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
    /// 0 for directories: each file system counts its own way.
    pub size: u64,
    /// Seconds if a program chose it; 0 for "now"; `None` when either is right.
    pub mtime: Option<i64>,
}

impl Stat {
    /// Of a new inode.
    #[must_use]
    pub fn new(kind: Kind, mode: u16, (uid, gid): (u32, u32)) -> Self {
        let (nlink, mtime) = (1, Some(0));
        Self {
            kind,
            mode,
            nlink,
            uid,
            gid,
            size: 0,
            mtime,
        }
    }
}

/// What an operation gives.
#[derive(Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "their names say it")]
pub enum Outcome {
    Done,
    Bytes(Vec<u8>),
    Count(usize),
    Stat(Stat),
    Target(Vec<u8>),
    Names(BTreeMap<Vec<u8>, Kind>),
    /// The model gives every errno that would be right, a system the one it gave.
    Refused(Vec<i32>),
}

impl Outcome {
    /// Whether `got` of a system is what this, of the model or of another system, allows.
    #[must_use]
    pub fn allows(&self, got: &Outcome) -> bool {
        match (self, got) {
            (Outcome::Refused(all), Outcome::Refused(one)) => one.iter().all(|errno| all.contains(errno)),
            (Outcome::Stat(wanted), Outcome::Stat(got)) => {
                let mtime = wanted.mtime.is_none() || got.mtime.is_none() || wanted.mtime == got.mtime;
                let rest = |stat: &Stat| Stat {
                    mtime: None,
                    ..stat.clone()
                };
                mtime && rest(wanted) == rest(got)
            }
            _ => self == got,
        }
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Done => f.write_str("done"),
            Outcome::Bytes(bytes) => write!(f, "{} bytes{}", bytes.len(), runs(bytes)),
            Outcome::Count(count) => write!(f, "{count}"),
            Outcome::Stat(stat) => write!(f, "{stat:?}"),
            Outcome::Target(target) => write!(f, "-> {}", target.escape_ascii()),
            Outcome::Names(names) => f
                .debug_map()
                .entries(names.iter().map(|(n, k)| (n.escape_ascii().to_string(), k)))
                .finish(),
            Outcome::Refused(errnos) => {
                let names: Vec<_> = errnos.iter().map(|e| nix::errno::Errno::from_raw(*e)).collect();
                write!(f, "refused: {names:?}")
            }
        }
    }
}

/// Where zeros and where data stand, for a person to read.
fn runs(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut at = 0;
    while at < bytes.len() && text.len() < 400 {
        let zero = bytes[at] == 0;
        let len = bytes[at..].iter().take_while(|b| (**b == 0) == zero).count();
        text += &match zero {
            true => format!(", {len} zeros"),
            false => format!(", {len} from {:02x}", bytes[at]),
        };
        at += len;
    }
    text
}

/// The bytes that a [`Action::Write`] writes: never zero, so that a hole is told from data.
#[must_use]
pub fn pattern(fill: u8, len: usize) -> Vec<u8> {
    (0..=u8::MAX)
        .cycle()
        .step_by(7)
        .take(len)
        .map(|i| i.wrapping_mul(31).wrapping_add(fill) | 1)
        .collect()
}

/// What a sequence may contain.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    /// Mounts to spread operations over.
    pub mounts: usize,
    /// Callers are the first so many of [`CALLERS`].
    pub callers: usize,
    /// With what the kernel's `fs.protected_*` sysctls change: sticky directories, and hard links by others than root.
    pub protected: bool,
}

/// The next random operation.
pub fn random(rng: &mut StdRng, mix: Mix) -> Op {
    let root = rng.random_bool(0.4);
    let caller = if root { 0 } else { rng.random_range(0..mix.callers) };
    let mount = rng.random_range(0..mix.mounts);
    let action = random_action(rng, mix);
    let tame = matches!(action, Action::Link { .. }) && !mix.protected;
    Op {
        caller: if tame { 0 } else { caller },
        mount,
        action,
    }
}

fn random_action(rng: &mut StdRng, mix: Mix) -> Action {
    let slot = rng.random_range(0..SLOTS);
    let at = random_offset(rng);
    match rng.random_range(0..100) {
        0..=17 => Action::Open {
            slot,
            path: path(rng),
            how: random_how(rng),
        },
        18..=19 => Action::Close { slot },
        20..=34 => Action::Read {
            slot,
            at,
            len: random_len(rng),
        },
        35..=49 => Action::Write {
            slot,
            at,
            len: random_len(rng),
            fill: rng.random(),
        },
        50 => Action::Sync { slot },
        51..=54 => Action::FileTruncate { slot, size: at },
        55..=57 => Action::FileStat { slot },
        58..=60 => Action::Truncate {
            path: path(rng),
            size: at,
        },
        61..=68 => Action::Stat { path: path(rng) },
        69..=73 => Action::MakeDir {
            path: path(rng),
            mode: [0o755, 0o777, 0o700, 0o770][rng.random_range(0..4)],
        },
        74..=75 => Action::RemoveDir { path: path(rng) },
        76..=78 => Action::Unlink { path: path(rng) },
        79..=80 => Action::Link {
            old: path(rng),
            new: path(rng),
        },
        81..=82 => Action::Symlink {
            target: path(rng),
            path: path(rng),
        },
        83 => Action::ReadLink { path: path(rng) },
        84..=89 => Action::Rename {
            old: path(rng),
            new: path(rng),
            how: random_rename(rng),
        },
        90..=92 => Action::Chmod {
            path: path(rng),
            mode: random_mode(rng, mix),
        },
        93..=94 => random_chown(rng),
        95..=96 => Action::SetTime {
            path: path(rng),
            seconds: CHOSEN_TIME + rng.random_range(0..1000),
        },
        _ => Action::List { path: path(rng) },
    }
}

fn path(rng: &mut StdRng) -> FilePath {
    let depth = [1, 1, 1, 1, 2, 2, 2, 3][rng.random_range(0..8)];
    FilePath((0..depth).map(|_| name(rng)).collect())
}

fn name(rng: &mut StdRng) -> &'static [u8] {
    match rng.random_range(0..100) {
        0 => NAMES[7],
        1..=3 => NAMES[rng.random_range(5..7)],
        _ => NAMES[rng.random_range(0..5)],
    }
}

fn random_how(rng: &mut StdRng) -> How {
    let write = rng.random_bool(0.7);
    How {
        read: !write || rng.random_bool(0.7),
        write,
        append: write && rng.random_bool(0.2),
        truncate: write && rng.random_bool(0.2),
        create: rng.random_bool(0.6),
        exclusive: rng.random_bool(0.15),
        mode: [0o644, 0o666, 0o600, 0o400, 0o660][rng.random_range(0..5)],
    }
}

/// Near the start, near the edges of granules, anywhere in some pages, and far out.
fn random_offset(rng: &mut StdRng) -> u64 {
    match rng.random_range(0..10) {
        0..=1 => 0,
        2..=3 => rng.random_range(0..200),
        4..=6 => rng.random_range(1..20) * 4096 + rng.random_range(0..3) - 1,
        7..=8 => rng.random_range(0..200_000),
        _ => [1 << 26, (1 << 33) + 17, (1 << 40) - 1][rng.random_range(0..3)],
    }
}

fn random_len(rng: &mut StdRng) -> usize {
    match rng.random_range(0..10) {
        0..=3 => rng.random_range(1..200),
        4..=6 => rng.random_range(4000..4200),
        7..=8 => rng.random_range(1..20_000),
        _ => rng.random_range(1..70_000),
    }
}

/// Set-gid on files comes with group execute only: without it the bit means mandatory locking, and kernels differ.
fn random_mode(rng: &mut StdRng, mix: Mix) -> u16 {
    let modes = [
        0o644, 0o666, 0o600, 0o000, 0o755, 0o777, 0o700, 0o770, 0o711, 0o4755, 0o6777, 0o2775, 0o1777,
    ];
    let known = if mix.protected {
        modes.len()
    } else {
        modes.len() - 1
    };
    modes[rng.random_range(0..known)]
}

fn random_rename(rng: &mut StdRng) -> Rename {
    match rng.random_range(0..10) {
        0 => Rename::NoReplace,
        1 => Rename::Exchange,
        _ => Rename::Replace,
    }
}

fn random_chown(rng: &mut StdRng) -> Action {
    let (uid, gid) = CALLERS[rng.random_range(0..CALLERS.len())];
    let which = rng.random_range(0..3);
    Action::Chown {
        path: path(rng),
        uid: (which != 0).then_some(uid),
        gid: (which != 1).then_some(gid),
    }
}
