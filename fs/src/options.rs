//! What a mount was asked to be, parsed: which pool on which nodes, and how.
//!
//! The command line turns words into these types once; everything behind it believes them. Words and their checks for
//! mount options live with the command line, because only people write them; a [`Source`] also comes from fstab and
//! goes back to the kernel as text, so its text form is defined here and `Display` gives what `FromStr` takes.

pub use rdmafs_meta::time::AccessTime;
pub use rdmafs_rdma::fabric::{Crypt, FabricKind, VerbsOptions};
pub use rdmafs_rdma::qos::share::Share;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::str::FromStr;
use thiserror::Error;

/// The TCP port of a memory node, unless another is given.
pub const DEFAULT_PORT: u16 = 7470;

/// The most bytes a pool's name may have.
pub const MAX_POOL_NAME: usize = 64;

/// The most bytes the path of a directory in a pool may have (PATH_MAX, with what stands before it).
pub const MAX_DIRECTORY: usize = 3000;

/// `NODE[:PORT][,NODE...]:/POOL[/DIR...]`. IPv6 addresses in brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Source {
    /// The memory nodes, at least one.
    pub nodes: Vec<NodeAddress>,
    /// The pool.
    pub pool: String,
    /// Names of directories from the pool's root to the one that is meant; none for the whole pool.
    #[serde(default)]
    pub directory: Vec<String>,
}

/// A node as the user wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NodeAddress {
    /// Name or address; an IPv6 address without its brackets.
    pub host: String,
    /// Port, 7470 unless given.
    pub port: u16,
}

/// How the kernel may cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CacheMode {
    /// Page cache with close-to-open consistency.
    #[default]
    Auto,
    /// Every read and write goes to the node.
    None,
}

/// Options that the handler acts upon (kernel mount flags are applied by the helper at mount(2)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountOptions {
    /// `fabric=`; `None` is auto.
    pub fabric: Option<FabricKind>,
    /// `key=`; default `/etc/rdmafs/POOL.key`.
    pub key: PathBuf,
    /// `crypt=`.
    pub crypt: Crypt,
    /// `device= port= gid_index= tclass=`.
    #[serde(default)]
    pub verbs: VerbsOptions,
    /// `timeout=` in milliseconds, 100 to 600,000; default 5,000.
    pub timeout_ms: u64,
    /// `commit=` in seconds, 1 to 600; default 5.
    #[serde(default = "default_commit")]
    pub commit_s: u64,
    /// `cache=`.
    pub cache: CacheMode,
    /// `bw= iops= burst= weight=`.
    pub share: Share,
    /// `idmap`: idmapped mounts may be made of it; the kernel alone decides who may do what.
    #[serde(default)]
    pub idmap: bool,
    /// `ro`.
    pub read_only: bool,
    /// `noatime nodiratime relatime strictatime`.
    #[serde(default)]
    pub access_times: AccessTimes,
    /// The inode of the source's directory, once that was looked up: what a mount that comes back begins at, whatever the
    /// directory is called by then.
    #[serde(default)]
    pub root: Option<u64>,
}

/// Seconds after which what a program wrote and keeps open is committed, unless `commit=` says another number.
pub const DEFAULT_COMMIT: u64 = 5;

fn default_commit() -> u64 {
    DEFAULT_COMMIT
}

/// What reading does to access times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessTimes {
    /// Opening a file to read, following a link.
    pub files: AccessTime,
    /// Listing a directory.
    pub directories: AccessTime,
}

/// Why a text names no pool. Each message says what is wrong with which word, and how it is written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SourceError {
    /// There is no `:/`.
    #[error("'{0}' names no pool: write NODE[:PORT]:/POOL, for example node1:/pool")]
    NoPool(String),
    /// A pool name of the wrong length or with other bytes.
    #[error(
        "'{0}' is no pool name: use 1 to 64 letters, digits, '.', '_' or '-', not starting with '.' or '-'"
    )]
    BadPool(String),
    /// A path in the pool that goes up, or is too long.
    #[error(
        "'/{0}' is no directory of a pool: write NODE:/POOL/DIR, without '.', '..' and control characters, at most {MAX_DIRECTORY} bytes"
    )]
    BadDirectory(String),
    /// An empty or malformed host.
    #[error("'{0}' is no node: write a host name, an IPv4 address or an IPv6 address in brackets")]
    BadHost(String),
    /// Two colons outside of brackets.
    #[error("'{0}' looks like an IPv6 address: write it in brackets, [{0}]")]
    NeedsBrackets(String),
    /// A port that is no number from 1 to 65,535.
    #[error("'{port}' in '{node}' is no port: use a number from 1 to 65535 (default {DEFAULT_PORT})")]
    BadPort {
        /// The node as written.
        node: String,
        /// Its port as written.
        port: String,
    },
    /// A node is named twice.
    #[error("node '{0}' is named twice")]
    Twice(String),
}

/// Whether `name` may name a pool: 1 to 64 of `[A-Za-z0-9._-]`, not starting with a dot or a dash (it becomes part of
/// file names and stands in command lines).
#[must_use]
pub fn is_pool_name(name: &str) -> bool {
    (1..=MAX_POOL_NAME).contains(&name.len())
        && !name.starts_with(['.', '-'])
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

impl FromStr for Source {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        let (nodes, pool) = text
            .split_once(":/")
            .ok_or_else(|| SourceError::NoPool(text.to_owned()))?;
        let (pool, directory) = pool.split_once('/').unwrap_or((pool, ""));
        if !is_pool_name(pool) {
            return Err(SourceError::BadPool(pool.to_owned()));
        }
        let directory = parse_directory(directory)?;
        let mut parsed: Vec<NodeAddress> = Vec::new();
        for node in nodes.split(',') {
            let address: NodeAddress = node.parse()?;
            if parsed.contains(&address) {
                return Err(SourceError::Twice(node.to_owned()));
            }
            parsed.push(address);
        }
        Ok(Self {
            nodes: parsed,
            pool: pool.to_owned(),
            directory,
        })
    }
}

/// `a/b/` to its names.
fn parse_directory(path: &str) -> Result<Vec<String>, SourceError> {
    let names = path.split('/').filter(|name| !name.is_empty());
    let names: Vec<String> = names.map(str::to_owned).collect();
    let plain =
        |name: &String| name != "." && name != ".." && name.len() <= 255 && !name.contains(char::is_control);
    if path.len() <= MAX_DIRECTORY && names.iter().all(plain) {
        return Ok(names);
    }
    Err(SourceError::BadDirectory(path.to_owned()))
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, node) in self.nodes.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{node}")?;
        }
        write!(f, ":/{}", self.pool)?;
        self.directory.iter().try_for_each(|name| write!(f, "/{name}"))
    }
}

impl FromStr for NodeAddress {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => split_brackets(text, rest)?,
            None => match text.split_once(':') {
                Some((_, port)) if port.contains(':') => {
                    return Err(SourceError::NeedsBrackets(text.to_owned()));
                }
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        if !text.starts_with('[') && !is_host_name(host) {
            return Err(SourceError::BadHost(text.to_owned()));
        }
        let port = port.map_or(Ok(DEFAULT_PORT), |port| parse_port(text, port))?;
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

/// Gives what `FromStr` takes; the default port is left out.
impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?;
        } else {
            f.write_str(&self.host)?;
        }
        if self.port == DEFAULT_PORT {
            return Ok(());
        }
        write!(f, ":{}", self.port)
    }
}

/// `::1]:7470` to host and port, when what stands in the brackets is an IPv6 address (with or without `%scope`).
fn split_brackets<'a>(text: &str, rest: &'a str) -> Result<(&'a str, Option<&'a str>), SourceError> {
    let bad = || SourceError::BadHost(text.to_owned());
    let (host, after) = rest.split_once(']').ok_or_else(bad)?;
    let (address, scope) = host.split_once('%').unwrap_or((host, "lo"));
    if address.parse::<Ipv6Addr>().is_err() || !is_host_name(scope) {
        return Err(bad());
    }
    match after.strip_prefix(':') {
        Some(port) => Ok((host, Some(port))),
        None if after.is_empty() => Ok((host, None)),
        None => Err(bad()),
    }
}

fn is_host_name(host: &str) -> bool {
    !host.is_empty()
        && host.len() <= 253
        && !host.starts_with('-')
        && host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

fn parse_port(node: &str, port: &str) -> Result<u16, SourceError> {
    let number = if port.bytes().all(|b| b.is_ascii_digit()) {
        port.parse().ok()
    } else {
        None
    };
    number
        .filter(|&port| port != 0)
        .ok_or_else(|| SourceError::BadPort {
            node: node.to_owned(),
            port: port.to_owned(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn node(host: &str, port: u16) -> NodeAddress {
        NodeAddress {
            host: host.to_owned(),
            port,
        }
    }

    #[test]
    fn sources_are_read_as_written() {
        let cases = [
            ("node1:/pool", vec![node("node1", 7470)], "pool"),
            ("node1:7471:/p.1", vec![node("node1", 7471)], "p.1"),
            ("10.0.0.1:/a_b-c", vec![node("10.0.0.1", 7470)], "a_b-c"),
            ("[::1]:/p", vec![node("::1", 7470)], "p"),
            ("[fe80::1%eth0]:9:/p", vec![node("fe80::1%eth0", 9)], "p"),
            (
                "a,b:2,[::2]:3:/p",
                vec![node("a", 7470), node("b", 2), node("::2", 3)],
                "p",
            ),
        ];
        for (text, nodes, pool) in cases {
            let source: Source = text.parse().unwrap();
            assert_eq!(
                source,
                Source {
                    nodes,
                    pool: pool.to_owned(),
                    directory: Vec::new(),
                }
            );
            assert_eq!(source.to_string(), text, "Display gives what FromStr takes");
        }
    }

    #[test]
    fn a_directory_of_a_pool_is_read_and_shown() {
        for (text, directory, shown) in [
            ("n:/p/a", &["a"][..], "n:/p/a"),
            ("n:9:/p/a b/c", &["a b", "c"], "n:9:/p/a b/c"),
            ("n:/p//a///b/", &["a", "b"], "n:/p/a/b"),
            ("n:/p/", &[], "n:/p"),
            ("n:/p/x:/y", &["x:", "y"], "n:/p/x:/y"),
        ] {
            let source: Source = text.parse().unwrap();
            assert_eq!(source.pool, "p");
            assert_eq!(source.directory, directory);
            assert_eq!(source.to_string(), shown);
            assert_eq!(shown.parse::<Source>().unwrap(), source);
        }
        let long = format!("n:/p/{}", "x".repeat(256));
        assert!(long.parse::<Source>().is_err());
    }

    #[test]
    fn the_default_port_is_not_shown() {
        let source: Source = "n:7470:/p".parse().unwrap();
        assert_eq!(source.to_string(), "n:/p");
    }

    #[test]
    fn every_refusal_names_the_word_and_the_remedy() {
        let long = format!("n:/{}", "x".repeat(65));
        let cases = [
            ("node1", "'node1' names no pool: write NODE[:PORT]:/POOL"),
            ("", "'' names no pool"),
            ("node1:pool", "'node1:pool' names no pool"),
            ("node1:/", "'' is no pool name: use 1 to 64"),
            (
                "node1:/a/../b",
                "'/../b' is no directory of a pool: write NODE:/POOL/DIR, without '.', '..' and",
            ),
            ("node1:/a/./b", "'/./b' is no directory of a pool"),
            ("node1:/.a/b", "'.a' is no pool name"),
            ("node1://b", "'' is no pool name"),
            ("node1:/..", "'..' is no pool name"),
            (long.as_str(), "is no pool name: use 1 to 64"),
            (":/p", "'' is no node: write a host name"),
            ("a,:/p", "'' is no node"),
            ("a b:/p", "'a b' is no node"),
            ("-a:/p", "'-a' is no node"),
            ("[::1:/p", "'[::1' is no node"),
            ("[1.2.3.4]:/p", "'[1.2.3.4]' is no node"),
            ("[::1]x:/p", "'[::1]x' is no node"),
            (
                "::1:/p",
                "'::1' looks like an IPv6 address: write it in brackets, [::1]",
            ),
            ("n:0:/p", "'0' in 'n:0' is no port: use a number from 1 to 65535"),
            ("n:65536:/p", "'65536' in 'n:65536' is no port"),
            ("n:+1:/p", "'+1' in 'n:+1' is no port"),
            ("n::/p", "'' in 'n:' is no port"),
            ("n,n:7470:/p", "node 'n:7470' is named twice"),
        ];
        for (text, want) in cases {
            let error = text.parse::<Source>().unwrap_err().to_string();
            assert!(error.contains(want), "{text:?} gave {error:?}, not {want:?}");
            assert!(!error.contains('\n'));
        }
    }

    #[test]
    fn pool_names_end_at_64_bytes() {
        assert!(is_pool_name(&"x".repeat(64)));
        assert!(!is_pool_name(&"x".repeat(65)));
        assert!(!is_pool_name("é"));
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_survives_a_round_trip(text in "\\PC{0,40}|[a-z0-9:,./\\[\\]%-]{0,30}:/[a-z./]{0,9}") {
            if let Ok(source) = text.parse::<Source>() {
                prop_assert_eq!(source.to_string().parse::<Source>().unwrap(), source);
            }
        }
    }
}
