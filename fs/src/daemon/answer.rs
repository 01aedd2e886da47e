//! One control request, served.

use super::begin::{BeginError, Beginning};
use super::mounts::Live;
use super::records::{Beneath, COMMIT_S, Record, TIMEOUT_MS};
use super::shared::Daemon;
use super::shown::options_of;
use crate::control::{ControlReply, ControlRequest, MountStatus, ShareChange, Status, TimesChange};
use crate::handler::PoolError;
use crate::mount::KernelFlags;
use crate::mounter::MounterError;
use crate::options::{AccessTimes, CacheMode, MountOptions, Source};
use rdmafs_meta::id::InodeId;
use rdmafs_rdma::qos::share::Share;
use rdmafs_rdma::shown::shown;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

const WEIGHTS: std::ops::RangeInclusive<u32> = 1..=10_000;

/// A control request that is refused. The line goes to whoever asked.
#[derive(Debug, Error)]
enum AnswerError {
    #[error("a mount request must carry an open /dev/fuse")]
    NoDevice,
    #[error(transparent)]
    Pool(#[from] PoolError),
    #[error(transparent)]
    Begin(#[from] BeginError),
    #[error(transparent)]
    Mounter(#[from] MounterError),
    #[error(
        "it is mounted there already: 'mount -o remount,...' changes options, 'umount {}' ends it",
        shown(.0)
    )]
    MountedAlready(PathBuf),
    #[error("{} is no mount of this handler: 'rdmafs status' lists them", shown(.0))]
    NoMount(PathBuf),
    #[error("timeout={0}ms is out of range: 100ms to 10m")]
    Timeout(u64),
    #[error("commit={0} is out of range: 1 to 600")]
    Commit(u64),
    #[error("weight={0} is out of range: 1 to 10000")]
    Weight(u32),
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
            (
                ControlRequest::Mount {
                    source,
                    dir,
                    options,
                    flags,
                    place,
                },
                Some(fuse),
            ) => {
                let record = Record {
                    source,
                    dir,
                    options,
                    flags,
                    namespace: place.namespace,
                    device: place.device,
                    unmade: false,
                    pool: None,
                    beneath: self.beneath(place.beneath),
                    covered: None,
                };
                self.mount(record, fuse, caller)
                    .map(|note| ControlReply::Mounted { note })
            }
            (ControlRequest::Mount { .. }, None) => Err(AnswerError::NoDevice),
            (ControlRequest::Status, _) => Ok(ControlReply::Status(self.status())),
            (ControlRequest::Times { dir, change }, _) => self.times(&dir, change),
            (ControlRequest::Qos { dir, change }, _) => self.qos(&dir, change).map(ControlReply::Share),
            (
                ControlRequest::Remount {
                    dir,
                    flags,
                    access_times,
                },
                _,
            ) => self
                .remount(&dir, flags, access_times)
                .map(|()| ControlReply::Remounted),
        };
        answer.unwrap_or_else(|refusal| ControlReply::Error(refusal.to_string()))
    }

    fn prepare(&self, source: Source, options: MountOptions) -> Result<String, AnswerError> {
        let (mount, note) = self.handler.mount(&source, &options)?;
        self.mounts.keep_warm(source, options, mount, note.clone());
        Ok(note)
    }

    fn mount(self: &Arc<Self>, record: Record, fuse: OwnedFd, caller: u32) -> Result<String, AnswerError> {
        self.refuse_a_second(&record)?;
        let warm = self.mounts.take_warm(&record.source, &record.options);
        let (mount, note) = match warm {
            Some(warm) => warm,
            None => self.handler.mount(&record.source, &record.options)?,
        };
        let dir = shown(&record.dir).to_string();
        let callers_visible = self.mounter.sees_pids_of(caller)?;
        if !callers_visible {
            tracing::warn!(
                dir,
                "mounted from another pid namespace: callers' supplementary groups are not known"
            );
        }
        let source = record.source.clone();
        self.begin(Beginning {
            number: self.records.number(),
            record,
            mount,
            fuse,
            callers_visible,
        })?;
        tracing::info!(%source, %dir, %note, "mounted");
        Ok(note)
    }

    /// A mount of a pool right over one of the same pool: two who mounted at the same time.
    fn refuse_a_second(&self, new: &Record) -> Result<(), AnswerError> {
        let Beneath::Mount { number, inode } = new.beneath else {
            return Ok(());
        };
        let is_it = |live: &Live| {
            live.number == number && live.record.dir == new.dir && live.record.source == new.source
        };
        match self.mounts.find(is_it) {
            Some(_) if inode == InodeId::ROOT.0 => Err(AnswerError::MountedAlready(new.dir.clone())),
            _ => Ok(()),
        }
    }

    fn status(&self) -> Status {
        // Asks the nodes: what the links say next is true of now.
        let pools = self.handler.pools();
        Status {
            links: self.handler.links(),
            mounts: self
                .mounts
                .all()
                .iter()
                .map(|live| self.mount_status(live))
                .collect(),
            pools,
        }
    }

    fn mount_status(&self, live: &Live) -> MountStatus {
        let reading = live.meter.read();
        let record = &live.record;
        let copies = self.mounter.copies(record.namespace, &record.dir, record.device);
        let cache = match live.record.options.cache {
            CacheMode::Auto => "auto",
            CacheMode::None => "none",
        };
        MountStatus {
            dir: live.record.dir.clone(),
            source: live.record.source.to_string(),
            stale: live.mount.is_stale(),
            cache: cache.into(),
            options: options_of(&live.as_it_is()),
            share: live.mount.share(),
            traffic: live.mount.traffic(),
            requests: reading.answered,
            parked: reading.in_flight,
            mean_latency_us: microseconds(reading.mean_latency),
            copies: copies.unwrap_or_else(|error| vec![error.to_string()]),
        }
    }

    /// The topmost mount on `dir`.
    fn find(&self, dir: &Path) -> Result<Arc<Live>, AnswerError> {
        let found = self.mounts.find(|live| live.record.dir == dir);
        found.ok_or_else(|| AnswerError::NoMount(dir.to_owned()))
    }

    fn remount(&self, dir: &Path, flags: KernelFlags, access_times: AccessTimes) -> Result<(), AnswerError> {
        let live = self.find(dir)?;
        *live.flags.lock() = flags;
        live.mount.remount(flags.read_only, access_times);
        self.record(&live);
        tracing::info!(dir = %shown(&live.record.dir), ?flags, "remounted");
        Ok(())
    }

    fn times(&self, dir: &Path, change: TimesChange) -> Result<ControlReply, AnswerError> {
        let live = self.find(dir)?;
        let timeout_ms = change
            .timeout_ms
            .unwrap_or_else(|| u64::try_from(live.mount.timeout().as_millis()).unwrap_or(u64::MAX));
        let commit_s = change
            .commit_s
            .unwrap_or_else(|| live.mount.commit_after().as_secs());
        if !TIMEOUT_MS.contains(&timeout_ms) {
            return Err(AnswerError::Timeout(timeout_ms));
        }
        if !COMMIT_S.contains(&commit_s) {
            return Err(AnswerError::Commit(commit_s));
        }
        if change != TimesChange::default() {
            let seconds = Duration::from_secs(commit_s);
            live.mount.set_times(Duration::from_millis(timeout_ms), seconds);
            self.record(&live);
            tracing::info!(dir = %shown(&live.record.dir), timeout_ms, commit_s, "times changed");
        }
        Ok(ControlReply::Times { timeout_ms, commit_s })
    }

    fn qos(&self, dir: &Path, change: ShareChange) -> Result<Share, AnswerError> {
        let live = self.find(dir)?;
        let share = changed(live.mount.share(), change)?;
        if change != ShareChange::default() {
            live.mount.set_share(share);
            self.record(&live);
            tracing::info!(dir = %shown(&live.record.dir), ?share, "share changed");
        }
        Ok(share)
    }
}

fn changed(share: Share, change: ShareChange) -> Result<Share, AnswerError> {
    let weight = change.weight.unwrap_or(share.weight);
    if !WEIGHTS.contains(&weight) {
        return Err(AnswerError::Weight(weight));
    }
    Ok(Share {
        bw: change.bw.unwrap_or(share.bw),
        iops: change.iops.unwrap_or(share.iops),
        burst: change.burst.unwrap_or(share.burst),
        weight,
    })
}

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
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
        assert_eq!(changed(share, ShareChange::default()).unwrap(), share);
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
        assert_eq!(changed(share, change).unwrap(), expected);
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
}
