//! `-o remount`: changes the share, the times and the kernel's flags of a live mount. It never stacks a second mount.
//!
//! mount(8) hands over every option of the mount's fstab line, changed or not; so an option that
//! cannot change is refused only when it differs from what the mount has.
//!
//! The kernel and the handler both keep to `ro`. Writing ends in the kernel first, which refuses while files are open for it and
//! writes back what is dirty; it begins in the handler first.

use crate::control::{Refusal, ask, unexpected};
use crate::failure::Failure;
use crate::mounts::{self, Mounted};
use crate::options::{Given, access_times};
use crate::qos;
use rdmafs_fs::control::{ControlReply, ControlRequest, LinkStatus, ShareChange, Status, TimesChange};
use rdmafs_fs::mount::KernelFlags;
use rdmafs_fs::options::{CacheMode, NodeAddress, Source};
use rdmafs_fs::shown::shown;
use std::fmt::Display;
use std::path::Path;
use thiserror::Error;

/// Changes the kernel's flags of the mount.
type Kernel<'a> = &'a dyn Fn(KernelFlags) -> Result<(), Failure>;

/// What a live mount cannot become, or is not.
#[derive(Debug, PartialEq, Eq, Error)]
enum RemountError {
    #[error("{what} is '{is}' and cannot become '{wanted}' while mounted: unmount it and mount it again")]
    Fixed {
        what: &'static str,
        is: String,
        wanted: String,
    },
    #[error("this host's handler does not serve it: 'rdmafs status' lists its mounts")]
    NotServed,
}

/// Does it, and says what came of it.
pub(crate) fn remount(
    source: &Source,
    dir: &Path,
    given: &Given,
    kernel: Kernel<'_>,
) -> Result<String, Failure> {
    let failed = |why: &dyn Display| Failure::mount(format!("cannot remount {}: {why}", shown(&dir)));
    let mounted = mounts::find(dir).map_err(|error| failed(&error))?;
    if mounted.source.parse::<Source>().as_ref() != Ok(source) {
        let wanted = source.to_string();
        return Err(failed(&fixed("the source", &mounted.source, &wanted)));
    }
    let has = flags_of(&mounted);
    let wanted = flags_wanted(has, given).map_err(|error| failed(&error))?;
    let status = match ask(&ControlRequest::Status, None) {
        Ok(ControlReply::Status(status)) => status,
        Ok(other) => return Err(failed(&unexpected(&other))),
        Err(refusal) => return Err(failed(&refusal)),
    };
    check_handler_side(&status, dir, source, given).map_err(|error| failed(&error))?;
    let mut said = Vec::new();
    // Also when the kernel's are as wanted: somebody may have changed them without this helper.
    if given.named.iter().any(|name| is_kernel_word(name)) {
        change_flags((has, wanted), dir, kernel).map_err(|failure| failed(&failure))?;
    }
    if has != wanted {
        said.push(if wanted.read_only { "ro" } else { "rw" }.to_owned());
    }
    if given.share != ShareChange::default() {
        let share = qos::change(dir, given.share).map_err(|refusal| failed(&refusal))?;
        said.push(qos::show(&share));
    }
    let times = TimesChange {
        timeout_ms: given.timeout_ms,
        commit_s: given.commit_s,
    };
    // Not asked without need: a handler from before this knows no times.
    if times != TimesChange::default() {
        said.push(change_times(dir, times).map_err(|refusal| failed(&refusal))?);
    }
    if said.is_empty() {
        return Ok(format!("nothing to change on {}", shown(&dir)));
    }
    Ok(format!("{}: {}", shown(&dir), said.join(" ")))
}

/// Asks the handler for new times. Gives what they are: `timeout=5000ms commit=5`.
fn change_times(dir: &Path, change: TimesChange) -> Result<String, Refusal> {
    let dir = dir.to_owned();
    match ask(&ControlRequest::Times { dir, change }, None)? {
        ControlReply::Times { timeout_ms, commit_s } => {
            Ok(format!("timeout={timeout_ms}ms commit={commit_s}"))
        }
        other => Err(Refusal::Said(unexpected(&other))),
    }
}

/// Tells the kernel and the handler, in the order in which no request meets a handler that is stricter than the kernel.
fn change_flags(
    (has, wanted): (KernelFlags, KernelFlags),
    dir: &Path,
    kernel: Kernel<'_>,
) -> Result<(), Failure> {
    let change_kernel = || if has == wanted { Ok(()) } else { kernel(wanted) };
    if wanted.read_only {
        change_kernel()?;
        return tell(dir, wanted);
    }
    tell(dir, wanted)?;
    change_kernel().inspect_err(|_| {
        let _as_before = tell(dir, has);
    })
}

fn tell(dir: &Path, flags: KernelFlags) -> Result<(), Failure> {
    let request = ControlRequest::Remount {
        dir: dir.to_owned(),
        flags,
        access_times: access_times(&flags),
    };
    match ask(&request, None) {
        Ok(ControlReply::Remounted) => Ok(()),
        Ok(other) => Err(Failure::mount(unexpected(&other))),
        Err(refusal) => Err(Failure::mount(refusal)),
    }
}

/// What the kernel says of the mount.
fn flags_of(mounted: &Mounted) -> KernelFlags {
    let here = |name: &str| mounted.options.iter().any(|option| option == name);
    let all = |name: &str| mounted.of_all.iter().any(|option| option == name);
    KernelFlags {
        read_only: here("ro") || all("ro"),
        suid: !here("nosuid"),
        dev: !here("nodev"),
        noexec: here("noexec"),
        noatime: here("noatime"),
        nodiratime: here("nodiratime"),
        relatime: here("relatime"),
        strictatime: !here("noatime") && !here("relatime"),
        sync: all("sync"),
        dirsync: all("dirsync"),
    }
}

/// What it shall have: what was said, and the rest as it is.
fn flags_wanted(has: KernelFlags, given: &Given) -> Result<KernelFlags, RemountError> {
    let said = |words: [&str; 2]| words.iter().any(|word| given.has(word));
    let of = &given.flags;
    let pick = |words, new, old| if said(words) { new } else { old };
    let times = said(["relatime", "norelatime"]) || said(["strictatime", "noatime"]) || given.has("atime");
    let strict = of.strictatime;
    if times && strict != has.strictatime {
        let word = |strict| if strict { "strictatime" } else { "not strictatime" };
        return Err(fixed("this", word(has.strictatime), word(strict)));
    }
    let noatime = pick(
        ["noatime", "atime"],
        of.noatime,
        has.noatime && !given.has("relatime"),
    );
    Ok(KernelFlags {
        read_only: pick(["ro", "rw"], of.read_only, has.read_only),
        suid: pick(["suid", "nosuid"], of.suid, has.suid),
        dev: pick(["dev", "nodev"], of.dev, has.dev),
        noexec: pick(["noexec", "exec"], of.noexec, has.noexec),
        noatime,
        nodiratime: pick(["nodiratime", "diratime"], of.nodiratime, has.nodiratime),
        relatime: !has.strictatime && !noatime,
        strictatime: has.strictatime,
        sync: pick(["sync", "async"], of.sync, has.sync),
        dirsync: has.dirsync || of.dirsync,
    })
}

/// Whether a word of the option table is about what the kernel knows.
fn is_kernel_word(name: &str) -> bool {
    let words = [
        "ro",
        "rw",
        "suid",
        "nosuid",
        "dev",
        "nodev",
        "noexec",
        "exec",
        "noatime",
        "atime",
        "nodiratime",
        "diratime",
        "relatime",
        "norelatime",
        "sync",
        "async",
        "dirsync",
    ];
    words.contains(&name)
}

/// What the handler knows of the mount must be what was asked for. Key, encryption and the details of verbs are not shown by it: they stay as
/// they are.
fn check_handler_side(
    status: &Status,
    dir: &Path,
    source: &Source,
    given: &Given,
) -> Result<(), RemountError> {
    let mount = status
        .mounts
        .iter()
        .rev()
        .find(|mount| mount.dir == dir)
        .ok_or(RemountError::NotServed)?;
    if let Some(cache) = given.cache {
        let word = match cache {
            CacheMode::Auto => "auto",
            CacheMode::None => "none",
        };
        if mount.cache != word {
            return Err(fixed("cache=", &mount.cache, word));
        }
    }
    if given.has("idmap") || given.has("noidmap") {
        let word = |on: bool| if on { "idmap" } else { "noidmap" };
        let on = mount.options.split(',').any(|option| option == "idmap");
        if on != given.idmap {
            return Err(fixed("this", word(on), word(given.idmap)));
        }
    }
    let links: Vec<&LinkStatus> = status
        .links
        .iter()
        .filter(|link| leads_to(link, source))
        .collect();
    let fabric = given.fabric.flatten().map(|kind| kind.name());
    one_has(&links, "fabric=", |link| &link.fabric, fabric)?;
    one_has(
        &links,
        "device=",
        |link| &link.device,
        given.verbs.device.as_deref(),
    )
}

/// What was asked for must be what one of the links has.
fn one_has(
    links: &[&LinkStatus],
    name: &'static str,
    of: impl Fn(&LinkStatus) -> &String,
    wanted: Option<&str>,
) -> Result<(), RemountError> {
    match (wanted, links.first()) {
        (Some(wanted), Some(link)) if links.iter().all(|link| of(link) != wanted) => {
            Err(fixed(name, of(link), wanted))
        }
        _ => Ok(()),
    }
}

fn leads_to(link: &LinkStatus, source: &Source) -> bool {
    let node = link.node.parse::<NodeAddress>();
    link.pool == source.pool && node.is_ok_and(|node| source.nodes.contains(&node))
}

fn fixed(what: &'static str, is: &str, wanted: &str) -> RemountError {
    RemountError::Fixed {
        what,
        is: is.to_owned(),
        wanted: wanted.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::read;
    use rdmafs_fs::control::MountStatus;
    use rdmafs_fs::options::Share;
    use std::path::PathBuf;

    fn mounted(options: &str) -> Mounted {
        Mounted {
            device: "0:50".to_owned(),
            dir: PathBuf::from("/m"),
            kind: mounts::TYPE.to_owned(),
            source: "n:/p".to_owned(),
            options: options.split(',').map(str::to_owned).collect(),
            of_all: vec!["rw".to_owned(), "user_id=0".to_owned()],
        }
    }

    fn wanted(options: &str, said: &str) -> Result<(KernelFlags, KernelFlags), String> {
        let has = flags_of(&mounted(options));
        let wanted = flags_wanted(has, &read(&[said], false).unwrap());
        wanted
            .map(|wanted| (has, wanted))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn what_fstab_repeats_is_no_change() {
        for (options, said) in [
            (
                "rw,nosuid,nodev,noexec,relatime",
                "rw,remount,noexec,nosuid,bw=1M",
            ),
            ("ro,nosuid,nodev,relatime", "remount,ro"),
            ("rw,nosuid,nodev,noatime", "remount,noatime,nodev"),
            ("rw,nodiratime", "remount,strictatime"),
            ("rw,suid,relatime", "remount"),
        ] {
            let (has, wanted) = wanted(options, said).unwrap();
            assert_eq!(has, wanted, "{options} {said}");
        }
    }

    #[test]
    fn what_is_said_changes_and_the_rest_stays() {
        let (has, ro) = wanted("rw,nosuid,nodev,noexec,relatime", "remount,ro").unwrap();
        assert_eq!(
            ro,
            KernelFlags {
                read_only: true,
                ..has
            }
        );
        assert!(ro.noexec && ro.relatime && !ro.suid && !ro.dev);
        let (has, rw) = wanted("ro,nosuid,nodev,noatime", "remount,rw,suid,exec").unwrap();
        assert!(has.read_only && !rw.read_only && rw.suid && !rw.dev && rw.noatime);
        let (_, atime) = wanted("rw,noatime", "remount,relatime").unwrap();
        assert!(atime.relatime && !atime.noatime);
    }

    #[test]
    fn what_cannot_change_is_refused_with_the_remedy() {
        let line = wanted("rw,nosuid,nodev,relatime", "remount,strictatime").unwrap_err();
        assert_eq!(
            line,
            "this is 'not strictatime' and cannot become 'strictatime' while mounted: unmount it and mount it again"
        );
        assert!(wanted("rw", "remount,noatime").is_err());
    }

    #[test]
    fn every_word_that_is_compared_is_one_of_the_table() {
        for word in crate::options::TABLE
            .iter()
            .filter(|word| is_kernel_word(word.name))
        {
            assert!(read(&[word.name], false).is_ok());
        }
        assert!(!is_kernel_word("bw") && !is_kernel_word("remount"));
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table of cases")]
    fn cache_and_fabric_are_compared_with_the_handlers() {
        let status = Status {
            links: vec![LinkStatus {
                node: "n:7470".to_owned(),
                pool: "p".to_owned(),
                fabric: "tcp".to_owned(),
                qps: 2,
                device: String::new(),
                state: "up".to_owned(),
                for_ms: 61_000,
                connections: 2,
                lease_ms: 10_000,
                encrypted: false,
                protocol: 1,
                calls: Default::default(),
                leases: Default::default(),
                why: String::new(),
            }],
            mounts: vec![MountStatus {
                dir: PathBuf::from("/m"),
                source: "n:/p".to_owned(),
                stale: false,
                cache: "auto".to_owned(),
                options: String::new(),
                share: Share::default(),
                traffic: Default::default(),
                requests: 0,
                parked: 0,
                mean_latency_us: 0,
                copies: Vec::new(),
            }],
            pools: Vec::new(),
        };
        let source = "n:/p".parse().unwrap();
        let check = |dir: &str, said: &str| {
            check_handler_side(&status, Path::new(dir), &source, &read(&[said], false).unwrap())
                .map_err(|error| error.to_string())
        };
        check("/m", "cache=auto,fabric=tcp,key=/k").unwrap();
        check("/m", "fabric=auto").unwrap();
        assert!(
            check("/m", "cache=none")
                .unwrap_err()
                .starts_with("cache= is 'auto' and cannot become 'none'")
        );
        #[cfg(feature = "verbs")]
        assert!(
            check("/m", "device=mlx5_0")
                .unwrap_err()
                .starts_with("device= is '' and cannot become 'mlx5_0'")
        );
        assert!(
            check("/m", "fabric=shm")
                .unwrap_err()
                .starts_with("fabric= is 'tcp' and cannot become 'shm'")
        );
        assert!(check("/x", "").unwrap_err().contains("does not serve it"));
    }
}
