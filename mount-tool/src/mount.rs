//! `rdmafs mount` and `mount.rdmafs`: a pool becomes a directory.
//!
//! The pool is reached before mount(2) is called, so that a wrong node, pool or key never leaves a mount behind;
//! mount(2) is called here, in the caller's mount namespace, and the descriptor goes to the handler.

use crate::control::{Refusal, ask, start_handler, unexpected};
use crate::failure::Failure;
use crate::mount8;
use crate::mounts;
use crate::options::{self, Kind, Meaning, TABLE};
use crate::output::{self, Progress};
use crate::remount::remount;
use rdmafs_fs::control::{ControlReply, ControlRequest};
use rdmafs_fs::mount::{
    Attached, Cap, Detach, Detached, Device, KernelFlags, MountError, MountPlace, Namespace, Put, Sought,
    View, can_mount_beneath,
};
use rdmafs_fs::options::Source;
use rdmafs_fs::shown::shown;
use std::fmt::Display;
use std::io::{Error, ErrorKind};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;

/// How a node says that it serves soon.
const PREPARING: &str = "is preparing its memory";

/// Mount a pool on a directory
#[derive(clap::Args)]
#[command(after_help = after_help())]
pub(crate) struct Args {
    /// NODE:/POOL or NODE:PORT:/POOL, as `rdmafs serve` prints it; an IPv6 address in brackets. NODE:/POOL/DIR is a directory of the pool
    source: String,
    /// An existing directory
    dir: PathBuf,
    /// Mount options, separated by commas
    #[arg(short = 'o', long = "options", value_name = "OPT,...")]
    options: Vec<String>,
    /// Check the words and do nothing
    #[arg(short = 'f', long = "fake")]
    fake: bool,
    /// Pass over unknown options
    #[arg(short = 's')]
    sloppy: bool,
    /// Say what was mounted, and how
    #[arg(short = 'v', long = "verbose")]
    verbose: bool,
    /// Accepted for mount(8): there is no /etc/mtab to write
    #[arg(short = 'n', hide = true)]
    no_mtab: bool,
    /// Mount in this mount namespace (a process id, or a file)
    #[arg(short = 'N', long = "namespace", value_name = "NAMESPACE")]
    namespace: Option<PathBuf>,
    /// Accepted for mount(8)
    #[arg(short = 't', hide = true)]
    kind: Option<String>,
}

/// Who calls: mount(8) is silent when all is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Invoker {
    Person,
    Mount8,
}

/// Mounts, or changes a mount. Blocking, as long as the node takes (within `timeout=` for each step).
pub(crate) fn run(args: Args, caller: Invoker) -> Result<(), Failure> {
    let Args {
        no_mtab: _, kind: _, ..
    } = args;
    let mut lists = args.options.clone();
    if caller == Invoker::Mount8 {
        lists.insert(0, mount8::kept_words(&args.source, &args.dir).join(","));
    }
    let given = options::read(&lists, args.sloppy).map_err(Failure::usage)?;
    output::notes(&given.notes);
    let source: Source = args
        .source
        .parse()
        .map_err(|error| Failure::usage(format!("{error}")))?;
    let meaning = options::resolve(&source, &given).map_err(Failure::usage)?;
    only_one_node(&source)?;
    if !nix::unistd::geteuid().is_root() {
        return Err(Failure::usage(format!(
            "cannot mount {source}: only root may mount (try sudo)"
        )));
    }
    let place = MountTarget::new(args.namespace.as_deref(), &args.dir)?;
    let found = place.within(|view, dir| look(view, dir, &source))?;
    if found.alive && !given.remount {
        let name = shown(&args.dir);
        return Err(Failure::mount(format!(
            "{source} is already mounted on {name}: 'mount -o remount,... {name}' changes options, 'umount {name}' ends it"
        )));
    }
    if args.fake {
        return Ok(());
    }
    let said = if given.remount {
        remount(&source, &found.dir, &given, &|flags| {
            place.within(|view, _| view.remount(&found.dir, flags).map_err(Failure::mount))
        })?
    } else {
        mount(&source, &found, &place, meaning)?
    };
    if caller == Invoker::Person || args.verbose {
        output::print(&said)?;
    }
    Ok(())
}

fn only_one_node(source: &Source) -> Result<(), Failure> {
    let count = source.nodes.len();
    if count == 1 {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "{source} names {count} nodes: a pool has one memory node in this version, name that one"
    )))
}

fn mount(source: &Source, found: &Found, place: &MountTarget, meaning: Meaning) -> Result<String, Failure> {
    let dir = &found.dir;
    let failed =
        |why: &dyn Display| Failure::mount(format!("cannot mount {source} on {}: {why}", shown(&dir)));
    let Meaning { options, flags } = meaning;
    let request = ControlRequest::Prepare {
        source: source.clone(),
        options: options.clone(),
    };
    prepare(&request, Duration::from_millis(options.timeout_ms)).map_err(|refusal| failed(&refusal))?;
    let text = source.to_string();
    let new = place.within(|view, _| match &found.dead {
        // It is what a handler that was started just now has made of it, if it is alive by now.
        Some(dead) => successor(view, dir, (dead, &text), flags).map_err(|error| failed(&error)),
        None => view
            .attach(&text, dir, flags, None)
            .map(New::InPlace)
            .map_err(|error| failed(&error)),
    })?;
    let Attached { fuse, place: made } = new.attached();
    let request = ControlRequest::Mount {
        source: source.clone(),
        dir: dir.to_owned(),
        options,
        flags,
        place: *made,
    };
    let note = match ask(&request, Some(fuse.as_fd())) {
        Ok(ControlReply::Mounted { note }) => Ok(note),
        Ok(reply) => Err(Refusal::Said(unexpected(&reply))),
        Err(refusal) => Err(refusal),
    };
    place
        .within(|view, _| match (&new, note) {
            (New::InPlace(_), Ok(note)) => Ok(note),
            (New::InPlace(made), Err(refusal)) => {
                let _left = take_away(view, dir, &text, Some(made.place.device));
                Err(failed(&refusal))
            }
            (New::Successor { new, old, .. }, Ok(note)) => {
                let put = view.put(new, old, dir).map_err(|error| failed(&error))?;
                if put == Put::Beneath {
                    view.uncover(old, dir).map_err(|error| failed(&error))?;
                }
                Ok(note)
            }
            (New::Successor { .. }, Err(refusal)) => Err(failed(&refusal)),
        })
        .map(|note| {
            let text = source.to_string();
            format!("mounted {} on {} ({note})", shown(&text), shown(&dir))
        })
}

/// What mount(2) or fsmount(2) made.
enum New {
    /// It is where it shall be.
    InPlace(Attached),
    /// It is nowhere yet, and takes the place of `old` once it is served: the directory below is never bare.
    Successor {
        attached: Attached,
        new: Detached,
        old: Cap,
    },
}

impl New {
    fn attached(&self) -> &Attached {
        match self {
            Self::InPlace(attached) | Self::Successor { attached, .. } => attached,
        }
    }
}

/// No mount could be made that takes the place of a dead one.
#[derive(Debug, Error)]
enum SuccessorError {
    #[error(transparent)]
    Mount(#[from] MountError),
    #[error("the new mount has no number: {0}")]
    NoNumber(#[source] Error),
}

/// A mount that shall take the place of the one on `dir`. Where the kernel cannot mount beneath another one, that is detached before.
fn successor(
    view: &View,
    dir: &Path,
    (old, source): (&str, &str),
    flags: KernelFlags,
) -> Result<New, SuccessorError> {
    let beneath = view.beneath(dir).filter(|_| can_mount_beneath());
    let Some(beneath) = beneath else {
        take_away(view, dir, old, None)?;
        let attached = view.attach(source, dir, flags, None);
        return Ok(New::InPlace(attached?));
    };
    let old = view.hold_of(dir, old)?;
    let (new, fuse) = view.make(source, flags)?;
    let device = new.device().map_err(SuccessorError::NoNumber)?;
    let place = MountPlace {
        namespace: view.namespace(),
        device,
        beneath,
    };
    let attached = Attached { fuse, place };
    Ok(New::Successor { attached, new, old })
}

/// Detaches the topmost mount on `dir`, if it is one of ours of this source, or the one with this device number.
fn take_away(view: &View, dir: &Path, source: &str, device: Option<Device>) -> Result<(), MountError> {
    let sought = Sought {
        dir,
        source,
        device,
        dead: false,
    };
    match view.detach(sought, &|_| false) {
        Detach::Kept(line) => Err(MountError::Kept(line)),
        _ => Ok(()),
    }
}

/// While the node prepares its memory it is asked again, for as long as the mount's `timeout=`.
fn prepare(request: &ControlRequest, limit: Duration) -> Result<(), Refusal> {
    const PAUSE: Duration = Duration::from_millis(250);
    let (mut line, mut waited) = (Progress::new(), Duration::ZERO);
    loop {
        match prepare_once(request) {
            Err(Refusal::Said(said)) if said.contains(PREPARING) && waited < limit => {
                line.show(&said);
                std::thread::sleep(PAUSE);
                waited += PAUSE;
            }
            answer => return answer,
        }
    }
}

/// Has the handler reach the pool; starts one where none runs. One that is just ending, or that another mount
/// starts at the same moment, makes this go round again.
fn prepare_once(request: &ControlRequest) -> Result<(), Refusal> {
    const ROUNDS: usize = 3;
    let mut last = None;
    for _ in 0..ROUNDS {
        match ask(request, None) {
            Ok(ControlReply::Ready { .. }) => return Ok(()),
            Ok(reply) => return Err(Refusal::Said(unexpected(&reply))),
            Err(Refusal::Said(line)) => return Err(Refusal::Said(line)),
            Err(Refusal::Gone(line) | Refusal::Died(line)) => {
                last = Some(start_handler().err().map_or(line, |error| error.to_string()))
            }
        }
    }
    ask(request, None)
        .map(|_| ())
        .map_err(|refusal| match (refusal, last) {
            (Refusal::Gone(_) | Refusal::Died(_), Some(line)) => Refusal::Gone(line),
            (refusal, _) => refusal,
        })
}

/// Where the mount shall appear.
struct MountTarget {
    namespace: Namespace,
    /// Absolute.
    dir: PathBuf,
}

impl MountTarget {
    fn new(namespace: Option<&Path>, dir: &Path) -> Result<Self, Failure> {
        let file = namespace.map_or_else(|| PathBuf::from("/proc/self/ns/mnt"), namespace_file);
        Ok(Self {
            namespace: open_namespace(&file)?,
            dir: std::path::absolute(dir)
                .map_err(|error| Failure::mount(format!("cannot use {}: {error}", shown(&dir))))?,
        })
    }

    /// Does `job` in the place's mount namespace.
    fn within<T: Send>(
        &self,
        job: impl FnOnce(&View, &Path) -> Result<T, Failure> + Send,
    ) -> Result<T, Failure> {
        let done = self.namespace.enter(|view| job(view, &self.dir));
        done.map_err(|error| Failure::system(format!("cannot enter the mount namespace: {error}")))?
    }
}

fn open_namespace(path: &Path) -> Result<Namespace, Failure> {
    Namespace::open(path).map_err(|error| {
        Failure::usage(format!(
            "cannot open the mount namespace {}: {error}",
            shown(&path)
        ))
    })
}

/// `-N 1234` means the namespace of that process.
fn namespace_file(name: &Path) -> PathBuf {
    match name
        .to_str()
        .filter(|name| name.bytes().all(|b| b.is_ascii_digit()))
    {
        Some(pid) => PathBuf::from(format!("/proc/{pid}/ns/mnt")),
        None => name.to_owned(),
    }
}

/// What stands where the mount shall be.
struct Found {
    /// The directory without links, as the kernel will list it.
    dir: PathBuf,
    /// The source of the dead mount of ours on it, as the kernel lists it.
    dead: Option<String>,
    /// The very pool is mounted there, and served.
    alive: bool,
}

/// A dead mount of the same pool is no obstacle: the new one takes its place.
fn look(view: &View, dir: &Path, source: &Source) -> Result<Found, Failure> {
    let real = mounts::resolve(dir);
    let dead = view.dead_on(&real);
    match &dead {
        Some(of) if of.parse().as_ref() == Ok(source) => Ok(Found {
            dir: real,
            dead,
            alive: false,
        }),
        Some(of) => {
            let name = shown(&dir);
            Err(Failure::mount(format!(
                "{name} is a mount of {of} whose handler is gone: rdmafs umount -l {name}, then mount again"
            )))
        }
        None => Ok(Found {
            dir: check_dir(dir)?,
            dead,
            alive: view
                .of_ours_on(&real)
                .is_some_and(|of| of.parse().as_ref() == Ok(source)),
        }),
    }
}

/// The directory without links, as the kernel will list it.
fn check_dir(dir: &Path) -> Result<PathBuf, Failure> {
    let name = shown(&dir);
    let unusable = |error: Error| match error.kind() {
        ErrorKind::NotFound => Failure::mount(format!("{name} does not exist: mkdir -p {name}")),
        ErrorKind::NotConnected => Failure::mount(format!(
            "{name} is a mount whose server is gone: umount -l {name}, then mount again"
        )),
        _ => Failure::mount(format!("cannot use {name}: {error}")),
    };
    let whole = dir.canonicalize().map_err(unusable)?;
    if whole.metadata().map_err(unusable)?.is_dir() {
        return Ok(whole);
    }
    Err(Failure::mount(format!(
        "{name} is not a directory: a pool is mounted on a directory"
    )))
}

/// The option table as help.
pub(crate) fn after_help() -> String {
    let width = 12;
    let mut text = "Mount options:\n".to_owned();
    for word in TABLE.iter().filter(|word| !word.help.is_empty()) {
        let line = match (word.kind, word.help.split_once(": ")) {
            (Kind::Value(_), Some((value, what))) => {
                format!("  {}={value}\n  {:width$}{what}\n", word.name, "")
            }
            _ => format!("  {:width$}{}\n", word.name, word.help),
        };
        text.push_str(&line);
    }
    text.push_str(
        "  and what mount(8) hands over: defaults _netdev nofail auto noauto x-* comment=\n\n\
         Examples:\n  \
         rdmafs mount 127.0.0.1:/pool /mnt/far\n  \
         mount -t rdmafs node1:/pool /mnt/far -o bw=200M,cache=none\n  \
         mount -o remount,bw=500M /mnt/far\n  \
         /etc/fstab: node1:/pool /mnt/far rdmafs _netdev,nofail 0 0",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Code;

    fn args(source: &str, dir: &Path, options: &[&str]) -> Args {
        Args {
            source: source.to_owned(),
            dir: dir.to_owned(),
            options: options.iter().map(|&list| list.to_owned()).collect(),
            fake: true,
            sloppy: false,
            verbose: false,
            no_mtab: false,
            namespace: None,
            kind: None,
        }
    }

    fn refused(source: &str, dir: &str, options: &[&str]) -> String {
        let failure = run(args(source, Path::new(dir), options), Invoker::Mount8).unwrap_err();
        assert_eq!(failure.code, Code::Usage);
        failure.to_string()
    }

    #[test]
    fn words_are_checked_before_anything_is_done() {
        assert!(refused("node1", "/", &[]).starts_with("'node1' names no pool: write NODE"));
        assert!(refused("a,b:/p", "/", &[]).contains("names 2 nodes: a pool has one memory node"));
        assert!(refused("a:/p", "/", &["fabrik=tcp"]).contains("did you mean 'fabric'?"));
        assert!(refused("a:/p", "/", &["burst=1M"]).contains("needs bw="));
    }

    #[test]
    fn a_directory_that_cannot_be_is_named_with_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("no");
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let line = check_dir(&missing).unwrap_err().to_string();
        assert_eq!(line, format!("{0} does not exist: mkdir -p {0}", shown(&missing)));
        let line = check_dir(&file).unwrap_err().to_string();
        assert!(line.contains("file is not a directory: "), "{line}");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path(), &link).unwrap();
        assert_eq!(check_dir(&link).unwrap(), dir.path().canonicalize().unwrap());
    }

    #[test]
    fn namespaces_are_named_by_process_or_file() {
        assert_eq!(namespace_file(Path::new("12")), Path::new("/proc/12/ns/mnt"));
        assert_eq!(namespace_file(Path::new("/run/ns")), Path::new("/run/ns"));
        let failure = open_namespace(Path::new("/no/ns")).unwrap_err();
        assert!(
            failure
                .to_string()
                .starts_with("cannot open the mount namespace /no/ns: ")
        );
    }

    #[test]
    fn the_help_teaches_every_option_of_ours() {
        let help = after_help();
        for name in [
            "fabric=",
            "device=",
            "gid_index=",
            "tclass=",
            "key=",
            "crypt=",
            "timeout=",
            "cache=",
            "bw=",
            "iops=",
            "burst=",
            "weight=",
            "ro",
            "fstab",
        ] {
            assert!(help.contains(name), "{name}");
        }
        assert!(!help.contains("prio="), "only what this version has");
    }
}
