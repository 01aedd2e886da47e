//! What the daemon keeps: its mounts, pools kept warm for a mount to come, and the reasons to go on living.

use super::records::{Number, Record};
use crate::fuse::Meter;
use crate::handler::Mount;
use crate::mount::KernelFlags;
use crate::options::{MountOptions, Source};
use parking_lot::{Condvar, Mutex, MutexGuard};
use rdmafs_rdma::clock::{Clock, SystemClock};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long a fresh handler waits for its first mount, and a prepared pool for its mount.
pub(super) const LINGER: Duration = Duration::from_secs(10);

/// A mount that is served.
pub(super) struct Live {
    pub(super) number: Number,
    /// As it was made: its share and flags may have changed since.
    pub(super) record: Record,
    /// What the kernel was told last.
    pub(super) flags: Mutex<KernelFlags>,
    pub(super) mount: Arc<Mount>,
    pub(super) meter: Arc<Meter>,
    /// It is unmounted: only its end is left to do.
    pub(super) ended: AtomicBool,
    /// Its record is in the run directory, or shall be. Held while that is written.
    pub(super) recorded: Mutex<bool>,
}

impl Live {
    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Its record with the share and the flags that it has now, and where it begins.
    pub(super) fn as_it_is(&self) -> Record {
        let mut record = self.record.clone();
        record.flags = *self.flags.lock();
        record.options.share = self.mount.share();
        record.options.timeout_ms = u64::try_from(self.mount.timeout().as_millis()).unwrap_or(u64::MAX);
        record.options.commit_s = self.mount.commit_after().as_secs();
        record.options.read_only = record.flags.read_only;
        record.options.access_times = self.mount.access_times();
        record.options.root = Some(self.mount.root().0);
        record.pool = self.mount.pool_id().or(record.pool);
        record
    }
}

/// A pool that answered to a prepare request.
struct Warm {
    source: Source,
    options: MountOptions,
    mount: Arc<Mount>,
    note: String,
    until: Duration,
}

/// All of it, and the clock. The lock is a leaf: no mount is called while it is held.
pub(super) struct Mounts {
    clock: SystemClock,
    state: Mutex<MountTable>,
    changed: Condvar,
}

struct MountTable {
    /// A later one stands above an earlier one of the same directory.
    live: Vec<Arc<Live>>,
    warm: Vec<Warm>,
    /// Control requests being served.
    busy: usize,
    /// Without mounts the daemon lives until then.
    linger: Duration,
    ending: bool,
}

/// A control request being served: while it lives, the daemon does not end for want of mounts.
pub(super) struct Busy<'a>(&'a Mounts);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.state.lock().busy -= 1;
        self.0.changed.notify_all();
    }
}

impl Mounts {
    pub(super) fn new() -> Self {
        let clock = SystemClock::new();
        let linger = clock.now() + LINGER;
        Self {
            clock,
            state: Mutex::new(MountTable {
                live: Vec::new(),
                warm: Vec::new(),
                busy: 0,
                linger,
                ending: false,
            }),
            changed: Condvar::new(),
        }
    }

    /// `None` once the daemon is ending.
    pub(super) fn busy(&self) -> Option<Busy<'_>> {
        let mut state = self.state.lock();
        if state.ending {
            return None;
        }
        state.busy += 1;
        Some(Busy(self))
    }

    /// Keeps a reached pool for its mount.
    pub(super) fn keep_warm(&self, source: Source, options: MountOptions, mount: Arc<Mount>, note: String) {
        let until = self.clock.now() + LINGER;
        let mut state = self.state.lock();
        state.linger = state.linger.max(until);
        state.warm.push(Warm {
            source,
            options,
            mount,
            note,
            until,
        });
        self.changed.notify_all();
    }

    /// A pool kept warm for exactly this.
    pub(super) fn take_warm(&self, source: &Source, options: &MountOptions) -> Option<(Arc<Mount>, String)> {
        let mut state = self.state.lock();
        let fits = |warm: &Warm| warm.source == *source && warm.options == *options;
        let at = state.warm.iter().position(fits)?;
        let warm = state.warm.swap_remove(at);
        Some((warm.mount, warm.note))
    }

    /// Adds a mount on top; not once the daemon is ending. The kernel gives a device number again when the mount that had it is gone: an
    /// older one with the same has ended, whether its session knows it yet or not.
    pub(super) fn add(&self, live: Live) -> Option<Arc<Live>> {
        let now = self.clock.now();
        let mut state = self.state.lock();
        if state.ending {
            return None;
        }
        for other in &state.live {
            if other.record.device == live.record.device {
                other.ended.store(true, Ordering::Relaxed);
            }
        }
        let live = Arc::new(live);
        state.linger = state.warm.iter().map(|warm| warm.until).max().unwrap_or(now);
        state.live.push(live.clone());
        Some(live)
    }

    /// Forgets a mount that ended.
    pub(super) fn remove(&self, live: &Arc<Live>) {
        self.state.lock().live.retain(|other| !Arc::ptr_eq(other, live));
        self.changed.notify_all();
    }

    /// All mounts, oldest first.
    pub(super) fn all(&self) -> Vec<Arc<Live>> {
        let state = self.state.lock();
        state
            .live
            .iter()
            .filter(|live| !live.has_ended())
            .cloned()
            .collect()
    }

    /// The topmost mount that fits.
    pub(super) fn find(&self, fits: impl Fn(&Live) -> bool) -> Option<Arc<Live>> {
        let state = self.state.lock();
        let mut live = state.live.iter().rev();
        live.find(|live| !live.has_ended() && fits(live)).cloned()
    }

    /// Whether the daemon shall end.
    pub(super) fn is_ending(&self) -> bool {
        self.state.lock().ending
    }

    /// Waits; true when the daemon is ending.
    pub(super) fn pause(&self, duration: Duration) -> bool {
        let mut state = self.state.lock();
        let until = self.clock.now() + duration;
        while !state.ending {
            let left = until.saturating_sub(self.clock.now());
            if left.is_zero() {
                break;
            }
            self.changed.wait_for(&mut state, left);
        }
        state.ending
    }

    /// The daemon shall end, mounts or not.
    pub(super) fn end(&self) {
        self.state.lock().ending = true;
        self.changed.notify_all();
    }

    /// Waits until the daemon has no reason to live: told to end, or no mount, no request and nobody expected. From then on no
    /// request is served. Pools that nobody mounted in time are closed meanwhile. Blocking.
    pub(super) fn wait_for_end(&self) {
        let mut state = self.state.lock();
        while !state.ending {
            let now = self.clock.now();
            let cold: Vec<_> = state.warm.extract_if(.., |warm| warm.until <= now).collect();
            if !cold.is_empty() {
                MutexGuard::unlocked(&mut state, || cold.iter().for_each(|warm| warm.mount.close()));
                continue;
            }
            let kept = !state.live.is_empty() || state.busy > 0;
            let warm = state.warm.iter().map(|warm| warm.until).min();
            match next_look(kept, warm, state.linger, now) {
                Look::Never => state.ending = true,
                Look::In(wait) => drop(self.changed.wait_for(&mut state, wait)),
                Look::AtChange => self.changed.wait(&mut state),
            }
        }
    }

    /// Gives up everything that is left.
    pub(super) fn take_all(&self) -> Vec<Arc<Mount>> {
        let mut state = self.state.lock();
        let live: Vec<_> = state.live.drain(..).map(|live| live.mount.clone()).collect();
        live.into_iter()
            .chain(state.warm.drain(..).map(|warm| warm.mount))
            .collect()
    }
}

/// When the daemon must look again whether it should end.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    /// It ends now.
    Never,
    In(Duration),
    AtChange,
}

/// `kept`: there are mounts or requests; `warm`: when the first warm pool grows cold.
fn next_look(kept: bool, warm: Option<Duration>, linger: Duration, now: Duration) -> Look {
    match warm {
        Some(until) => Look::In(until.saturating_sub(now)),
        None if kept => Look::AtChange,
        None if linger <= now => Look::Never,
        None => Look::In(linger - now),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn a_fresh_handler_waits_for_its_first_mount_and_then_ends() {
        assert_eq!(next_look(false, None, S(10), S(4)), Look::In(S(6)));
        assert_eq!(next_look(false, None, S(10), S(10)), Look::Never);
    }

    #[test]
    fn mounts_and_requests_keep_it_alive_for_ever() {
        assert_eq!(next_look(true, None, S(0), S(1000)), Look::AtChange);
    }

    #[test]
    fn a_warm_pool_is_looked_after_with_and_without_mounts() {
        for kept in [true, false] {
            assert_eq!(next_look(kept, Some(S(7)), S(0), S(5)), Look::In(S(2)));
        }
    }

    #[test]
    fn a_request_is_served_to_its_end_and_none_after_the_end() {
        let mounts = Mounts::new();
        let busy = mounts.busy().unwrap();
        assert_eq!(mounts.state.lock().busy, 1);
        drop(busy);
        assert_eq!(mounts.state.lock().busy, 0);
        mounts.end();
        assert!(mounts.busy().is_none());
        mounts.wait_for_end();
    }
}
