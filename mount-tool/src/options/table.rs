//! Every mount option there is, in one table: its name, what it does, and the line of help.
//!
//! A name that ends in `*` is a prefix. The order is the order of the help text.

use super::given::Given;
use crate::units::{parse_rate, parse_size, parse_time};
use crate::value_error::ValueError;
use rdmafs_fs::options::{CacheMode, Crypt, FabricKind};
use std::path::PathBuf;

/// What to do when the word is said.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// `name=VALUE`; refuses a value in words that end `mount option name=VALUE: `.
    Value(fn(&mut Given, &str) -> Result<(), ValueError>),
    /// `name`.
    Flag(fn(&mut Given)),
    /// Accepted, means nothing here: it is for mount(8), fstab, or always so.
    Ignored,
    /// Refused; the text says why and what to do.
    Refused(&'static str),
}

/// One row.
pub(crate) struct Word {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// For values `VALUE: what it is`, else what the word does; "" keeps a row out of the help text.
    pub(crate) help: &'static str,
}

impl Word {
    /// `name=VALUE: what it is`.
    pub(crate) fn usage(&self) -> String {
        match self.kind {
            Kind::Value(_) => format!("{}={}", self.name, self.help),
            _ => format!("{}: {}", self.name, self.help),
        }
    }
}

/// Whether this build has verbs.
pub(crate) const VERBS: bool = cfg!(feature = "verbs");

const ROOT: &str = "only root mounts rdmafs: leave it out";

const fn value(
    name: &'static str,
    set: fn(&mut Given, &str) -> Result<(), ValueError>,
    help: &'static str,
) -> Word {
    Word {
        name,
        kind: Kind::Value(set),
        help,
    }
}

const fn flag(name: &'static str, set: fn(&mut Given), help: &'static str) -> Word {
    Word {
        name,
        kind: Kind::Flag(set),
        help,
    }
}

const fn ignored(name: &'static str) -> Word {
    Word {
        name,
        kind: Kind::Ignored,
        help: "",
    }
}

const fn refused(name: &'static str, why: &'static str) -> Word {
    Word {
        name,
        kind: Kind::Refused(why),
        help: "",
    }
}

/// All words.
pub(crate) static TABLE: &[Word] = &[
    value(
        "fabric",
        fabric,
        "auto|shm|verbs|tcp: what moves the bytes (default auto: the first of these that can)",
    ),
    value(
        "device",
        device,
        "NAME: the RDMA device, as 'rdma link' shows it (default: one with an active port)",
    ),
    value(
        "port",
        port,
        "1..255: the device's port (default: the first active one)",
    ),
    value(
        "gid_index",
        gid_index,
        "0..255: the port's address by its index (default: RoCE v2 with the IPv4 address that leads to the node)",
    ),
    value(
        "tclass",
        tclass,
        "0..255: traffic class of all packets on verbs (default 0)",
    ),
    value("key", key, "FILE: the pool's key (default /etc/rdmafs/POOL.key)"),
    value(
        "crypt",
        crypt,
        "auto|on|off: encrypt data on tcp (default auto: unless node and host are proved to be one)",
    ),
    value(
        "timeout",
        timeout,
        "TIME: 100ms to 10m; a dead node is EIO after this long (default 5s), for this mount",
    ),
    value(
        "commit",
        commit,
        "SECONDS: 1 to 600; what is written to a file that stays open is committed after this long (default 5); the shortest of a pool's mounts counts",
    ),
    value(
        "cache",
        cache,
        "auto|none: page cache with close-to-open, or every access to the node (default auto)",
    ),
    value(
        "bw",
        bw,
        "RATE: bytes per second of link traffic, like 200M; 0 is no limit (default 0)",
    ),
    value(
        "iops",
        iops,
        "NUMBER: operations per second; 0 is no limit (default 0)",
    ),
    value(
        "burst",
        burst,
        "SIZE: bytes at once after idling; 0 is 100 ms of bw (default 0)",
    ),
    value(
        "weight",
        weight,
        "1..10000: share among the mounts of this host (default 100)",
    ),
    flag(
        "idmap",
        |g| g.idmap = true,
        "idmapped mounts (containers with user namespaces) may be made of it; the kernel alone checks permissions",
    ),
    flag("noidmap", |g| g.idmap = false, ""),
    flag("ro", |g| g.flags.read_only = true, "no writing"),
    flag("rw", |g| g.flags.read_only = false, "writing (default)"),
    flag(
        "remount",
        |g| g.remount = true,
        "change bw, iops, burst, weight, timeout, commit, ro and the like of the mount that is there",
    ),
    flag(
        "suid",
        |g| g.flags.suid = true,
        "honour set-user-id bits (default nosuid)",
    ),
    flag("nosuid", |g| g.flags.suid = false, ""),
    flag(
        "dev",
        |g| g.flags.dev = true,
        "honour device files (default nodev)",
    ),
    flag("nodev", |g| g.flags.dev = false, ""),
    flag("noexec", |g| g.flags.noexec = true, "no running of programs"),
    flag("exec", |g| g.flags.noexec = false, ""),
    flag(
        "noatime",
        |g| g.flags.noatime = true,
        "as in mount(8); so are atime, nodiratime, relatime, strictatime, sync, dirsync",
    ),
    flag("atime", |g| g.flags.noatime = false, ""),
    flag("nodiratime", |g| g.flags.nodiratime = true, ""),
    flag("diratime", |g| g.flags.nodiratime = false, ""),
    flag("relatime", relatime, ""),
    flag("norelatime", |g| g.flags.relatime = false, ""),
    flag("strictatime", strictatime, ""),
    flag("nostrictatime", |g| g.flags.strictatime = false, ""),
    flag("sync", |g| g.flags.sync = true, ""),
    flag("async", |g| g.flags.sync = false, ""),
    flag("dirsync", |g| g.flags.dirsync = true, ""),
    ignored("defaults"),
    ignored("_netdev"),
    ignored("auto"),
    ignored("noauto"),
    ignored("nofail"),
    ignored("nouser"),
    ignored("nousers"),
    ignored("noowner"),
    ignored("nogroup"),
    ignored("silent"),
    ignored("loud"),
    ignored("nolazytime"),
    ignored("nomand"),
    ignored("noiversion"),
    ignored("comment"),
    ignored("x-*"),
    ignored("X-*"),
    // Always so; the kernel lists them, and `mount -o remount DIR` hands them back.
    ignored("allow_other"),
    ignored("default_permissions"),
    ignored("user_id"),
    ignored("group_id"),
    ignored("max_read"),
    ignored("blksize"),
    refused("user", ROOT),
    refused("users", ROOT),
    refused("owner", ROOT),
    refused("group", ROOT),
    refused("prio", "priorities are not in this version: use weight="),
    refused("lazytime", "it is not in this version: leave it out"),
];

fn fabric(given: &mut Given, value: &str) -> Result<(), ValueError> {
    given.fabric = Some(match value {
        "auto" => None,
        "shm" => Some(FabricKind::Shm),
        "tcp" => Some(FabricKind::Tcp),
        "verbs" if VERBS => Some(FabricKind::Verbs),
        "verbs" => return Err(ValueError::NoVerbs("use auto, shm or tcp")),
        _ => return Err(ValueError::Form("use auto, shm, verbs or tcp")),
    });
    Ok(())
}

fn device(given: &mut Given, value: &str) -> Result<(), ValueError> {
    needs_verbs()?;
    // It becomes part of a path in /sys.
    if value.contains('/') {
        return Err(ValueError::Form(
            "give the name of an RDMA device, as 'rdma link' shows it",
        ));
    }
    given.verbs.device = Some(value.to_owned());
    Ok(())
}

fn port(given: &mut Given, value: &str) -> Result<(), ValueError> {
    needs_verbs()?;
    let refused = "use 1 to 255 (the port of the RDMA device; a node's TCP port is written NODE:PORT:/POOL)";
    let port = in_range(parse_number(value)?, 1..=255, refused)?;
    given.verbs.port = u8::try_from(port).ok();
    Ok(())
}

fn gid_index(given: &mut Given, value: &str) -> Result<(), ValueError> {
    needs_verbs()?;
    let index = in_range(parse_number(value)?, 0..=255, "use 0 to 255")?;
    given.verbs.gid_index = u8::try_from(index).ok();
    Ok(())
}

fn tclass(given: &mut Given, value: &str) -> Result<(), ValueError> {
    needs_verbs()?;
    let class = in_range(parse_number(value)?, 0..=255, "use 0 to 255")?;
    given.verbs.tclass = u8::try_from(class).ok();
    Ok(())
}

fn needs_verbs() -> Result<(), ValueError> {
    match VERBS {
        true => Ok(()),
        false => Err(ValueError::NoVerbs("leave it out")),
    }
}

fn key(given: &mut Given, value: &str) -> Result<(), ValueError> {
    // The handler has another working directory than the caller.
    if !value.starts_with('/') {
        return Err(ValueError::Form("give the whole path, starting with /"));
    }
    given.key = Some(PathBuf::from(value));
    Ok(())
}

fn crypt(given: &mut Given, value: &str) -> Result<(), ValueError> {
    given.crypt = Some(match value {
        "auto" => Crypt::Auto,
        "on" => Crypt::On,
        "off" => Crypt::Off,
        _ => return Err(ValueError::Form("use auto, on or off")),
    });
    Ok(())
}

fn timeout(given: &mut Given, value: &str) -> Result<(), ValueError> {
    let ms = u64::try_from(parse_time(value)?.as_millis()).unwrap_or(u64::MAX);
    given.timeout_ms = Some(in_range(ms, 100..=600_000, "use 100ms to 10m")?);
    Ok(())
}

fn commit(given: &mut Given, value: &str) -> Result<(), ValueError> {
    given.commit_s = Some(in_range(parse_number(value)?, 1..=600, "use 1 to 600 seconds")?);
    Ok(())
}

fn cache(given: &mut Given, value: &str) -> Result<(), ValueError> {
    given.cache = Some(match value {
        "auto" => CacheMode::Auto,
        "none" => CacheMode::None,
        _ => return Err(ValueError::Form("use auto or none")),
    });
    Ok(())
}

fn bw(given: &mut Given, value: &str) -> Result<(), ValueError> {
    let bw = parse_rate(value)?;
    if bw != 0 {
        in_range(bw, 4096..=u64::MAX, "use 4K or more, or 0 for no limit")?;
    }
    given.share.bw = Some(bw);
    Ok(())
}

fn iops(given: &mut Given, value: &str) -> Result<(), ValueError> {
    given.share.iops = Some(parse_number(value)?);
    Ok(())
}

fn burst(given: &mut Given, value: &str) -> Result<(), ValueError> {
    let burst = parse_size(value)?;
    if burst != 0 {
        in_range(burst, 4096..=u64::MAX, "use 4K or more, or 0 for the default")?;
    }
    given.share.burst = Some(burst);
    Ok(())
}

fn weight(given: &mut Given, value: &str) -> Result<(), ValueError> {
    let weight = in_range(parse_number(value)?, 1..=10_000, "use 1 to 10000")?;
    given.share.weight = u32::try_from(weight).ok();
    Ok(())
}

/// The kernel knows one policy for access times at a time.
fn relatime(given: &mut Given) {
    given.flags.relatime = true;
    given.flags.strictatime = false;
}

fn strictatime(given: &mut Given) {
    given.flags.strictatime = true;
    given.flags.relatime = false;
}

fn parse_number(value: &str) -> Result<u64, ValueError> {
    value.parse().map_err(|_| ValueError::NoNumber(value.to_owned()))
}

fn in_range(
    number: u64,
    range: std::ops::RangeInclusive<u64>,
    remedy: &'static str,
) -> Result<u64, ValueError> {
    if range.contains(&number) {
        Ok(number)
    } else {
        Err(ValueError::OutOfRange(remedy))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_name_stands_twice() {
        let mut observed = HashSet::new();
        for word in TABLE {
            assert!(observed.insert(word.name), "{}", word.name);
        }
    }

    #[test]
    fn what_is_refused_names_a_remedy() {
        for word in TABLE {
            if let Kind::Refused(why) = word.kind {
                assert!(why.contains(": "), "{}: {why}", word.name);
            }
        }
    }
}
