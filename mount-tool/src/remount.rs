//! `-o remount`: changes the share and the times of a live mount. It never stacks a second mount.
//!
//! mount(8) hands over every option of the mount's fstab line, changed or not; so an option that
//! cannot change is refused only when it differs from what the mount has.

use crate::control::{Refusal, ask, unexpected};
use crate::failure::Failure;
use crate::mounts::{self, Mounted};
use crate::options::Given;
use crate::qos;
use rdmafs_fs::control::{ControlReply, ControlRequest, LinkStatus, ShareChange, Status, TimesChange};
use rdmafs_fs::options::{CacheMode, NodeAddress, Source};
use std::path::Path;

/// Does it, and says what came of it.
pub(crate) fn remount(source: &Source, dir: &Path, given: &Given) -> Result<String, Failure> {
    let failed = |line: String| Failure::mount(format!("cannot remount {}: {line}", dir.display()));
    let mounted = mounts::find(dir).map_err(failed)?;
    check_kernel_side(&mounted, source, given).map_err(failed)?;
    let status = match ask(&ControlRequest::Status, None) {
        Ok(ControlReply::Status(status)) => status,
        Ok(other) => return Err(failed(unexpected(&other))),
        Err(refusal) => return Err(failed(refusal.into_line())),
    };
    check_handler_side(&status, dir, source, given).map_err(failed)?;
    let times = TimesChange {
        timeout_ms: given.timeout_ms,
        commit_s: given.commit_s,
    };
    if given.share == ShareChange::default() && times == TimesChange::default() {
        return Ok(format!("nothing to change on {}", dir.display()));
    }
    // Not asked without need: a handler from before this knows no times.
    let times = match times == TimesChange::default() {
        true => String::new(),
        false => change_times(dir, times).map_err(failed)?,
    };
    let share = qos::change(dir, given.share)
        .map_err(Refusal::into_line)
        .map_err(failed)?;
    Ok(format!("{}: {}{times}", dir.display(), qos::show(&share)))
}

/// Asks the handler for new times. Gives what they are: ` timeout=5000ms commit=5`.
fn change_times(dir: &Path, change: TimesChange) -> Result<String, String> {
    let dir = dir.to_owned();
    match ask(&ControlRequest::Times { dir, change }, None) {
        Ok(ControlReply::Times { timeout_ms, commit_s }) => {
            Ok(format!(" timeout={timeout_ms}ms commit={commit_s}"))
        }
        Ok(other) => Err(unexpected(&other)),
        Err(refusal) => Err(refusal.into_line()),
    }
}

/// What the kernel knows of the mount must not differ from what was said.
fn check_kernel_side(mounted: &Mounted, source: &Source, given: &Given) -> Result<(), String> {
    if mounted.source.parse::<Source>().as_ref() != Ok(source) {
        return Err(fixed("the source", &mounted.source, &source.to_string()));
    }
    let flags = &given.flags;
    let wanted = [
        ("ro", flags.read_only, given.has("ro") || given.has("rw")),
        ("nosuid", !flags.suid, given.has("suid") || given.has("nosuid")),
        ("nodev", !flags.dev, given.has("dev") || given.has("nodev")),
        ("noexec", flags.noexec, given.has("noexec") || given.has("exec")),
        (
            "noatime",
            flags.noatime,
            given.has("noatime") || given.has("atime"),
        ),
        (
            "nodiratime",
            flags.nodiratime,
            given.has("nodiratime") || given.has("diratime"),
        ),
    ];
    for (name, want, said) in wanted {
        let has = mounted.options.iter().any(|option| option == name);
        if said && has != want {
            let word = |on: bool| {
                if on {
                    name.to_owned()
                } else {
                    format!("not {name}")
                }
            };
            return Err(fixed("this", &word(has), &word(want)));
        }
    }
    Ok(())
}

/// The same for what the handler knows. Key, encryption and the details of verbs are not shown by it: they stay as
/// they are.
fn check_handler_side(status: &Status, dir: &Path, source: &Source, given: &Given) -> Result<(), String> {
    let mount = status
        .mounts
        .iter()
        .rev()
        .find(|mount| mount.dir == dir)
        .ok_or("this host's handler does not serve it: 'rdmafs status' lists its mounts")?;
    if let Some(cache) = given.cache {
        let word = match cache {
            CacheMode::Auto => "auto",
            CacheMode::None => "none",
        };
        if mount.cache != word {
            return Err(fixed("cache=", &mount.cache, word));
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
    name: &str,
    of: impl Fn(&LinkStatus) -> &String,
    wanted: Option<&str>,
) -> Result<(), String> {
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

fn fixed(what: &str, is: &str, wanted: &str) -> String {
    format!("{what} is '{is}' and cannot become '{wanted}' while mounted: unmount it and mount it again")
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
        }
    }

    fn check(options: &str, source: &str, said: &str) -> Result<(), String> {
        let given = read(&[said], false).unwrap();
        check_kernel_side(&mounted(options), &source.parse().unwrap(), &given)
    }

    #[test]
    fn what_fstab_repeats_is_no_change() {
        check(
            "rw,nosuid,nodev,noexec,relatime",
            "n:7470:/p",
            "rw,remount,noexec,nosuid,bw=1M",
        )
        .unwrap();
        check("ro,nosuid,nodev", "n:/p", "remount,ro").unwrap();
    }

    #[test]
    fn what_cannot_change_is_refused_with_the_remedy() {
        let line = check("rw,nosuid,nodev", "n:/p", "remount,ro").unwrap_err();
        assert_eq!(
            line,
            "this is 'not ro' and cannot become 'ro' while mounted: unmount it and mount it again"
        );
        assert!(check("rw,nosuid", "n:/p", "remount,suid").is_err());
        assert!(check("ro", "n:/p", "remount,rw").is_err());
        assert!(
            check("rw", "n:/q", "remount")
                .unwrap_err()
                .starts_with("the source is 'n:/p'")
        );
    }

    #[test]
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
                calls: Default::default(),
                why: String::new(),
            }],
            mounts: vec![MountStatus {
                dir: PathBuf::from("/m"),
                source: "n:/p".to_owned(),
                stale: false,
                cache: "auto".to_owned(),
                share: Share::default(),
                traffic: Default::default(),
                requests: 0,
                parked: 0,
                mean_latency_us: 0,
            }],
            pools: Vec::new(),
        };
        let source = "n:/p".parse().unwrap();
        let check = |dir: &str, said: &str| {
            check_handler_side(&status, Path::new(dir), &source, &read(&[said], false).unwrap())
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
