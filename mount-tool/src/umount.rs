//! `rdmafs umount`: umount(2) of one of our mounts. umount(8) does the same.

use crate::failure::Failure;
use crate::mounts;
use crate::output;
use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use rdmafs_fs::mount::{Device, Holder, holders};
use rdmafs_fs::shown::shown;
use std::path::{Path, PathBuf};

/// Unmount a pool
#[derive(clap::Args)]
#[command(after_help = "Example:\n  rdmafs umount /mnt/far")]
pub(crate) struct Args {
    /// The mount's directory
    dir: PathBuf,
    /// Detach it now; it ends when nobody uses it any more
    #[arg(short = 'l', long = "lazy")]
    lazy: bool,
    /// Give up what waits for a node that does not answer
    #[arg(short = 'f', long = "force")]
    force: bool,
}

/// Unmounts. What was written is committed first, unless the handler or node is dead. Blocking.
pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let mounted = mounts::find(&args.dir).map_err(Failure::usage)?;
    let mut flags = MntFlags::UMOUNT_NOFOLLOW;
    flags.set(MntFlags::MNT_DETACH, args.lazy);
    flags.set(MntFlags::MNT_FORCE, args.force);
    umount2(&mounted.dir, flags).map_err(|errno| explain(&args.dir, errno))?;
    if let Some(line) = device(&mounted.device).and_then(|device| left(&args.dir, &holders(device))) {
        output::print(&line)?;
    }
    Ok(())
}

/// `MAJOR:MINOR`, as the kernel shows it.
fn device(text: &str) -> Option<Device> {
    let (major, minor) = text.split_once(':')?;
    Some(Device {
        major: major.parse().ok()?,
        minor: minor.parse().ok()?,
    })
}

/// What keeps it served all the same: else nobody would know why `rdmafs status` lists it.
fn left(dir: &Path, holders: &[Holder]) -> Option<String> {
    let first = holders.first()?;
    let more = match holders.len() {
        1 => String::new(),
        count => format!("; {} other mount namespaces have it too", count - 1),
    };
    Some(format!(
        "{} is unmounted here, and still served: a copy of it is {first}{more}",
        shown(&dir)
    ))
}

fn explain(dir: &Path, errno: Errno) -> Failure {
    let dir = shown(&dir);
    match errno {
        Errno::EBUSY => Failure::mount(format!(
            "{dir} is busy: end what works in it ('fuser -vm {dir}' shows it), or use -l"
        )),
        Errno::EPERM => Failure::usage(format!("only root may unmount {dir} (try sudo)")),
        _ => Failure::mount(format!("cannot unmount {dir}: {}", errno.desc())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Code;

    #[test]
    fn only_our_mounts_are_unmounted() {
        let failure = run(Args {
            dir: PathBuf::from("/proc"),
            lazy: false,
            force: false,
        })
        .unwrap_err();
        assert_eq!(failure.code, Code::Usage);
        assert_eq!(failure.to_string(), "/proc is a proc mount, not one of rdmafs");
    }

    #[test]
    fn who_keeps_a_copy_is_named() {
        let holder = Holder {
            pid: 7,
            name: "podman".into(),
            processes: 1,
            dir: "/far".into(),
        };
        assert_eq!(left(Path::new("/m"), &[]), None);
        assert_eq!(
            left(Path::new("/m"), &[holder.clone(), holder]).unwrap(),
            "/m is unmounted here, and still served: a copy of it is /far of process 7 (podman): \
             'nsenter -t 7 -m umount /far'; 1 other mount namespaces have it too"
        );
        assert_eq!(device("0:45"), Some(Device { major: 0, minor: 45 }));
    }

    #[test]
    fn a_busy_mount_is_explained() {
        let failure = explain(Path::new("/m"), Errno::EBUSY);
        assert_eq!(failure.code, Code::Mount);
        assert!(failure.to_string().contains("use -l"));
        assert_eq!(explain(Path::new("/m"), Errno::EPERM).code, Code::Usage);
        assert!(
            explain(Path::new("/m"), Errno::EINVAL)
                .to_string()
                .starts_with("cannot unmount /m: ")
        );
    }
}
