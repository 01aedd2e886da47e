//! What an operation gives, as far as it can be compared.

use std::collections::BTreeMap;
use std::fmt;

/// Modification times from here on (seconds, year 2096) were chosen by a program; all others count as "now".
pub const CHOSEN_TIME: i64 = 4_000_000_000;

/// What a file is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "their names say it")]
pub enum Kind {
    #[default]
    File,
    Directory,
    Symlink,
    /// A character device 0:0.
    Whiteout,
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
    /// What a word was.
    Atomic(u64),
    /// Somebody has it: the first and the last byte of an exclusive lock; shared ones may be many, and any be named.
    Locked(Option<(u64, u64)>),
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
            Outcome::Atomic(before) => write!(f, "word {before:#x}"),
            Outcome::Locked(bytes) => write!(f, "locked {bytes:?}"),
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
