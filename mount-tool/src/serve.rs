//! `rdmafs serve`: lends memory of this host as a pool.
//!
//! In the foreground this process is the memory node. Otherwise it starts one that is, shows how far the memory is
//! prepared, and ends when that one serves.

use crate::fabrics::{offered, parse_fabric};
use crate::failure::Failure;
use crate::options::{VERBS, default_key};
use crate::output::{self, Progress};
use crate::settings::{run_dir, start_logging};
use crate::units::{parse_size, parse_time, show_size};
use crate::value_error::ValueError;
use rdmafs_fs::node::{self, Ready, ServeConfig, ServeError, default_metadata};
use rdmafs_fs::options::{DEFAULT_PORT, FabricKind, NodeAddress, Source, is_pool_name};
use rdmafs_fs::process::{Daemon, Report, detach, prepare_run_dir};
use rdmafs_fs::shown::shown;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;

/// What is allocated and mapped at a time.
const GRANULE: u64 = 4096;
/// Less is a slip of the hand: a unit was left out.
const LEAST: u64 = 1 << 20;
/// The least room for names: a thousand.
const LEAST_METADATA: u64 = 1 << 20;

const EXAMPLES: &str = "\
Examples:
  rdmafs serve --pool pool --memory 4G                             for this host
  rdmafs serve --pool pool --memory 4G --listen 10.0.0.1:7470      for others: copy the key file to them
  rdmafs serve --pool pool --memory 4G --state /var/lib/rdmafs     names survive a restart; bytes do not
                                                                   the first time; a new pool in another directory needs --new
End it with 'rdmafs stop', or SIGTERM.";

/// Lend memory of this host as a pool
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Name of the pool: 1 to 64 letters, digits, '.', '_' or '-'
    #[arg(long, value_name = "NAME", value_parser = parse_pool)]
    pool: String,
    /// How much: 512M, 4G, 1T (binary units); less than the memory that is available
    #[arg(long, value_name = "SIZE", value_parser = parse_memory)]
    memory: u64,
    /// Where to accept handlers
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:7470", value_parser = parse_listen)]
    listen: SocketAddr,
    /// Fabrics to offer [default: shm,tcp, and verbs where an RDMA device has an active port]
    #[arg(long, value_name = "shm,verbs,tcp", value_delimiter = ',', value_parser = parse_fabric)]
    fabric: Vec<FabricKind>,
    /// RDMA device to offer verbs on, as 'rdma link' shows it [default: one with an active port]
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// Keep the namespace in this directory over restarts; an absolute path
    ///
    /// A directory that is missing or empty begins a new pool where the key file is new too, or with --new: a wrong path must not
    /// begin an empty pool in the place of the one that is meant.
    #[arg(long, value_name = "DIR", value_parser = parse_state)]
    state: Option<PathBuf>,
    /// Begin a new pool in the --state directory, which must keep none
    #[arg(long, requires = "state")]
    new: bool,
    /// Key file, made when it is missing [default: /etc/rdmafs/POOL.key]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Owner of a new pool's root directory
    #[arg(long, value_name = "UID:GID", default_value = "0:0", value_parser = parse_owner)]
    root_owner: (u32, u32),
    /// Mode of a new pool's root directory, in octal
    #[arg(long, value_name = "MODE", default_value = "0755", value_parser = parse_mode)]
    root_mode: u16,
    /// Memory for names, beside --memory: 1K for each, and the lengths of extended attributes and link targets
    ///
    /// No user but root takes more of it than is left for others; 'df -i' shows it. [default: an eighth of --memory, at least 256M]
    #[arg(long, value_name = "SIZE", value_parser = parse_metadata)]
    metadata: Option<u64>,
    /// How long a silent handler keeps what it holds, 1s to 10m
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_lease)]
    lease: Duration,
    /// Most handlers at once, 1 to 4096; a host that mounts has one
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=4096))]
    sessions: u32,
    /// Serve data on tcp only encrypted, to handlers on this host too; mounts with crypt=off are refused
    #[arg(long)]
    encrypt: bool,
    /// After SIGTERM, how long to wait for handlers to commit what their programs wrote, 0s to 10m
    ///
    /// The node ends at most 6 s later. A second SIGTERM (or 'rdmafs stop --force') ends the wait.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_drain)]
    drain: Duration,
    /// Stay in the foreground and log to standard error
    #[arg(long)]
    foreground: bool,
}

/// Serves (in the foreground until SIGTERM or SIGINT), or starts a daemon that does. Blocking.
///
/// A pool that cannot be served as asked for ends with code 1; a node that fails later with 2.
pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let config = resolve(args.clone())?;
    if args.foreground {
        serve(config)
    } else {
        start(&args, &config)
    }
}

fn serve(config: ServeConfig) -> Result<(), Failure> {
    let mut report =
        Report::begin().map_err(|error| Failure::system(format!("cannot become a daemon: {error}")))?;
    start_logging();
    let (pool, memory, key) = (config.pool.clone(), config.memory, config.key.clone());
    let report = std::cell::RefCell::new(&mut report);
    let mut steps = Steps::new(memory);
    let mut line = Progress::new();
    let progress = |bytes| {
        if let Some(text) = steps.next(bytes) {
            line.show(&text);
            report.borrow_mut().progress(&text);
        }
    };
    let ready = |ready: &Ready| {
        let text = ready_text(&pool, memory, &key, ready);
        let mut report = report.borrow_mut();
        if report.is_detached() {
            report.ready(&text);
        } else if let Err(failure) = output::print(&text) {
            tracing::warn!(%failure, "cannot say that the pool is served");
        }
    };
    let served = node::serve(config, progress, ready);
    served.map_err(|error| {
        report.borrow_mut().failed(&error.to_string());
        failure(&error)
    })
}

/// What came before it served may be mended by whoever gave the words; what came after is the system's.
fn failure(error: &ServeError) -> Failure {
    match error {
        ServeError::Harden(_)
        | ServeError::Path { .. }
        | ServeError::BlockSignals(_)
        | ServeError::Start(_) => Failure::usage(error),
        ServeError::AwaitSignals(_) | ServeError::Stop(_) => Failure::system(error),
    }
}

fn start(args: &Args, config: &ServeConfig) -> Result<(), Failure> {
    prepare_run_dir(&config.run_dir).map_err(Failure::system)?;
    let name = format!("node-{}", config.listen.port());
    let daemon = Daemon {
        name: &name,
        run_dir: &config.run_dir,
        arguments: foreground_words(args, config),
    };
    let mut line = Progress::new();
    let text = detach(&daemon, |text| line.show(text)).map_err(Failure::usage)?;
    drop(line);
    output::print(&text)
}

/// What was said means: defaults filled in, paths absolute.
fn resolve(args: Args) -> Result<ServeConfig, Failure> {
    let absolute = |path: PathBuf| {
        std::path::absolute(&path)
            .map_err(|error| Failure::usage(format!("cannot use the path '{}': {error}", shown(&path))))
    };
    let mut fabrics = args.fabric;
    if fabrics.is_empty() {
        fabrics = offered(args.device.is_some());
    }
    fabrics.sort_by_key(|kind| kind.name());
    fabrics.dedup();
    if args.device.is_some() && !fabrics.contains(&FabricKind::Verbs) {
        let why = if VERBS {
            "--device is for verbs: add verbs to --fabric"
        } else {
            "--device: this build has no verbs"
        };
        return Err(Failure::usage(format!("{why}, or leave it out")));
    }
    Ok(ServeConfig {
        key: absolute(args.key.unwrap_or_else(|| default_key(&args.pool)))?,
        state: args.state,
        new: args.new,
        pool: args.pool,
        memory: args.memory,
        listen: args.listen,
        fabrics,
        device: args.device,
        root_owner: args.root_owner,
        root_mode: args.root_mode,
        metadata: args.metadata.unwrap_or_else(|| default_metadata(args.memory)),
        run_dir: run_dir(),
        lease: args.lease,
        sessions: args.sessions,
        encrypted: args.encrypt,
        drain: args.drain,
    })
}

/// The command line of a node in the foreground that has this configuration, with whole paths: that process works in `/`.
fn foreground_words(args: &Args, config: &ServeConfig) -> Vec<OsString> {
    let fabrics: Vec<&str> = config.fabrics.iter().map(|kind| kind.name()).collect();
    let mut words: Vec<OsString> = vec!["serve".into(), "--foreground".into()];
    let mut say = |name: &str, value: OsString| {
        let mut word = OsString::from(format!("--{name}="));
        word.push(value);
        words.push(word);
    };
    say("pool", args.pool.clone().into());
    say("memory", args.memory.to_string().into());
    say("listen", args.listen.to_string().into());
    say("fabric", fabrics.join(",").into());
    if let Some(device) = &config.device {
        say("device", device.into());
    }
    say("key", config.key.clone().into());
    if let Some(state) = &config.state {
        say("state", state.clone().into());
    }
    say(
        "root-owner",
        format!("{}:{}", args.root_owner.0, args.root_owner.1).into(),
    );
    say("root-mode", format!("{:o}", args.root_mode).into());
    say("metadata", config.metadata.to_string().into());
    say("sessions", args.sessions.to_string().into());
    say("lease", format!("{}ms", args.lease.as_millis()).into());
    say("drain", format!("{}ms", args.drain.as_millis()).into());
    words.extend(args.new.then(|| OsString::from("--new")));
    words.extend(args.encrypt.then(|| OsString::from("--encrypt")));
    words
}

/// What a person needs now: the line that mounts the pool, and the process to end.
fn ready_text(pool: &str, memory: u64, key: &Path, ready: &Ready) -> String {
    let source = Source {
        nodes: vec![reachable(ready.address)],
        pool: pool.to_owned(),
        directory: Vec::new(),
    };
    let mut text = String::new();
    if ready.key_created {
        text = format!(
            "made key file {}; copy it to every host that mounts the pool\n",
            shown(&key)
        );
    }
    if let Some(dir) = &ready.new_pool {
        text.push_str(&format!("began a new pool in {}\n", shown(&dir)));
    }
    if let Some(warning) = &ready.warning {
        text.push_str(&format!("warning: {warning}\n"));
    }
    let default = key == default_key(pool);
    let option = if default {
        String::new()
    } else {
        format!(" -o key={}", shown(&key))
    };
    text.push_str(&format!(
        "serving pool '{pool}' ({}) at {} (pid {}); mount it with:\n  mount -t rdmafs {source} /mnt/far{option}",
        show_size(memory),
        ready.address,
        std::process::id(),
    ));
    if !Path::new("/sbin/mount.rdmafs").exists() {
        let program = std::env::current_exe().unwrap_or_else(|_| "rdmafs".into());
        text.push_str(&format!(
            "\nor, since mount.rdmafs is not installed (scripts/install):\n  {} mount {source} /mnt/far{option}",
            shown(&program)
        ));
    }
    text
}

/// The address as others write it: a wildcard is no place to connect to.
fn reachable(address: SocketAddr) -> NodeAddress {
    let host = if address.ip().is_unspecified() {
        std::fs::read_to_string("/proc/sys/kernel/hostname")
            .ok()
            .map(|name| name.trim().to_owned())
    } else {
        None
    };
    NodeAddress {
        host: host.unwrap_or_else(|| address.ip().to_string()),
        port: address.port(),
    }
}

/// Turns bytes prepared into a text, at most once per percent.
struct Steps {
    total: u64,
    percent: Option<u64>,
}

impl Steps {
    fn new(total: u64) -> Self {
        Self {
            total: total.max(1),
            percent: None,
        }
    }

    fn next(&mut self, bytes: u64) -> Option<String> {
        let percent = u64::try_from(u128::from(bytes) * 100 / u128::from(self.total))
            .unwrap_or(100)
            .min(100);
        if self.percent == Some(percent) {
            return None;
        }
        self.percent = Some(percent);
        let (done, all) = (show_size(bytes), show_size(self.total));
        Some(format!("preparing memory: {done} of {all} ({percent} %)"))
    }
}

fn parse_pool(text: &str) -> Result<String, ValueError> {
    if is_pool_name(text) {
        return Ok(text.to_owned());
    }
    Err(ValueError::Form(
        "use 1 to 64 letters, digits, '.', '_' or '-', not starting with '.' or '-'",
    ))
}

/// An argument of `serve` that cannot be used, with what to write.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum ArgumentError {
    #[error(transparent)]
    Value(#[from] ValueError),
    #[error("a pool needs memory: use at least 1M")]
    TooLittle,
    /// A number without its unit; holds the number.
    #[error("a pool needs memory: use at least 1M (did you mean {0}G?)")]
    NoUnit(String),
    /// Holds the whole path, if this directory was meant.
    #[error("a relative path leads somewhere else from another directory: did you mean {}?", shown(.0))]
    RelativePath(PathBuf),
}

/// Bytes of memory to lend: at least [`LEAST`], rounded up to whole granules.
pub(crate) fn parse_memory(text: &str) -> Result<u64, ArgumentError> {
    let bytes = parse_size(text).map_err(ValueError::from)?;
    if bytes < LEAST {
        let digits = text.trim_end_matches(['b', 'B']);
        return Err(match digits.parse::<u64>() {
            Ok(1..) => ArgumentError::NoUnit(digits.to_owned()),
            _ => ArgumentError::TooLittle,
        });
    }
    bytes
        .checked_next_multiple_of(GRANULE)
        .ok_or(ArgumentError::Value(ValueError::Form("give less")))
}

fn parse_metadata(text: &str) -> Result<u64, ValueError> {
    match parse_size(text)? {
        bytes if bytes < LEAST_METADATA => Err(ValueError::Form("at least 1M: a thousand names")),
        bytes => Ok(bytes),
    }
}

/// Where a relative path leads depends on who starts the node, and from where.
fn parse_state(text: &str) -> Result<PathBuf, ArgumentError> {
    let path = PathBuf::from(text);
    if path.is_absolute() {
        return Ok(path);
    }
    let whole = std::path::absolute(&path).unwrap_or_else(|_| Path::new("/").join(&path));
    Err(ArgumentError::RelativePath(whole))
}

fn parse_listen(text: &str) -> Result<SocketAddr, ValueError> {
    const FORM: &str = "use ADDRESS:PORT, for example 10.0.0.1:7470 or [::1]:7470";
    let with_port = if text
        .rsplit_once(':')
        .is_some_and(|(host, _)| !host.is_empty() && !text.ends_with(']'))
    {
        text.parse().ok()
    } else {
        format!("{text}:{DEFAULT_PORT}").parse().ok()
    };
    with_port.ok_or(ValueError::Form(FORM))
}

fn parse_owner(text: &str) -> Result<(u32, u32), ValueError> {
    text.split_once(':')
        .and_then(|(uid, gid)| Some((uid.parse().ok()?, gid.parse().ok()?)))
        .ok_or(ValueError::Form("use UID:GID in digits, for example 1000:1000"))
}

fn parse_mode(text: &str) -> Result<u16, ValueError> {
    u16::from_str_radix(text, 8)
        .ok()
        .filter(|mode| *mode <= 0o7777)
        .ok_or(ValueError::Form("use an octal mode, for example 0755 or 1777"))
}

fn parse_lease(text: &str) -> Result<Duration, ValueError> {
    let lease = parse_time(text)?;
    if (Duration::from_secs(1)..=Duration::from_secs(600)).contains(&lease) {
        return Ok(lease);
    }
    Err(ValueError::OutOfRange("use 1s to 10m"))
}

fn parse_drain(text: &str) -> Result<Duration, ValueError> {
    let drain = parse_time(text)?;
    if drain <= Duration::from_secs(600) {
        return Ok(drain);
    }
    Err(ValueError::OutOfRange("use 0s to 10m"))
}

#[cfg(test)]
mod tests;
