//! `rdmafs mount` and `mount.rdmafs`: a pool becomes a directory.
//!
//! The pool is reached before mount(2) is called, so that a wrong node, pool or key never leaves a mount behind;
//! mount(2) is called here, in the caller's mount namespace, and the descriptor goes to the handler.

use crate::control::{Refusal, ask, start_handler, unexpected};
use crate::failure::Failure;
use crate::options::{self, Kind, Meaning, TABLE};
use crate::output;
use crate::remount::remount;
use nix::sched::{CloneFlags, setns};
use rdmafs_fs::control::{ControlReply, ControlRequest};
use rdmafs_fs::mount::{attach, detach};
use rdmafs_fs::options::Source;
use std::fs::File;
use std::io::{Error, ErrorKind};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// Mount a pool on a directory
#[derive(clap::Args)]
#[command(after_help = after_help())]
pub(crate) struct Args {
    /// NODE:/POOL or NODE:PORT:/POOL, as `rdmafs serve` prints it; an IPv6 address in brackets
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
pub(crate) enum Caller {
    Person,
    Mount8,
}

/// Mounts, or changes a mount. Blocking, as long as the node takes (within `timeout=` for each step).
pub(crate) fn run(args: Args, caller: Caller) -> Result<(), Failure> {
    let Args {
        no_mtab: _, kind: _, ..
    } = args;
    let given = options::read(&args.options, args.sloppy).map_err(Failure::usage)?;
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
    let place = Place {
        namespace: args.namespace.as_deref().map(namespace_file),
        dir: args.dir,
    };
    let dir = place.within(check_dir)?;
    if args.fake {
        return Ok(());
    }
    let said = if given.remount {
        remount(&source, &dir, &given)?
    } else {
        mount(&source, &dir, &place, meaning)?
    };
    if caller == Caller::Person || args.verbose {
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

fn mount(source: &Source, dir: &Path, place: &Place, meaning: Meaning) -> Result<String, Failure> {
    let failed = |line: String| Failure::mount(format!("cannot mount {source} on {}: {line}", dir.display()));
    let Meaning { options, flags } = meaning;
    prepare(&ControlRequest::Prepare {
        source: source.clone(),
        options: options.clone(),
    })
    .map_err(|refusal| failed(refusal.into_line()))?;
    let fuse = place.within(|_| attach(&source.to_string(), dir, flags).map_err(failed))?;
    let request = ControlRequest::Mount {
        source: source.clone(),
        dir: dir.to_owned(),
        options,
    };
    let answer = ask(&request, Some(fuse.as_fd())).map_err(Refusal::into_line);
    match answer {
        Ok(ControlReply::Mounted { note }) => Ok(format!("mounted {source} on {} ({note})", dir.display())),
        other => {
            let line = other.map_or_else(|line| line, |reply| unexpected(&reply));
            place.within(|_| {
                detach(dir);
                Err(failed(line))
            })
        }
    }
}

/// Has the handler reach the pool; starts one where none runs. One that is just ending, or that another mount
/// starts at the same moment, makes this go round again.
fn prepare(request: &ControlRequest) -> Result<(), Refusal> {
    const ROUNDS: usize = 3;
    let mut last = None;
    for _ in 0..ROUNDS {
        match ask(request, None) {
            Ok(ControlReply::Ready { .. }) => return Ok(()),
            Ok(reply) => return Err(Refusal::Said(unexpected(&reply))),
            Err(Refusal::Said(line)) => return Err(Refusal::Said(line)),
            Err(Refusal::Gone(line)) => last = Some(start_handler().err().unwrap_or(line)),
        }
    }
    ask(request, None)
        .map(|_| ())
        .map_err(|refusal| match (refusal, last) {
            (Refusal::Gone(_), Some(line)) => Refusal::Gone(line),
            (refusal, _) => refusal,
        })
}

/// Where the mount shall appear.
struct Place {
    /// Another mount namespace than the caller's.
    namespace: Option<PathBuf>,
    dir: PathBuf,
}

impl Place {
    /// Runs `job` in the place's mount namespace, then comes back.
    fn within<T>(&self, job: impl FnOnce(&Path) -> Result<T, Failure>) -> Result<T, Failure> {
        let Some(namespace) = &self.namespace else {
            return job(&self.dir);
        };
        let enter = |file: &File, name: &Path| {
            setns(file, CloneFlags::CLONE_NEWNS).map_err(|error| {
                Failure::system(format!(
                    "cannot enter the mount namespace {}: {error}",
                    name.display()
                ))
            })
        };
        let own = Path::new("/proc/self/ns/mnt");
        let (here, there) = (open_namespace(own)?, open_namespace(namespace)?);
        enter(&there, namespace)?;
        let done = job(&self.dir);
        enter(&here, own)?;
        done
    }
}

fn open_namespace(path: &Path) -> Result<File, Failure> {
    File::open(path).map_err(|error| {
        Failure::usage(format!(
            "cannot open the mount namespace {}: {error}",
            path.display()
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

/// The directory without links, as the kernel will list it.
fn check_dir(dir: &Path) -> Result<PathBuf, Failure> {
    let name = dir.display();
    let unusable = |error: Error| match error.kind() {
        ErrorKind::NotFound => Failure::mount(format!("{name} does not exist: mkdir -p {name}")),
        ErrorKind::NotConnected => Failure::mount(format!(
            "{name} is a mount whose handler is gone: rdmafs umount -l {name}, then mount again"
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
        let failure = run(args(source, Path::new(dir), options), Caller::Mount8).unwrap_err();
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
        assert_eq!(
            line,
            format!("{0} does not exist: mkdir -p {0}", missing.display())
        );
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
