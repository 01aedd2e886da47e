//! One control request, served.

use super::mounts::{Live, Mounts};
use crate::control::{ControlReply, ControlRequest, MountStatus, ShareChange, Status};
use crate::fuse::Session;
use crate::handler::Handler;
use crate::mount::{Device, MountPoint, of_process};
use crate::options::{CacheMode, MountOptions, Source};
use rdmafs_rdma::qos::share::Share;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// What the kernel reads ahead of a sequential reader: one largest request. Its own 128 KiB would bound every cached read.
const READ_AHEAD_KIB: u32 = 1024;

const WEIGHTS: std::ops::RangeInclusive<u32> = 1..=10_000;

/// The handler and its mounts.
pub(super) struct Daemon {
    pub(super) handler: Arc<Handler>,
    pub(super) mounts: Mounts,
}

/// A mount request, and the process it came from.
struct NewMount {
    source: Source,
    dir: PathBuf,
    options: MountOptions,
    caller: u32,
}

impl Daemon {
    /// Serves a request of process `caller` (0 when it cannot be seen). Blocking, as long as the node takes.
    pub(super) fn answer(
        self: &Arc<Self>,
        request: ControlRequest,
        device: Option<OwnedFd>,
        caller: u32,
    ) -> ControlReply {
        let answer = match (request, device) {
            (ControlRequest::Prepare { source, options }, _) => self
                .prepare(source, options)
                .map(|note| ControlReply::Ready { note }),
            (ControlRequest::Mount { source, dir, options }, Some(device)) => {
                let new = NewMount {
                    source,
                    dir,
                    options,
                    caller,
                };
                self.mount(new, device).map(|note| ControlReply::Mounted { note })
            }
            (ControlRequest::Mount { .. }, None) => {
                Err("a mount request must carry an open /dev/fuse".into())
            }
            (ControlRequest::Status, _) => Ok(ControlReply::Status(self.status())),
            (ControlRequest::Qos { dir, change }, _) => self.qos(&dir, change).map(ControlReply::Share),
        };
        answer.unwrap_or_else(ControlReply::Error)
    }

    fn prepare(&self, source: Source, options: MountOptions) -> Result<String, String> {
        let (mount, note) = self.handler.mount(&source, &options)?;
        self.mounts.keep_warm(source, options, mount, note.clone());
        Ok(note)
    }

    fn mount(self: &Arc<Self>, new: NewMount, device: OwnedFd) -> Result<String, String> {
        let warm = self.mounts.take_warm(&new.source, &new.options);
        let (mount, note) = match warm {
            Some(warm) => warm,
            None => self.handler.mount(&new.source, &new.options)?,
        };
        let visible = same_pid_namespace(new.caller);
        if !visible {
            tracing::warn!(dir = %new.dir.display(), "mounted from another pid namespace: callers' supplementary groups are not known");
        }
        let session = Session::start(mount.clone(), device, visible).map_err(|error| {
            mount.close();
            format!("the kernel did not shake hands on {}: {error}", new.dir.display())
        })?;
        let live = self.mounts.add(Live {
            device: find_device(new.caller, &new.dir),
            source: new.source,
            dir: new.dir,
            cache: new.options.cache,
            meter: session.meter(),
            mount,
        });
        raise_read_ahead(&live);
        let (daemon, served) = (self.clone(), live.clone());
        let thread = thread::Builder::new().name("mount".into());
        thread
            .spawn(move || daemon.serve(session, &served))
            .map_err(|error| {
                self.forget(&live);
                format!("cannot start a thread: {error}")
            })?;
        tracing::info!(source = %live.source, dir = %live.dir.display(), %note, "mounted");
        Ok(note)
    }

    /// Serves a mount until it is unmounted.
    fn serve(&self, session: Session, live: &Arc<Live>) {
        if let Err(error) = session.run() {
            tracing::error!(dir = %live.dir.display(), "the FUSE session failed: {error}");
            // Else the kernel might wait for answers until this process ends.
            abort(live);
        }
        self.forget(live);
        tracing::info!(source = %live.source, dir = %live.dir.display(), "unmounted");
    }

    fn forget(&self, live: &Arc<Live>) {
        live.mount.close();
        self.mounts.remove(live);
    }

    fn status(&self) -> Status {
        Status {
            links: self.handler.links(),
            mounts: self.mounts.all().iter().map(|live| mount_status(live)).collect(),
            pools: self.handler.pools(),
        }
    }

    fn qos(&self, dir: &Path, change: ShareChange) -> Result<Share, String> {
        let live = self.mounts.on(dir).ok_or_else(|| {
            let dir = dir.display();
            format!("{dir} is no mount of this handler: 'rdmafs status' lists them")
        })?;
        let share = changed(live.mount.share(), change)?;
        if change != ShareChange::default() {
            live.mount.set_share(share);
            tracing::info!(dir = %live.dir.display(), ?share, "share changed");
        }
        Ok(share)
    }

    /// Cuts off what is still in use: a thread that waits in the kernel for such a mount would keep this process from ending.
    pub(super) fn abort_all(&self) {
        self.mounts.all().iter().for_each(|live| abort(live));
    }

    /// Unmounts, lazily, what this process sees; what is mounted in other namespaces ends with the process.
    pub(super) fn detach_all(&self) {
        let table = of_process(std::process::id()).unwrap_or_default();
        for live in self.mounts.all().iter().rev() {
            let top = MountPoint::topmost(&table, &live.dir);
            if live.device.is_some() && top.map(|top| top.device) == live.device {
                crate::mount::detach(&live.dir);
            }
        }
    }
}

fn abort(live: &Live) {
    if let Some(Err(error)) = live.device.map(Device::abort) {
        tracing::warn!(dir = %live.dir.display(), "cannot abort the FUSE connection: {error}");
    }
}

fn changed(share: Share, change: ShareChange) -> Result<Share, String> {
    let weight = change.weight.unwrap_or(share.weight);
    if !WEIGHTS.contains(&weight) {
        return Err(format!("weight={weight} is out of range: 1 to 10000"));
    }
    Ok(Share {
        bw: change.bw.unwrap_or(share.bw),
        iops: change.iops.unwrap_or(share.iops),
        burst: change.burst.unwrap_or(share.burst),
        weight,
    })
}

fn mount_status(live: &Live) -> MountStatus {
    let reading = live.meter.read();
    let cache = match live.cache {
        CacheMode::Auto => "auto",
        CacheMode::None => "none",
    };
    MountStatus {
        dir: live.dir.clone(),
        source: live.source.to_string(),
        cache: cache.into(),
        share: live.mount.share(),
        traffic: live.mount.traffic(),
        requests: reading.answered,
        parked: reading.in_flight,
        mean_latency_us: microseconds(reading.mean_latency),
    }
}

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// FUSE numbers tasks as the namespace of the process that called mount(2) does.
fn same_pid_namespace(caller: u32) -> bool {
    let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/pid")).ok();
    let own = namespace("self");
    own.is_some() && own == namespace(&caller.to_string())
}

/// The device number of the caller's mount, read from its mount table: stat(2) would be a request to the mount itself.
fn find_device(caller: u32, dir: &Path) -> Option<Device> {
    let table = of_process(caller).ok()?;
    MountPoint::topmost(&table, dir).map(|found| found.device)
}

fn raise_read_ahead(live: &Live) {
    let raised = live.device.map(|device| device.set_read_ahead(READ_AHEAD_KIB));
    if !matches!(raised, Some(Ok(()))) {
        tracing::debug!(dir = %live.dir.display(), ?raised, "read-ahead stays at the kernel's default");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_leaves_alone_what_it_does_not_name() {
        let share = Share {
            bw: 5,
            iops: 6,
            burst: 7,
            weight: 8,
        };
        assert_eq!(changed(share, ShareChange::default()), Ok(share));
        let change = ShareChange {
            bw: Some(0),
            weight: Some(10_000),
            ..ShareChange::default()
        };
        let expected = Share {
            bw: 0,
            weight: 10_000,
            ..share
        };
        assert_eq!(changed(share, change), Ok(expected));
    }

    #[test]
    fn weights_have_ends() {
        for (weight, fits) in [(0, false), (1, true), (10_000, true), (10_001, false)] {
            let change = ShareChange {
                weight: Some(weight),
                ..ShareChange::default()
            };
            assert_eq!(changed(Share::default(), change).is_ok(), fits, "{weight}");
        }
    }

    #[test]
    fn this_process_lives_in_its_own_namespace() {
        assert!(same_pid_namespace(std::process::id()));
        assert!(!same_pid_namespace(0));
    }
}
